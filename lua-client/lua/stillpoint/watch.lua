-- A watch: what changes in a collection, told in order, whole commits at a time.
--
--     for ev in players:watch { prefix = "guild/", cursor = "guild-cache" } do ... end
--     local w = players:watch({ prefix = "guild/" }, function(ev) ... end)      -- run by store:poll and store:run
--
-- With a cursor, the store remembers how far the events were handled: one counts as handled when the next is asked for,
-- or when the callback returned. A successor goes on behind the last one; so an event may be handled twice, never not
-- at all. The cursor moves where the store names a position: behind a message of it, which holds one commit or several.

local Cursor = require "stillpoint.cursor"
local Feed = require "stillpoint.feed"
local check = require "stillpoint.check"
local failure = require "stillpoint.failure"
local protect = require "stillpoint.protect"

---@class stillpoint.WatchEvent
---@field type "put"|"migrate"|"delete"|"expire"|"resync"|"synced" "migrate": a migration wrote the record anew, in
---  another version of its schema. It tells what a put tells, with the value in this session's version as ever: so who
---  handles it as a put is right, and who only asks what the game changed passes it over. "resync": what was told before
---  is void, the state follows as puts (and deletes, where it changed meanwhile) up to "synced".
---@field collection string|nil
---@field key string|nil
---@field value any Of put, and like the following of migrate.
---@field unreadable string|nil Why the value cannot be given in this session's version of its schema; it is nil then.
---@field rev integer|nil Of the commit; of a put in a resync, of the record; of synced, of the state.
---@field version integer|nil Of put.
---@field schema integer|nil Of put.
---@field expires_at number|nil Of put.
---@field time number|nil Server time of the commit, in seconds since 1970.
---@field session string|nil The session that made the commit.
---@field last boolean Whether it is the last event of its commit.
---@field snapshot boolean|nil Within a resync.
---@field reason string|nil Of resync: why.

---@class stillpoint.WatchOptions
---@field key string|nil Only this key.
---@field prefix string|nil Only keys that begin with this.
---@field after integer|nil From behind this revision; from now on unless this, a position or a cursor is given.
---@field position string|nil From behind a position that a watch was at, see `Watch:position`.
---@field cursor string|nil From where this durable cursor is, and moves it. One that does not exist yet begins now. Its
---  name counts for the whole namespace.
---@field snapshot boolean|nil Tell the state first, as a resync, where the watch begins now.
---@field skip_own boolean|nil Leave out what this session writes.
---@field keys_only boolean|nil Leave out the values.
local OPTIONS = {
  key = "string",
  prefix = "string",
  after = "integer",
  position = "string",
  cursor = "cursor",
  snapshot = "boolean",
  skip_own = "boolean",
  keys_only = "boolean",
}

---@class stillpoint.Watch
---@field _link stillpoint.Link
---@field _feed stillpoint.Feed|nil nil: it could not be opened.
---@field _err stillpoint.Error|nil Why not.
---@field _fn nil|fun(ev: stillpoint.WatchEvent)
---@field _posted boolean The callback is about to be called, at the latest after a pause.
---@field _pause number Seconds until an event whose callback raised is handed out again.
---@field _tickets table<stillpoint.Ticket, boolean> Of coroutines that wait for the next event.
local Watch = {}
Watch.__index = Watch
Watch.__name = "stillpoint.Watch"

---Pauses before an event is handed out again, in seconds: the first, and the longest.
local PAUSE_MIN = 1
local PAUSE_MAX = 60

---The longest wait at once, in seconds: between two, Lua sees to signals, so that Ctrl-C ends a script.
local WAIT_MAX = 1

-- Whether no further event can be taken.
local function is_over(watch)
  return watch._feed == nil or watch._feed.is_over
end

local function wake(watch)
  local tickets = watch._tickets
  watch._tickets = {}
  for ticket in pairs(tickets) do
    watch._link:wake(ticket)
  end
end

-- Ends it, unless it has ended.
local function finish(watch, err)
  local link, feed = watch._link, watch._feed
  if not feed then
    return
  end
  if link.handle then
    link.core.unwatch(link.handle, feed.id)
  end
  link.watches[feed.id] = nil
  feed:finish(err)
  if link.listeners[watch] then
    link.listeners[watch] = nil
    link:listen()
  end
  wake(watch)
end

-- Waits until there may be something new, while nothing else happens but in other coroutines.
local function wait_quietly(watch, seconds)
  local link, driver = watch._link, watch._link.driver
  local task = driver and driver:current()
  if not task then
    return watch._feed:fetch(math.min(seconds, WAIT_MAX))
  end
  local ticket = { link = link, task = task, done = false }
  watch._tickets[ticket] = true
  link:wait(ticket, seconds < math.huge and seconds or nil)
  watch._tickets[ticket] = nil
end

-- The same for the next event: a main program that waits for it does what one that polls does.
local function wait(watch, seconds)
  local driver = watch._link.driver
  if not driver or driver.run_ready and not driver:current() then
    watch._link:poll(math.min(seconds, WAIT_MAX))
  else
    wait_quietly(watch, seconds)
  end
end

