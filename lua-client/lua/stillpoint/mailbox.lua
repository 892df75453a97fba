-- Runs handlers in coroutines of the driver, so that the verbs they call do not hold up the loop: those of one key one
-- after another, in the order posted; those of different keys side by side.

local protect = require "stillpoint.protect"

---@class stillpoint.Mailbox
---@field link stillpoint.Link
---@field queues table<any, function[]> Not yet run, by key; each from `first` to `last`.
---@field busy table<any, boolean> Keys that a coroutine runs for.
---@field ready any[] Keys that wait for one, from `first` to `last`.
---@field first integer
---@field last integer
---@field running integer How many coroutines there are.
local Mailbox = {}
Mailbox.__index = Mailbox

---Coroutines at once, so that a flood of timers does not overrun the connection's queue; further ones wait.
local RUNNING_MAX = 256

---@param link stillpoint.Link
---@return stillpoint.Mailbox
function Mailbox.new(link)
  return setmetatable({ link = link, queues = {}, busy = {}, ready = {}, first = 1, last = 0, running = 0 }, Mailbox)
end

local function make_ready(box, key)
  box.last = box.last + 1
  box.ready[box.last] = key
end

---Has a job done. It is begun by `run`.
---@param key any
---@param job function
function Mailbox:post(key, job)
  local queue = self.queues[key]
  if not queue then
    queue = { first = 1, last = 0 }
    self.queues[key] = queue
    if not self.busy[key] then
      make_ready(self, key)
    end
  end
  queue.last = queue.last + 1
  queue[queue.last] = job
end

---Whether `run` would begin something.
---@return boolean
function Mailbox:is_waiting()
  return self.first <= self.last and self.running < RUNNING_MAX
end

local function do_jobs(box, key)
  local queue = box.queues[key]
  -- A job may close the store, and then there is nothing to be told any more.
  while queue and box.link.handle do
    local job = queue[queue.first]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    if queue.first > queue.last then
      box.queues[key] = nil
    end
    job()
    queue = box.queues[key]
  end
end

local function start(box, key)
  local link = box.link
  box.busy[key] = true
  box.running = box.running + 1
  link.pending = link.pending + 1
  link:drive():spawn(function()
    local ok, err = protect.call(nil, do_jobs, box, key)
    box.busy[key] = nil
    box.running = box.running - 1
    link.pending = link.pending - 1
    if box.queues[key] then
      make_ready(box, key)
    end
    link:rest()
    if not ok then
      error(err, 0)
    end
  end)
end

---Begins what waits, each in a coroutine of its own.
function Mailbox:run()
  local raised
  while self:is_waiting() and self.link.handle do
    local key = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    raised = protect.attempt(raised, start, self, key)
  end
  protect.reraise(raised)
end

return Mailbox
