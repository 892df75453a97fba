-- What the store tells without being asked, and who is to hear of it: the handlers of `store:on`, claimed documents,
-- watches, timers, commands.
--
-- Events are told by `store:poll`, `store:run` and the event loop, never while a verb blocks. A handler runs in a
-- coroutine, so the verbs it calls wait without holding up the others. It is not called again before it returned:
-- events of one type come one after another, in order. Only those about different documents or different timers do not
-- wait for each other.

local Timers = require "stillpoint.timers"
local protect = require "stillpoint.protect"

---@class stillpoint.Event
---@field type string As given to `store:on`.
---@field doc stillpoint.Owned|nil Of release_wanted and claim_lost: the claimed document.
---@field collection string|nil Of release_wanted, claim_lost and refused: of the record.
---@field key string|nil The same.
---@field wanted_by string|nil Of release_wanted: who waits, `service/instance`.
---@field within number|nil Of release_wanted: how long it waits, in seconds.
---@field steals boolean|nil Of release_wanted: whether it takes the record then.
---@field taken_by string|nil Of claim_lost: who took it, `service/instance`.
---@field message string|nil Of fenced and shutting_down: why, for people. Of notice: what the operator tells.
---@field fence integer|nil Of fenced: the successor's; 0: the session is over.
---@field holder string|nil Of fenced: the name of the successor's program.
---@field payload any Of notice: what goes with the message, for programs that know it.
---@field actor string|nil Of notice and drain: which operator, as they call themselves.
---@field incarnation integer|nil Of restored: the store's now.

---@class stillpoint.Events
---@field link stillpoint.Link
---@field handlers table<string, function> By type.
---@field timers stillpoint.Timers
---@field attached boolean There is a session, as far as was told.
local Events = {}
Events.__index = Events

---What `store:on` takes.
---@type table<string, boolean>
Events.TYPES = {
  release_wanted = true,
  claim_lost = true,
  fenced = true,
  restored = true,
  reconnected = true,
  shutting_down = true,
  timer = true,
  refused = true,
  notice = true,
  drain = true,
}

---@param link stillpoint.Link
---@return stillpoint.Events
function Events.new(link)
  local events = setmetatable({ link = link, handlers = {} }, Events)
  events.attached = link.core.session(link.handle) ~= nil
  events.timers = Timers.new(link, events)
  return events
end

---@param kind string
---@param fn function|nil
function Events:set(kind, fn)
  local link = self.link
  self.handlers[kind] = fn
  -- Without a session the core keeps events only from the first look on.
  local ev = fn and link.core.event(link.handle)
  if ev then
    self:hear(ev)
  end
  if kind == "timer" and fn then
    self.timers:deliver()
  end
end

---Calls the handler of a type, if there is one. What it raises comes with where it was raised.
---@param kind string
---@param ev table
---@return any # What it answers.
function Events:handle(kind, ev)
  local handler = self.handlers[kind]
  if handler then
    local ok, answer = protect.call(protect.traceback, handler, ev)
    if not ok then
      error(answer, 0)
    end
    return answer
  end
end

---Has the handler of a type called soon.
---@param kind string
---@param ev table
---@param key? any Events with the same key come one after another; the type unless given.
function Events:emit(kind, ev, key)
  ev.type = kind
  if self.handlers[kind] then
    self.link.mailbox:post(key or kind, function()
      self:handle(kind, ev)
    end)
  end
end

---Whether there is a session, so that events may come.
---@return boolean
function Events:is_attached()
  return self.attached
end

---Whether `store:run` goes on though nothing is waited for.
---@return boolean
function Events:holds()
  if next(self.link.listeners) ~= nil then
    return true
  end
  -- Whoever has one of these is there to be told.
  local handlers = self.handlers
  local expects = handlers.timer or handlers.notice or handlers.drain or self.link.commands:are_any()
  return self.attached and expects and true or false
end

-- The claimed document that an event is about.
local function document_of(events, ev)
  local id = ev.collection .. "\0" .. ev.key
  ev.doc = events.link.documents[id]
  return ev.doc, id
end

local hear = {}

function hear.release_wanted(events, ev)
  local document, id = document_of(events, ev)
  events.link.mailbox:post(id, function()
    local is_seen_to
    local raised = protect.attempt(nil, function()
      is_seen_to = events:handle("release_wanted", ev) == true
    end)
    if document and not is_seen_to then
      document:_on_release_wanted(ev)
    end
    protect.reraise(raised)
  end)
end

function hear.claim_lost(events, ev)
  local document, id = document_of(events, ev)
  if document then
    document:_on_claim_lost(ev)
  end
  events:emit("claim_lost", ev, id)
end

function hear.fenced(events, ev)
  local link = events.link
  events.attached = false
  events.timers:drop()
  link.commands:drop()
  local documents, raised = {}, nil
  for _, document in pairs(link.documents) do
    documents[#documents + 1] = document
  end
  for _, document in ipairs(documents) do
    raised = protect.attempt(raised, document._on_fenced, document, ev)
  end
  events:emit("fenced", ev)
  link:listen()
  protect.reraise(raised)
end

function hear.reconnected(events, ev)
  -- The server that had a reload prepared here may be another by now; if it is not, it counts this process as gone.
  events.link.commands:drop()
  events:emit("reconnected", ev)
end

function hear.timer(events, ev)
  events.timers:fire(ev)
end

function hear.command(events, ev)
  events.link.commands:hear(ev)
end

function hear.watch(events, ev)
  local link = events.link
  local watch = link.watches[ev.id]
  if watch then
    watch:_on_news()
  else
    -- It was dropped, and nobody can close it any more.
    link.core.unwatch(link.handle, ev.id)
  end
end

---Takes an event from the core.
---@param ev table
function Events:hear(ev)
  local hears = hear[ev.type]
  if hears then
    hears(self, ev)
  else
    self:emit(ev.type, ev)
  end
end

return Events