---The next event. In a coroutine of the store's driver others run meanwhile, and so they do if the main program waits.
---@param seconds? number How long to wait; for ever unless given.
---@return stillpoint.WatchEvent|nil ev nil: the time is over, or `err`.
---@return stillpoint.Error|nil err Why the watch is over; reason `aborted`: it was closed.
function Watch:next(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  if self._fn then
    error("this watch has a callback, which gets the events", 2)
  end
  local feed = self._feed
  if not feed then
    return nil, self._err
  end
  feed:acknowledge()
  local now = self._link.core.now
  local ends = now() + (seconds or math.huge)
  local ev, left = not feed.is_over and feed:take() or nil, 1
  while not ev and not feed.is_over and left > 0 do
    left = ends - now()
    wait(self, math.max(left, 0))
    ev = not feed.is_over and feed:take() or nil
  end
  if feed.is_over then
    return nil, feed.err or failure.new("aborted", "the watch was closed")
  end
  return ev
end

---So that a `for` can go over it: the events, until the watch is closed. If it fails, the error is raised.
---@return stillpoint.WatchEvent|nil
function Watch:__call()
  local driver = self._link.driver
  if not protect.can_yield and driver and driver:current() then
    error("Lua 5.1 cannot wait in the 'for' of a coroutine: use 'while true do local ev = assert(w:next())'", 2)
  end
  local ev, err = self:next()
  if not ev and not (self._feed and self._feed.err == nil) then
    error(err, 0)
  end
  return ev
end

---How far the events are handled: for the option `position`. Opaque.
---@return string|nil position nil: the store did not name one yet.
function Watch:position()
  return self._feed and self._feed.at
end

---Ends the watch; again is fine. The event at hand counts as handled only when the next one is asked for, or the
---callback returns.
function Watch:close()
  local feed = self._feed
  if feed and feed.cursor then
    feed.cursor:send()
  end
  finish(self)
end

Watch.__close = Watch.close

function Watch:__tostring()
  return is_over(self) and "stillpoint.Watch (closed)" or "stillpoint.Watch"
end

---The core has something to take.
function Watch:_on_news()
  if self._fn then
    self:_post()
  else
    wake(self)
  end
end

---Has the callback called for what is there.
function Watch:_post()
  if not self._posted then
    self._posted = true
    self._link.mailbox:post(self, function()
      self._posted = false
      self:_pump()
    end)
  end
end

function Watch:_pump()
  local feed = self._feed
  while not feed.is_over do
    local ev = feed:take()
    if not ev then
      break
    end
    local ok, err = protect.call(protect.traceback, self._fn, ev)
    if not ok then
      self:_stumble(ev)
      error(err, 0)
    end
    self._pause = PAUSE_MIN
    feed:acknowledge()
  end
  local err = feed.err
  if feed.is_over then
    finish(self)
  end
  -- Of the session's end the event `fenced` tells.
  if err and err.reason ~= "fenced" and err.reason ~= "session_expired" then
    error(err, 0)
  end
end

---The callback raised. With a cursor it gets the event again, after a pause; else it gets the next one.
---@param ev stillpoint.WatchEvent
function Watch:_stumble(ev)
  local feed, link = self._feed, self._link
  if not feed.cursor or feed.is_over then
    feed:acknowledge()
    return self:_post()
  end
  feed:give_back(ev)
  local pause = self._pause
  self._pause = math.min(pause * 2, PAUSE_MAX)
  self._posted = true
  link:later(pause, function()
    self._posted = false
    self:_post()
    link.mailbox:run()
  end)
end

-- The watch stands. If its cursor is new, the place where it begins is worth keeping, too; but where the state is told
-- first, only that state's end is.
local function stand(watch, opts)
  local feed = watch._feed
  if opts.cursor then
    feed.cursor = Cursor.new(watch._link, opts.cursor, function(err)
      finish(watch, err)
      if watch._fn then
        watch:_post()
      end
    end)
  end
  if opts.snapshot then
    feed.behind = nil
  end
  feed:acknowledge()
end

-- Waits for the first message, which says that the watch stands.
local function begin(watch, opts)
  local link, feed = watch._link, watch._feed
  local now = link.core.now
  local ends = now() + link.deadline
  local kind, left = feed:fetch(0), 1
  while not kind and not feed.is_over and left > 0 do
    left = ends - now()
    kind = wait_quietly(watch, math.max(left, 0))
    kind = kind or feed:fetch(0)
  end
  if kind then
    stand(watch, opts)
  elseif not feed.is_over then
    finish(watch, failure.new("deadline_exceeded", ("the watch did not begin within %g s"):format(link.deadline)))
  end
end

---Opens a watch.
---@param link stillpoint.Link
---@param collection string|nil nil: all of the namespace.
---@param opts stillpoint.WatchOptions|nil
---@param fn nil|fun(ev: stillpoint.WatchEvent)
---@param level integer As for `check`, seen from here.
---@return stillpoint.Watch|nil watch Without a callback there always is one; `next` then tells what is wrong with it.
---@return stillpoint.Error|nil err
---@return nil
---@return stillpoint.Watch|nil closes What a `for` of Lua 5.4 closes when it is left; only without a callback.
function Watch.open(link, collection, opts, fn, level)
  opts = opts == nil and {} or opts
  check.options(opts, OPTIONS, level)
  if fn ~= nil then
    check.callable(fn, "callback", level)
  end
  if (opts.after and 1 or 0) + (opts.position and 1 or 0) + (opts.cursor and 1 or 0) > 1 then
    error("options: 'after', 'position' or 'cursor', not several of them", level - 1)
  end
  if not link.handle then
    error("the store is closed", level - 1)
  end
  local watch = setmetatable({ _link = link, _posted = false, _pause = PAUSE_MIN, _tickets = {} }, Watch)
  local request = { collection = collection }
  for name, value in pairs(opts) do
    request[name] = value
  end
  local id, err = link.core.watch(link.handle, request)
  if id then
    watch._feed = Feed.new(link, id)
    link.watches[id] = watch
    begin(watch, opts)
    err = watch._feed.err
  end
  if not fn then
    watch._err = err
    return watch, nil, nil, watch
  elseif err or is_over(watch) then
    return nil, err or failure.new("aborted", "the watch was closed")
  end
  watch._fn = fn
  link.listeners[watch] = true
  link:listen()
  watch:_post()
  return watch
end

return Watch
