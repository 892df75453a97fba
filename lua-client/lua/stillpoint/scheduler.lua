-- The built-in driver: coroutines started with `store:go`, run by `store:poll` and `store:run`.

local protect = require "stillpoint.protect"

---@class stillpoint.Scheduler: stillpoint.Driver
---@field core table For its clock.
---@field tasks table<thread, boolean> Coroutines that may be suspended.
---@field queue thread[] Ready ones, from `first` to `last`.
---@field timers {at: number, ticket: stillpoint.Ticket}[] Latest first.
local Scheduler = {}
Scheduler.__index = Scheduler
Scheduler.name = "stillpoint"

---What a waiting coroutine yields, to be told from one that just lets others run.
local WAITS = {}

---@param core table
---@return stillpoint.Scheduler
function Scheduler.new(core)
  return setmetatable({
    core = core,
    tasks = setmetatable({}, { __mode = "k" }),
    queue = {},
    first = 1,
    last = 0,
    timers = {},
  }, Scheduler)
end

function Scheduler:current()
  local co = protect.running()
  return co and self.tasks[co] and co
end

---Starts a coroutine, which runs at once until it first waits.
---@param fn function
function Scheduler:spawn(fn)
  local co = coroutine.create(fn)
  self.tasks[co] = true
  self:resume(co)
end

function Scheduler:wait(ticket, seconds)
  if seconds then
    self:start_timer(self.core.now() + seconds, ticket)
  end
  coroutine.yield(WAITS)
  ticket.over = true
end

function Scheduler:wake(ticket)
  if not ticket.over then
    ticket.over = true
    self:push(ticket.task)
  end
end

function Scheduler:sleep(seconds)
  self:wait({ task = self:current() }, seconds)
end

-- Nothing watches the descriptor here: `store:poll` and `store:run` ask the store.
function Scheduler.watch() end

function Scheduler.unwatch() end

---@return boolean # Whether something can run without waiting for the store.
function Scheduler:ready()
  return self.first <= self.last or #self.timers > 0
end

---How long `poll` may wait for the store.
---@param seconds number
---@return number
function Scheduler:patience(seconds)
  if self.first <= self.last then
    return 0
  end
  local timer = self.timers[#self.timers]
  if timer then
    return math.max(0, math.min(seconds, timer.at - self.core.now()))
  end
  return seconds
end

---Resumes those that are ready now; those that get ready by it have the next turn.
---@return integer # How many.
function Scheduler:run_ready()
  self:fire_timers()
  local count, stop = 0, self.last
  while self.first <= stop do
    local co = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    count = count + 1
    self:resume(co)
  end
  return count
end

function Scheduler:push(co)
  self.last = self.last + 1
  self.queue[self.last] = co
end

function Scheduler:resume(co)
  local ok, yielded = coroutine.resume(co)
  if not ok then
    error(yielded, 0)
  end
  if yielded ~= WAITS and coroutine.status(co) == "suspended" then
    self:push(co)
  end
end

function Scheduler:start_timer(at, ticket)
  local timers = self.timers
  local i = #timers
  while i > 0 and timers[i].at < at do
    i = i - 1
  end
  table.insert(timers, i + 1, { at = at, ticket = ticket })
end

function Scheduler:fire_timers()
  local timers = self.timers
  if #timers == 0 then
    return
  end
  local now = self.core.now()
  while #timers > 0 and (timers[#timers].ticket.over or timers[#timers].at <= now) do
    self:wake(table.remove(timers).ticket)
  end
end

return Scheduler
