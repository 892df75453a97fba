-- One connection, and who waits for what on it. Everything that is sent goes through here.
--
-- A call from the main program blocks in the core, which then drives the connection itself. A call from a coroutine
-- that a driver looks after (see stillpoint.driver) is submitted, and the coroutine sleeps on a *ticket*; `poll` hears
-- from the core which operations are done, and settles tickets and futures. It also hears what the store tells unasked
-- (see stillpoint.events). How all of it ends: stillpoint.closing.

local Events = require "stillpoint.events"
local Mailbox = require "stillpoint.mailbox"
local Scheduler = require "stillpoint.scheduler"
local failure = require "stillpoint.failure"
local protect = require "stillpoint.protect"

---@class stillpoint.Ticket
---@field link stillpoint.Link
---@field task any What the driver said is running.
---@field done boolean Set before `driver:wake`.
---@field results any[]|nil What the core answered, if it was taken before the coroutine goes on; `n` is their number.

---@class stillpoint.Link
---@field core table The verbs: `stillpoint_core`, or the ones of `stillpoint.memory`.
---@field handle any nil once closed.
---@field deadline number Seconds that a call may take unless it says otherwise.
---@field driver stillpoint.Driver|nil
---@field tickets table<integer, stillpoint.Ticket> By operation.
---@field futures table<integer, stillpoint.Future> By operation; weak, so that a future that nobody has is forgotten.
---@field kept table<stillpoint.Future, boolean> Futures with a callback or a waiting coroutine: these live on.
---@field pending integer How many waiting coroutines and kept futures there are.
---@field submitted integer How many futures there were.
---@field seed integer Of random pauses.
---@field searched number When `settle_lost` last looked, by the core's clock.
---@field events stillpoint.Events Who hears of what the store tells unasked.
---@field mailbox stillpoint.Mailbox Runs the handlers.
---@field documents table<string, table> Claimed documents by collection .. "\0" .. key; weak.
---@field on_poll table<table, any> Whose `_tick` each poll calls; weak. It may answer in how many seconds it wants the
---  next one.
---@field tick_at number|nil When the next is wanted, by the core's clock.
---@field watches table<integer, stillpoint.Watch> By the core's number; weak.
---@field listeners table<stillpoint.Watch, boolean> Open watches with a callback: these live on.
---@field listens boolean Counts in `pending`, so that an event loop has events heard.
---@field stopped boolean `run` is to return.
local Link = {}
Link.__index = Link

local unpack = table.unpack or rawget(_G, "unpack")

---The longest time handed to the core at once, in seconds.
local WAIT_MAX = 3600

---As long does `run` wait at once: between two waits Lua sees to signals, so that Ctrl-C ends a script.
local RUN_WAIT_MAX = 1

---After so many submitted futures, those that nobody has any more are given up.
local SWEEP_EVERY = 256

---While nothing is heard of, operations that this process does not know are looked for so often, in seconds.
local SEARCH_EVERY = 1

---Longest pause between two attempts, in seconds.
local BACKOFF_MAX = 0.05

local function pack(...)
  return { n = select("#", ...), ... }
end

---@param core table
---@param handle any
---@param deadline number
---@return stillpoint.Link
function Link.new(core, handle, deadline)
  local link = setmetatable({
    core = core,
    handle = handle,
    deadline = deadline,
    tickets = {},
    futures = setmetatable({}, { __mode = "v" }),
    kept = {},
    pending = 0,
    submitted = 0,
    searched = core.now(),
    -- Processes must not pause alike, and not every Lua seeds math.random.
    seed = (math.floor(core.now() * 1e6) + tonumber(tostring({}):match "(%x+)$", 16)) % 2147483646 + 1,
    documents = setmetatable({}, { __mode = "v" }),
    on_poll = setmetatable({}, { __mode = "k" }),
    watches = setmetatable({}, { __mode = "v" }),
    listeners = {},
    listens = false,
    stopped = false,
  }, Link)
  link.mailbox = Mailbox.new(link)
  link.events = Events.new(link)
  return link
end

---Runs the user's handler for an event, in one of the next polls.
---@param kind string
---@param ev table
function Link:emit(kind, ev)
  self.events:emit(kind, ev)
end

