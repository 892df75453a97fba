-- One connection, and who waits for what on it. Everything that is sent goes through here.
--
-- A call from the main program blocks in the core, which then drives the connection itself. A call from a coroutine
-- that a driver looks after (see stillpoint.driver) is submitted, and the coroutine sleeps on a *ticket*, which `poll`
-- settles (see stillpoint.hearing). How all of it ends: stillpoint.closing.

local Commands = require "stillpoint.commands"
local Events = require "stillpoint.events"
local Mailbox = require "stillpoint.mailbox"
local Scheduler = require "stillpoint.scheduler"
local failure = require "stillpoint.failure"
local hearing = require "stillpoint.hearing"

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
---@field searched number When operations that this process does not know were last looked for, by the core's clock.
---@field events stillpoint.Events Who hears of what the store tells unasked.
---@field commands stillpoint.Commands What an operator may ask.
---@field opened number When, by the core's clock.
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

---After so many submitted futures, those that nobody has any more are given up.
local SWEEP_EVERY = 256

---Longest pause between two attempts, in seconds.
local BACKOFF_MAX = 0.05

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
    opened = core.now(),
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
  link.commands = Commands.new(link)
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

Link.poll = hearing.poll
Link.run = hearing.run
Link.sweep = hearing.sweep

return Link
