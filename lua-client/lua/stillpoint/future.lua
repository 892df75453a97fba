-- The answer to come of an operation, or of a coroutine.

local check = require "stillpoint.check"
local failure = require "stillpoint.failure"
local protect = require "stillpoint.protect"

local unpack = table.unpack or rawget(_G, "unpack")

---@class stillpoint.Future
---@field _link stillpoint.Link
---@field _id integer|nil The operation; nil: a coroutine.
---@field _finish fun(ok: boolean, ...): ... Turns the core's answer into the verb's.
---@field _results any[]|nil Once done; `n` is their number.
---@field _raised any[]|nil Once the coroutine failed: what it raised.
---@field _task any While a coroutine runs: what its driver said is running.
---@field _tickets stillpoint.Ticket[]|nil Of coroutines that wait.
---@field _callbacks function[]|nil
local Future = {}
Future.__index = Future
Future.__name = "stillpoint.Future"

---The longest time handed to the core at once, in seconds; longer waits are repeated.
local WAIT_MAX = 3600

local function pack(...)
  return { n = select("#", ...), ... }
end

-- All who wait hear of it, though one of them raises; the first error comes out at the end.
local function complete(future)
  local link = future._link
  local tickets, callbacks = future._tickets, future._callbacks
  future._tickets, future._callbacks = nil, nil
  if future._id then
    link.futures[future._id] = nil
  end
  link:release(future)
  local raised
  for _, ticket in ipairs(tickets or {}) do
    raised = protect.attempt(raised, link.wake, link, ticket)
  end
  for _, callback in ipairs(callbacks or {}) do
    raised = protect.attempt(raised, callback, future:_answer())
  end
  link:rest()
  protect.reraise(raised)
end

-- Takes what the core answered; `nil` is "not yet".
local function accept(future, ok, ...)
  if ok == nil then
    return false
  end
  future._results = pack(future._finish(ok, ...))
  complete(future)
  return true
end

local function closed()
  return failure.new("unavailable", "the store was closed before the answer came", true)
end

local function returned(future, ok, ...)
  future._task = nil
  if future._results then
    -- It was given up, and went on only to hear of that.
    return
  elseif ok then
    future._results = pack(...)
  else
    future._raised = { (...) }
  end
  complete(future)
end

---Submits an operation. The link is open.
---@param link stillpoint.Link
---@param finish fun(ok: boolean, ...): ...
---@param deadline number
---@param lane integer
---@param op string
---@param ... any
---@return stillpoint.Future
function Future.submit(link, finish, deadline, lane, op, ...)
  local future = setmetatable({ _link = link, _finish = finish }, Future)
  local id, err = link.core.submit(link.handle, deadline, lane, op, ...)
  if id then
    future._id = id
    link:note(id, future)
  else
    accept(future, false, err)
  end
  return future
end

---Runs a function in a coroutine of the store's driver.
---@param link stillpoint.Link
---@param loud boolean Raise an error of the function out of the loop too, unless somebody waits for the future.
---@param fn function
---@param ... any
---@return stillpoint.Future
function Future.spawn(link, loud, fn, ...)
  local future = setmetatable({ _link = link }, Future)
  local args = pack(...)
  link:keep(future)
  link.driver:spawn(function()
    local unheard
    local function outcome(ok, ...)
      unheard = not ok and not future._tickets and not future._callbacks and { (...) } or nil
      returned(future, ok, ...)
    end
    future._task = link.driver:current()
    outcome(protect.call(protect.traceback, fn, unpack(args, 1, args.n)))
    if loud then
      protect.reraise(unheard)
    end
  end)
  return future
end

---Whether the answer is there. Does not wait.
---@return boolean
function Future:done()
  if self._results or self._raised then
    return true
  end
  local link = self._link
  return self._id ~= nil and accept(self, link.core.take(link.handle, self._id))
end

---Waits for the answer; in a coroutine that the store's driver looks after, others run meanwhile. Waiting again is
---fine. If the time is over, the operation goes on all the same.
---@param seconds? number Until the operation's deadline unless given.
---@return any ... What the blocking verb returns; `nil, err` with reason `deadline_exceeded` if the time is over.
function Future:wait(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  if not (self._results or self._raised) then
    local link = self._link
    local task = link.driver and link.driver:current()
    if task then
      self:_suspend(task, seconds)
    elseif self._id then
      self:wait_blocking(seconds)
    else
      self:_drive(seconds)
    end
  end
  if self._raised then
    error(self._raised[1], 0)
  end
  if self._results then
    return self:_answer()
  end
  if not seconds then
    return nil, closed()
  end
  return nil, failure.new("deadline_exceeded", ("no answer after %g s; the operation goes on"):format(seconds), true)
end

---Has a function called with what `wait` returns: from `store:poll`, or from the `wait` that gets the answer; at once
---if the answer is there.
---@param callback fun(...)
---@return stillpoint.Future self
function Future:on_done(callback)
  check.callable(callback, "callback", 3)
  if self._results or self._raised then
    callback(self:_answer())
  else
    self._callbacks = self._callbacks or {}
    table.insert(self._callbacks, callback)
    self._link:keep(self)
  end
  return self
end

function Future:_answer()
  if self._raised then
    return nil, self._raised[1]
  end
  return unpack(self._results, 1, self._results.n)
end

---Fails: the store was closed. Not the coroutine that closes it, though: that one goes on.
function Future:give_up()
  if self._results or self._raised then
    return
  elseif self._id then
    accept(self, false, closed())
  elseif self._task == nil or self._task ~= self._link.driver:current() then
    returned(self, true, nil, closed())
  end
end

function Future:_suspend(task, seconds)
  local ticket = { link = self._link, task = task, done = false }
  self._tickets = self._tickets or {}
  table.insert(self._tickets, ticket)
  self._link:keep(self)
  self._link:wait(ticket, seconds)
  for i, other in ipairs(self._tickets or {}) do
    if other == ticket then
      table.remove(self._tickets, i)
      break
    end
  end
end

---Waits for an operation's answer while nothing else runs.
---@param seconds? number
function Future:wait_blocking(seconds)
  if self._results then
    return
  end
  local link = self._link
  repeat
    local done = accept(self, link.core.wait(link.handle, self._id, math.min(seconds or WAIT_MAX, WAIT_MAX)))
  until done or seconds
end

-- A coroutine goes on only while the store is polled.
function Future:_drive(seconds)
  local link = self._link
  if not link.driver.run_ready then
    error("wait for a coroutine inside of the event loop, not outside of it", 3)
  end
  local now = link.core.now
  local ends = now() + (seconds or math.huge)
  while link.handle and not (self._results or self._raised) and now() < ends do
    link:poll(ends - now())
  end
end

return Future