---Runs one operation to its end.
---@param deadline number Seconds.
---@param op string
---@param ... any
---@return boolean ok
---@return any ... Results, or the error.
function Link:call(deadline, op, ...)
  local handle = self.handle
  if not handle then
    error("the store is closed", 3)
  end
  local driver = self.driver
  if driver then
    local task = driver:current()
    if task then
      return self:suspend(task, deadline, op, ...)
    end
  end
  return self.core.call(handle, deadline, op, ...)
end

---Runs one operation to its end while other coroutines run.
---@param task any
---@param deadline number
---@param op string
---@param ... any
function Link:suspend(task, deadline, op, ...)
  local id, err = self.core.submit(self.handle, deadline, 0, op, ...)
  if not id then
    return false, err
  end
  local ticket = { link = self, task = task, done = false }
  self.tickets[id] = ticket
  self:wait(ticket)
  if not self.handle then
    return false, failure.new("unavailable", "the store was closed before the answer came", true)
  end
  if ticket.results then
    return unpack(ticket.results, 1, ticket.results.n)
  end
  return self.core.take(self.handle, id)
end

---Waits in a coroutine until a ticket is done or the time is over.
---@param ticket stillpoint.Ticket
---@param seconds? number
function Link:wait(ticket, seconds)
  self.pending = self.pending + 1
  if self.handle then
    self.driver:watch(self)
  end
  self.driver:wait(ticket, seconds)
  if not ticket.done then
    self.pending = self.pending - 1
    self:rest()
  end
end

---@param ticket stillpoint.Ticket
function Link:wake(ticket)
  ticket.done = true
  self.pending = self.pending - 1
  self.driver:wake(ticket)
  self:rest()
end

---Ends the watch of the descriptor if nothing is waited for any more. An answer may have been taken by a call that
---blocked, and then the descriptor has nothing to tell of it.
function Link:rest()
  if self.pending == 0 and self.driver and self.handle then
    self.driver:unwatch(self)
  end
end

---Pauses the caller, be it a coroutine or the program.
---@param seconds number
function Link:sleep(seconds)
  local driver = self.driver
  if driver and driver:current() then
    driver:sleep(seconds)
  else
    self.core.sleep(seconds)
  end
end

---Pauses before another attempt: a random time, longer each time, and not beyond `ends`.
---@param attempt integer From 1; the first pauses not at all.
---@param ends number By the core's clock.
---@return boolean # Whether there is time for another attempt.
function Link:backoff(attempt, ends)
  local left = ends - self.core.now()
  if left <= 0 then
    return false
  end
  if attempt > 1 then
    self.seed = self.seed * 16807 % 2147483647
    local longest = math.min(BACKOFF_MAX, 0.0005 * 2 ^ attempt, left)
    self:sleep(longest * self.seed / 2147483647)
  end
  return self.core.now() < ends
end

---Which error tells more, when attempts end: that there was no time left, or why it took several.
---@param err stillpoint.Error The newest.
---@param conflict stillpoint.Error|nil Of the attempt before.
---@return stillpoint.Error
function Link.last_error(err, conflict)
  if conflict and err.reason == "deadline_exceeded" and not err.maybe_applied then
    return conflict
  end
  return err
end

---Notes a future for an operation just submitted.
---@param id integer
---@param future stillpoint.Future
function Link:note(id, future)
  self.futures[id] = future
  self.submitted = self.submitted + 1
  if self.submitted % SWEEP_EVERY == 0 and self.pending == 0 then
    self:sweep()
  end
end

---Takes what is done, so that futures nobody has do not pile up in a program that never polls. Only while no callback
---and no coroutine waits: these belong to `poll`, and to a loop that watches the descriptor.
function Link:sweep()
  local id = self.core.next(self.handle)
  while id do
    self:settle(id)
    id = self.core.next(self.handle)
  end
end

---Keeps a future alive until it is done.
---@param future stillpoint.Future
function Link:keep(future)
  if not self.kept[future] then
    self.kept[future] = true
    self.pending = self.pending + 1
    if self.driver and self.handle then
      self.driver:watch(self)
    end
  end
end

---The caller sees to `rest`.
---@param future stillpoint.Future
function Link:release(future)
  if self.kept[future] then
    self.kept[future] = nil
    self.pending = self.pending - 1
  end
end

