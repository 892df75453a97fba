-- The changes of one claimed document on their way to the store.
--
-- Patches go out in the document's lane, so they take effect in order, and what is submitted behind them (a read, the
-- release) sees or follows all of them. Of a refusal the document learns later: then the record is read again behind
-- all that was sent, and replaces the local value.
--
-- This is what stays when the handle is collected, so it does not hold on to it. Towards the connection it acts as a
-- future: `done`, `wait_blocking`, `give_up`.

local Ledger = require "stillpoint.owned.ledger"
local failure = require "stillpoint.failure"
local lane_of = require "stillpoint.lane"

---@class stillpoint.Gathered Changes that wait for their autosave.
---@field steps any[][]
---@field count integer Changes.
---@field create boolean The record may be missing.
---@field bytes integer
---@field at number When the first was made, by the core's clock.

---@class stillpoint.Sent An operation on its way.
---@field kind string What its answer is for, see `hear`.
---@field id integer
---@field steps integer
---@field bytes integer
---@field at number When the oldest change in it was made.

---@class stillpoint.Changes
---@field link stillpoint.Link
---@field ledger stillpoint.Ledger
---@field id string The record: collection .. "\0" .. key.
---@field collection string
---@field key string
---@field lane integer
---@field token integer
---@field autosave number Seconds; 0: each change is sent at once.
---@field patience number Seconds that a change may take to reach the store.
---@field durability string|nil
---@field unsaved_max integer Changes not yet answered, at most.
---@field record stillpoint.Record What is known of it; the value is the handle's.
---@field handle table Weak, at 1: the stillpoint.Owned.
---@field generation integer How many handles there were.
---@field sent stillpoint.Sent[] Not yet answered, from `first` to `last`.
---@field first integer
---@field last integer
---@field steps integer Changes not yet answered.
---@field gathered stillpoint.Gathered|nil
---@field is_queued boolean The ledger knows when `gathered` is due.
---@field lost stillpoint.Error|nil Why the record is not owned any more.
---@field refused stillpoint.Error|nil Since the last `save`: why a change was refused.
---@field unreported stillpoint.Error|nil The same, until told as an event.
---@field lost_told boolean|nil An event told of the loss.
---@field unread stillpoint.Error|nil Why the last read failed.
---@field is_stale boolean The value has to be read again.
---@field is_reading boolean It is being read.
---@field tickets stillpoint.Ticket[]|nil Of coroutines that wait for an answer.
local Changes = {}
Changes.__index = Changes

---About what a step takes beside the values in it, in bytes.
local STEP_BYTES = 64

---Gathered steps are sent when there are so many, whatever the time.
local GATHERED_MAX = 256

---The longest time handed to the core at once, in seconds.
local WAIT_MAX = 3600

---Refusals after which the record is not owned any more.
local LOSSES = { not_owner = true, fenced = true, session_expired = true }

---@param link stillpoint.Link
---@param collection string
---@param key string
---@return stillpoint.Changes
function Changes.new(link, collection, key)
  return setmetatable({
    link = link,
    ledger = Ledger.of(link),
    id = collection .. "\0" .. key,
    collection = collection,
    key = key,
    lane = lane_of(collection, key),
    handle = setmetatable({}, { __mode = "v" }),
    record = {},
    generation = 0,
    sent = {},
    first = 1,
    last = 0,
    steps = 0,
    is_queued = false,
    is_stale = false,
    is_reading = false,
  }, Changes)
end

---When the oldest unsaved change was made; nil: all is saved.
---@return number|nil
function Changes:since()
  local oldest = self.sent[self.first]
  return oldest and oldest.at or self.gathered and self.gathered.at
end

local function mark(changes)
  changes.ledger:mark(changes, changes.steps > 0)
end

-- Submits an operation on the record behind those before.
local function submit(changes, kind, at, steps, bytes, op, ...)
  local link = changes.link
  local core = link.core
  local id, err = core.submit(link.handle, changes.patience, changes.lane, op, changes.collection, changes.key, ...)
  if not id then
    return nil, err
  end
  changes.last = changes.last + 1
  changes.sent[changes.last] = { kind = kind, id = id, steps = steps, bytes = bytes, at = at }
  if steps > 0 then
    changes.ledger.patches = changes.ledger.patches + 1
  end
  link:note(id, changes)
  return true
