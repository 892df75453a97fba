-- Durable timers: setting them, and handing their firings to the handler of `store:on("timer", fn)`.
--
-- A firing is the store's until it is finished: in a transaction with what it does (`tx:finish(ev)`), by `ev:finish()`,
-- or for the handler when it returns. A handler that raises gets the same firing again after a pause. A firing without
-- a handler waits for one.

local check = require "stillpoint.check"
local protect = require "stillpoint.protect"
local requests = require "stillpoint.requests"

---@class stillpoint.Firing: stillpoint.Event
---@field service string
---@field name string
---@field due number When it was due, in seconds since 1970.
---@field due_ms integer The same in milliseconds; names the firing.
---@field count integer Firings that this one stands for, from 1.
---@field payload any
---@field owner string[]|nil Collection and key of the record whose owner it fires at.
---@field finished boolean Whether it was consumed.
---@field _link stillpoint.Link
local Firing = {}
Firing.__index = Firing
Firing.__name = "stillpoint.Firing"

---Consumes the firing, which then does not come again. One that was consumed or set anew meanwhile is no failure.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Firing:finish()
  if self.finished then
    return true
  end
  local link = self._link
  local ok, err = link:call(link.deadline, "finish_timer", self.name, { service = self.service, due_ms = self.due_ms })
  if ok or err.reason == "version_conflict" then
    self.finished = true
    return true
  end
  return nil, err
end

---@class stillpoint.Timers
---@field link stillpoint.Link
---@field events stillpoint.Events
---@field current table<string, stillpoint.Firing> The newest firing of each timer, by service and name, until finished.
---@field unheard table<string, stillpoint.Firing> Those without a handler yet.
---@field recent table<string, integer> Timers of firings just finished: when these were due, in milliseconds.
---@field recent_count integer
local Timers = {}
Timers.__index = Timers

---Pauses before a firing is handed out again, in seconds: the first, and the longest.
local PAUSE_MIN = 1
local PAUSE_MAX = 60

---So many finished firings are remembered, since one that is told again at a reconnect may cross its end.
local RECENT_MAX = 1024

---Refusals after which a firing is somebody else's.
local OVER = { fenced = true, session_expired = true, not_owner = true }

---@param link stillpoint.Link
---@param events stillpoint.Events
---@return stillpoint.Timers
function Timers.new(link, events)
  return setmetatable(
    { link = link, events = events, current = {}, unheard = {}, recent = {}, recent_count = 0 },
    Timers
  )
end

---Takes a firing that the store tells of, maybe not for the first time.
---@param ev table
function Timers:fire(ev)
  local id = "timer\0" .. ev.service .. "\0" .. ev.name
  local current = self.current[id]
  if current and current.due_ms == ev.due_ms or self.recent[id] == ev.due_ms then
    return
  end
  local firing = setmetatable(ev, Firing)
  firing._link = self.link
  firing.finished = false
  self.current[id] = firing
  self:post(id, firing, PAUSE_MIN)
end

---Hands the firings that had no handler to the one that is there now.
function Timers:deliver()
  local unheard = self.unheard
  self.unheard = {}
  for id, firing in pairs(unheard) do
    self:post(id, firing, PAUSE_MIN)
  end
end

---Forgets all firings: the session is over, and its successor gets them.
function Timers:drop()
  self.current, self.unheard = {}, {}
end

function Timers:post(id, firing, pause)
  self.link.mailbox:post(id, function()
    self:handle(id, firing, pause)
  end)
end

function Timers:forget(id, firing)
  if self.current[id] ~= firing then
    return
  end
  self.current[id] = nil
  if self.recent_count == RECENT_MAX then
    self.recent, self.recent_count = {}, 0
  end
  self.recent[id] = firing.due_ms
  self.recent_count = self.recent_count + 1
end

function Timers:handle(id, firing, pause)
  if self.current[id] ~= firing then
    return
  elseif not self.events.handlers.timer then
    self.unheard[id] = firing
    return
  end
  local raised
  if not firing._handled then
    raised = protect.attempt(nil, self.events.handle, self.events, "timer", firing)
    firing._handled = not raised
  end
  if not self.link.handle then
    -- The handler closed the store; so the firing goes to a successor.
    return protect.reraise(raised)
  end
  if firing._handled and not firing.finished then
    local ok, err = firing:finish()
    firing.finished = ok or OVER[err.reason] or false
  end
  if firing.finished then
    self:forget(id, firing)
  else
    self.link:later(pause, function()
      self:post(id, firing, math.min(pause * 2, PAUSE_MAX))
      self.link.mailbox:run()
    end)
  end
  protect.reraise(raised)
end

---@class stillpoint.TimerOptions
---@field after number|nil Due in so many seconds; after `every` unless this or `at` is given.
---@field at number|nil Due at this time, in seconds since 1970, by the store's clock.
---@field every number|nil Seconds from each firing to the next; it fires once unless given.
---@field payload any Handed out with the firing.
---@field owner string[]|nil Collection and key of a record: it fires at the instance that owns it; at any unless given.
---@field missed "once"|"all"|"skip"|nil Firings that were due while nobody could take them come as one that counts them
---  ("once", the default), one by one, or not at all.
---@field service string|nil Whose timer it is; that of this session unless given.
---@field once string|nil A token of `store:once`.
---@field deadline number|nil Seconds; the store's unless given.
local SET = {
  after = "delay",
  at = "seconds",
  every = "seconds",
  payload = "any",
  owner = "record",
  missed = "missed",
  service = "string",
  once = "once",
  deadline = "seconds",
}

---@class stillpoint.TimerCancelOptions
---@field service string|nil
---@field once string|nil
---@field deadline number|nil
local CANCEL = { service = "string", once = "once", deadline = "seconds" }

local LEVEL = 4

-- The checks below are called directly by public functions only, as those of stillpoint.requests.

---@return number deadline
---@return string op
---@return string name
---@return table opts
function Timers.set(link, name, opts)
  check.type("string", name, "name", LEVEL)
  check.options(opts, SET, LEVEL)
  if opts.after and opts.at then
    error("options: 'after' or 'at', not both", LEVEL - 1)
  elseif not (opts.after or opts.at or opts.every) then
    error("options: when is it due? Give 'after', 'at' or 'every'", LEVEL - 1)
  end
  return opts.deadline or link.deadline,
    "set_timer",
    name,
    {
      service = opts.service,
      due = opts.at,
      delay = opts.after or not opts.at and opts.every or nil,
      period = opts.every,
      payload = opts.payload,
      owner = opts.owner,
      missed = opts.missed,
      once = requests.once(opts.once),
    }
end

function Timers.cancel(link, name, opts)
  check.type("string", name, "name", LEVEL)
  if opts == nil then
    return link.deadline, "cancel_timer", name, {}
  end
  check.options(opts, CANCEL, LEVEL)
  local request = { service = opts.service, once = requests.once(opts.once) }
  return opts.deadline or link.deadline, "cancel_timer", name, request
end

---Whether a value is a firing, as told to a handler.
---@param value any
---@return boolean
function Timers.is_firing(value)
  return getmetatable(value) == Firing
end

return Timers