---Hears which operations are done and what the store tells: runs callbacks and handlers, resumes coroutines.
---@param seconds number How long to wait for the first.
---@return integer # How many things happened.
function Link:poll(seconds)
  local driver, core, mailbox = self.driver, self.core, self.mailbox
  if driver and driver.patience then
    seconds = driver:patience(seconds)
  end
  if self.tick_at then
    seconds = math.min(seconds, math.max(self.tick_at - core.now(), 0))
  end
  local count = core.poll(self.handle, mailbox:is_waiting() and 0 or math.min(seconds, WAIT_MAX))
  for _ = 1, count do
    local id = self.handle and core.next(self.handle)
    if not id then
      break
    end
    self:settle(id)
  end
  for _ = 1, count do
    local ev = self.handle and core.event(self.handle)
    if not ev then
      break
    end
    self.events:hear(ev)
  end
  if count == 0 and self.pending > 0 then
    self:settle_lost()
  end
  local raised = self:tick()
  if mailbox:is_waiting() then
    raised = protect.attempt(raised, mailbox.run, mailbox)
  end
  protect.reraise(raised)
  -- The driver may have come with the first handler.
  driver = self.driver
  if driver and driver.run_ready then
    count = count + driver:run_ready()
  end
  return count
end

---Calls those who asked to be called by each poll.
---@return any[]|nil raised
function Link:tick()
  self.tick_at = nil
  if not self.handle or next(self.on_poll) == nil then
    return nil
  end
  local now, objects, raised = self.core.now(), {}, nil
  for object in pairs(self.on_poll) do
    objects[#objects + 1] = object
  end
  for _, object in ipairs(objects) do
    raised = protect.attempt(raised, function()
      local again = object:_tick()
      if again then
        self.tick_at = math.min(self.tick_at or math.huge, now + again)
      end
    end)
  end
  return raised
end

---Has an event loop look after the descriptor as long as there is something to be told, though nothing is waited for.
---To be called whenever that may have changed. (`run` of the built-in driver goes on as Events:holds says.)
function Link:listen()
  local driver = self.driver
  local wanted = self.handle ~= nil
    and driver ~= nil
    and not driver.run_ready
    and (self.events:is_attached() or next(self.listeners) ~= nil)
  if wanted and not self.listens then
    self.listens = true
    self.pending = self.pending + 1
    driver:watch(self)
  elseif self.listens and not wanted then
    self.listens = false
    self.pending = self.pending - 1
    self:rest()
  end
end

---Calls a function later, in a coroutine.
---@param seconds number
---@param fn function
function Link:later(seconds, fn)
  self:drive():spawn(function()
    self:sleep(seconds)
    if self.handle then
      fn()
    end
  end)
end

---The driver; the built-in one, unless the store already has one.
---@return stillpoint.Driver
function Link:drive()
  self.driver = self.driver or Scheduler.new(self.core)
  return self.driver
end

---@param id integer
function Link:settle(id)
  local ticket = self.tickets[id]
  if ticket then
    self.tickets[id] = nil
    return self:wake(ticket)
  end
  local future = self.futures[id]
  if future then
    return future:done()
  end
  self.core.forget(self.handle, id)
end

---Settles what the core will never tell of: in a forked process, the operations of the one before. Taking an answer
---tells; so it is asked for each, but seldom.
function Link:settle_lost()
  local core, now = self.core, self.core.now()
  if now < self.searched + SEARCH_EVERY then
    return
  end
  self.searched = now
  local tickets, futures = {}, {}
  for id, ticket in pairs(self.tickets) do
    tickets[id] = ticket
  end
  for _, future in pairs(self.futures) do
    futures[#futures + 1] = future
  end
  for id, ticket in pairs(tickets) do
    local results = self.handle and self.tickets[id] and pack(core.take(self.handle, id)) or {}
    if results[1] ~= nil then
      self.tickets[id] = nil
      ticket.results = results
      self:wake(ticket)
    end
  end
  for _, future in ipairs(futures) do
    if self.handle then
      future:done()
    end
  end
end

---Polls until no coroutine and no callback waits any more, and nothing is to be told to a handler either.
function Link:run()
  self.stopped = false
  while self.handle and not self.stopped do
    local driver = self.driver
    if self.pending == 0 and not (driver and driver.ready and driver:ready()) and not self.events:holds() then
      return
    end
    self:poll(RUN_WAIT_MAX)
  end
end

return Link