end

---Sends steps as one patch, or gathers them for later. The caller has done them on the value.
---@param steps any[][]
---@param create boolean The record may be missing.
---@param bytes integer About how much is in them.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:add(steps, create, bytes)
  local now = self.link.core.now()
  bytes = bytes + #steps * STEP_BYTES
  if self.autosave == 0 then
    return self:send("patch", now, 1, bytes, "patch", steps, { create = create or nil, durability = self.durability })
  end
  local gathered = self.gathered
  if not gathered then
    gathered = { steps = {}, count = 0, create = create, bytes = 0, at = now }
    self.gathered = gathered
  end
  for _, step in ipairs(steps) do
    gathered.steps[#gathered.steps + 1] = step
  end
  gathered.bytes = gathered.bytes + bytes
  gathered.count = gathered.count + 1
  self:count(1, bytes)
  if #gathered.steps >= GATHERED_MAX or now >= gathered.at + self.autosave then
    -- What cannot be sent just now stays gathered.
    self:flush()
  end
  if self.gathered and not self.is_queued then
    self.ledger:enqueue(self)
  end
  return true
end

---Sends an operation that counts as so many changes.
function Changes:send(kind, at, steps, bytes, op, ...)
  local ok, err = submit(self, kind, at, steps, bytes, op, ...)
  if ok then
    self:count(steps, bytes)
  end
  return ok, err
end

---@param steps integer
---@param bytes integer
function Changes:count(steps, bytes)
  self.steps = self.steps + steps
  self.ledger.bytes = self.ledger.bytes + bytes
  mark(self)
end

---Sends what has gathered.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:flush()
  local gathered = self.gathered
  if not gathered then
    return true
  end
  self.gathered = nil
  local opts = { create = gathered.create or nil, durability = self.durability }
  local ok, err = submit(self, "patch", gathered.at, gathered.count, gathered.bytes, "patch", gathered.steps, opts)
  if not ok then
    self.gathered = gathered
  end
  return ok, err
end

---Sends what has gathered if its time is over.
---@param now number
function Changes:flush_due(now)
  if self.gathered and now >= self.gathered.at + self.autosave then
    self:flush()
  end
end

-- Drops what is gathered: it can no longer be sent.
local function discard(changes)
  local gathered = changes.gathered
  if gathered then
    changes.gathered = nil
    changes:count(-gathered.count, -gathered.bytes)
  end
end

-- The record is not this session's any more.
local function forget(changes)
  if changes.ledger.kept[changes.id] == changes then
    changes.ledger.kept[changes.id] = nil
  end
end

-- Notes a refusal, to be told once by `save` and once as an event.
local function refuse(changes, err)
  changes.refused = changes.refused or err
  if not changes.unreported and not changes.lost_told then
    changes.unreported = err
    changes.ledger:attend(changes)
  end
end

---The record is not owned any more; nothing more is sent.
---@param err stillpoint.Error
function Changes:lose(err)
  if self.lost then
    return
  end
  self.lost = err
  if self.gathered then
    refuse(self, err)
    discard(self)
  end
  forget(self)
end

---@param holder string|nil Who owns the record now.
function Changes:lose_to(holder)
  local message = ("%s/%s was taken by %s"):format(self.collection, self.key, holder or "another session")
  local err = failure.new("not_owner", message)
  err.holder, err.key = holder, { collection = self.collection, key = self.key }
  self:lose(err)
end

---Asks who owns the record.
function Changes:ask()
  submit(self, "owner", self.link.core.now(), 0, 0, "owner")
end

-- What the answers are for, by the kind of what was sent.
local hear = {}

local function hear_write(changes, ok, rev, version)
  if ok then
    changes.record.rev, changes.record.version = rev, version
    changes:show()
    return
  end
  local err = rev
  if LOSSES[err.reason] and not changes.lost then
    if err.reason == "not_owner" then
      changes.ledger.losses[changes.id] = true
    end
    changes:lose(err)
  end
  changes.is_stale = true
  refuse(changes, err)
end

hear.patch = hear_write

function hear.read(changes, ok, value, rev, version, schema, expires_at)
  changes.is_reading = false
  if not ok then
    changes.unread = value
    return
  end
  changes.is_stale, changes.unread = false, nil
  changes.record = { rev = rev, version = version, schema = schema, expires_at = expires_at }
  local handle = changes.handle[1]
  if handle then
    handle.value = value
    changes:show()
  end
end

-- A release that did not get through is tried again, as long as nobody claims the record anew.
function hear.release(changes, ok, err)
  if not ok and err.retryable and changes.link.handle and not changes.ledger.kept[changes.id] then
    table.insert(changes.ledger.dropped, changes)
  end
end

function hear.owner(changes, ok, owner)
  local session = changes.link.core.session(changes.link.handle)
  if ok and not (owner and session and owner.session == session.id and owner.token == changes.token) then
    changes:lose_to(owner and owner.service .. "/" .. owner.instance)
  end
end

---Copies what is known of the record to the handle.
function Changes:show()
  local handle, record = self.handle[1], self.record
  if handle then
    handle.rev, handle.version, handle.schema = record.rev, record.version, record.schema
    handle.expires_at = record.expires_at
  end
end

-- Takes the answer to what was sent first; false: it is not there yet.
local function accept(changes, ok, ...)
  if ok == nil then
    return false
  end
  local sent = changes.sent[changes.first]
  changes.sent[changes.first] = nil
  changes.first = changes.first + 1
  changes.link.futures[sent.id] = nil
  if sent.steps > 0 then
    changes.ledger.patches = changes.ledger.patches - 1
    changes:count(-sent.steps, -sent.bytes)
  end
  hear[sent.kind](changes, ok, ...)
  return true
end

---Takes the answers that are there.
---@return boolean # Whether there was one.
function Changes:done()
  local link, any = self.link, false
  while link.handle and self.first <= self.last do
    if not accept(self, link.core.take(link.handle, self.sent[self.first].id)) then
      break
    end
    any = true
  end
  if any then
    self:wake()
  end
  return any
end

---Lets the coroutines go on that wait for an answer.
function Changes:wake()
  local link, tickets = self.link, self.tickets
  if tickets then
    self.tickets = nil
    link:release(self)
    for _, ticket in ipairs(tickets) do
      link:wake(ticket)
    end
    link:rest()
  end
end

---Waits for the next answer while nothing else runs.
---@param seconds? number
function Changes:wait_blocking(seconds)
  local link, sent = self.link, self.sent[self.first]
  if sent and accept(self, link.core.wait(link.handle, sent.id, math.min(seconds or WAIT_MAX, WAIT_MAX))) then
    if not self:done() then
      self:wake()
    end
  end
end

---Waits for the next answer; in a coroutine others run meanwhile.
---@param seconds? number
function Changes:wait(seconds)
  local link = self.link
  local task = link.driver and link.driver:current()
  if self.first > self.last then
    return
  elseif not task then
    return self:wait_blocking(seconds)
  elseif self:done() then
    return
  end
  local ticket = { link = link, task = task, done = false }
  self.tickets = self.tickets or {}
  table.insert(self.tickets, ticket)
  link:keep(self)
  link:wait(ticket, seconds)
  if ticket.done then
    return
  end
  for i, other in ipairs(self.tickets or {}) do
    if other == ticket then
      table.remove(self.tickets, i)
      break
    end
  end
  if self.tickets and #self.tickets == 0 then
    self.tickets = nil
    link:release(self)
    link:rest()
  end
end

---The store was closed.
function Changes:give_up()
  self:lose(failure.new("unavailable", "the store was closed", true))
  while self.first <= self.last do
    accept(self, false, self.lost)
  end
  self:wake()
end

---Begins to read the record again, behind all that was sent.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:read()
  if self.is_reading then
    return true
  end
  local ok, err = self:flush()
  if ok then
    ok, err = submit(self, "read", self.link.core.now(), 0, 0, "get")
  end
  self.is_reading = ok or false
  return ok, err
end

---Waits until the value is what the store has, if a change was refused.
---@param ends number By the core's clock.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:recover(ends)
  self.unread = nil
  while self.is_stale and not self.lost do
    local ok, err = self:read()
    if not ok then
      return nil, err
    end
    local left = ends - self.link.core.now()
    if left <= 0 then
      return nil, failure.new("deadline_exceeded", "a change was refused, and the record could not be read again in time")
    end
    self:wait(left)
    if self.unread then
      return nil, self.unread
    end
  end
  return true
end

---Waits until there is room for another change and the value is good.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:prepare()
  local link = self.link
  self:done()
  if self.is_stale and not self.lost then
    local ok, err = self:recover(link.core.now() + link.deadline)
    if not ok then
      return nil, err
    end
  end
  while not self.lost and self.steps >= self.unsaved_max do
    local ok, err = self:flush()
    if not ok then
      return nil, err
    end
    self:wait()
  end
  if not self.lost and self.ledger:is_full() then
    local ok, err = self.ledger:make_room()
    if not ok then
      return nil, err
    end
  end
  if self.lost then
    return nil, self.lost
  elseif self.is_stale then
    return self:prepare()
  end
  return true
end

---Waits until all is in the store.
---@param seconds number
---@return true|nil ok
---@return stillpoint.Error|nil err What was refused since the last time; or why it is not saved.
function Changes:save(seconds)
  local link = self.link
  local ends = link.core.now() + seconds
  while not self.lost and (self.gathered or self.first <= self.last or self.is_stale) do
    local ok, err = self:flush()
    if ok and self.is_stale then
      ok, err = self:recover(ends)
    end
    if not ok then
      return nil, err
    end
    local left = ends - link.core.now()
    if self.first <= self.last and left <= 0 and not self:done() then
      local message = ("not all is saved after %g s; it goes on"):format(seconds)
      return nil, failure.new("deadline_exceeded", message, true)
    end
    self:wait(left)
  end
  local refused = self.refused
  self.refused = nil
  if self.lost or refused then
    return nil, self.lost or refused
  end
  return true
end

---Gives the record back behind all that was sent, without waiting.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:give_back()
  local link = self.link
  local kept = self.ledger.kept[self.id]
  if not link.handle or kept ~= self and (kept or self.ledger.claiming[self.id]) then
    return true
  end
  local ok, err = self:flush()
  if ok then
    ok, err = submit(self, "release", link.core.now(), 0, 0, "release")
  end
  if ok then
    forget(self)
  end
  return ok, err
end

---Gives the record back behind all that was sent; the handle is then dead.
---@param why string
---@param seconds? number How long to wait until it is done; not at all unless given.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:release(why, seconds)
  local ok, err = self:give_back()
  if not ok then
    return nil, err
  end
  self.lost = failure.new("not_owner", ("%s/%s: %s"):format(self.collection, self.key, why))
  local now = self.link.core.now
  local ends = now() + (seconds or 0)
  while seconds and self.first <= self.last and self.link.handle and now() < ends do
    self:wait(ends - now())
  end
  return true
end

-- A release whose answer nobody needs.
local function release_blindly(changes)
  local link = changes.link
  local core, handle = link.core, link.handle
  core.forget(handle, assert(core.submit(handle, changes.patience, changes.lane, "release", changes.collection, changes.key)))
end

---The handle was collected. Called by a finalizer within whatever runs, so it touches nothing that others go through;
---what has gathered is sent by whoever uses the connection next.
---@param generation integer Of the handle.
function Changes:drop(generation)
  if self.generation ~= generation or self.lost or not self.link.handle or self.ledger.kept[self.id] ~= self then
    return
  elseif not self.gathered and pcall(release_blindly, self) then
    forget(self)
  else
    table.insert(self.ledger.dropped, self)
  end
end

---Tells of a refusal, once the value is good again.
---@return boolean # Whether it is told.
function Changes:report()
  local handle = self.handle[1]
  if handle and self.is_stale and not self.lost then
    if self:read() then
      return false
    end
  end
  local err = self.unreported
  self.unreported, self.lost_told = nil, self.lost ~= nil
  self.link:emit("refused", { doc = handle, err = err, collection = self.collection, key = self.key })
  return true
end

return Changes
