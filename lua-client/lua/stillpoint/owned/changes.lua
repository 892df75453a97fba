-- The changes of one claimed document, from when they are made until the store has answered.
--
-- Of a refusal the document learns after the fact: the record is then read again behind all that was sent, and replaces
-- the local value.
--
-- This is what stays when the handle is collected, so it does not hold on to it.

local Ledger = require "stillpoint.owned.ledger"
local Outbox = require "stillpoint.owned.outbox"
local failure = require "stillpoint.failure"

---@class stillpoint.Gathered Changes that wait for their autosave.
---@field steps any[][]
---@field count integer Changes.
---@field create boolean The record may be missing.
---@field bytes integer
---@field at number When the first was made, by the core's clock.

---@class stillpoint.Changes: stillpoint.Outbox
---@field id string The record: collection .. "\0" .. key.
---@field token integer
---@field autosave number Seconds; 0: each change is sent at once.
---@field durability string|nil
---@field handover boolean Save and release on request.
---@field unsaved_max integer Changes not yet answered, at most.
---@field record stillpoint.Record What is known of it; the value is the handle's.
---@field handle table Weak, at 1: the stillpoint.Owned.
---@field gathered stillpoint.Gathered|nil
---@field is_queued boolean The ledger knows when `gathered` is due.
---@field lost stillpoint.Error|nil Why the record is not owned any more.
---@field refused stillpoint.Error|nil Since the last `save`: why a change was refused.
---@field unreported stillpoint.Error|nil The same, until told as an event.
---@field is_in_doubt boolean Who owns it is asked.
---@field is_loss_told boolean An event told that the record is lost.
---@field is_stale boolean The value has to be read again.
---@field is_reading boolean It is being read.
---@field unread stillpoint.Error|nil Why the last read failed.
local Changes = setmetatable({}, { __index = Outbox })
Changes.__index = Changes

---About what a step takes beside the values in it, in bytes.
local STEP_BYTES = 64

---Gathered steps are sent when there are so many, whatever the time.
local GATHERED_MAX = 256

---Who took a record that an operator brought back. That is told with each attaching, until the record is claimed anew.
local RESTORE = "@restore"

---Refusals after which the record is not owned any more.
local LOSSES = { not_owner = true, fenced = true, session_expired = true }

---@param link stillpoint.Link
---@param collection string
---@param key string
---@param patience number Seconds.
---@return stillpoint.Changes
function Changes.new(link, collection, key, patience)
  local changes = setmetatable({
    id = collection .. "\0" .. key,
    patience = patience,
    handle = setmetatable({}, { __mode = "v" }),
    record = {},
    is_queued = false,
    is_in_doubt = false,
    is_loss_told = false,
    is_stale = false,
    is_reading = false,
  }, Changes)
  changes:init(Ledger.of(link), collection, key)
  return changes
end

---When the oldest unsaved change was made; nil: all is saved.
---@return number|nil
function Changes:since()
  local oldest = self.sent[self.first]
  return oldest and oldest.at or self.gathered and self.gathered.at
end

-- Sends what carries no changes.
local function ask(changes, kind, op)
  return changes:submit({ kind = kind, steps = 0, bytes = 0, at = changes.link.core.now() }, op)
end

-- Sends a patch; its changes are counted.
local function send(changes, patch)
  local opts = { create = patch.create or nil, durability = changes.durability }
  local sent = { kind = "patch", steps = patch.count, bytes = patch.bytes, at = patch.at }
  return changes:submit(sent, "patch", patch.steps, opts)
end

local function gather(changes, patch)
  local gathered = changes.gathered
  if not gathered then
    changes.gathered = patch
    return
  end
  for _, step in ipairs(patch.steps) do
    gathered.steps[#gathered.steps + 1] = step
  end
  gathered.bytes = gathered.bytes + patch.bytes
  gathered.count = gathered.count + 1
end

---Sends steps as one patch, or gathers them for later. The caller has done them on the value.
---@param steps any[][] Kept.
---@param create boolean The record may be missing.
---@param bytes integer About how much is in them.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:add(steps, create, bytes)
  local now = self.link.core.now()
  local patch = { steps = steps, count = 1, create = create, bytes = bytes + #steps * STEP_BYTES, at = now }
  self:count(1, patch.bytes)
  if self.autosave == 0 then
    local ok, err = send(self, patch)
    if not ok then
      self:count(-1, -patch.bytes)
    end
    return ok, err
  end
  gather(self, patch)
  if #self.gathered.steps >= GATHERED_MAX then
    -- What cannot be sent just now stays gathered.
    self:flush()
  else
    self:flush_due(now)
  end
  if self.gathered and not self.is_queued then
    self.ledger:enqueue(self)
  end
  return true
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
  local ok, err = send(self, gathered)
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

-- The record is not kept by this session any more, as far as the ledger has to see to it.
local function forget(changes)
  if changes.ledger.kept[changes.id] == changes then
    changes.ledger.kept[changes.id] = nil
  end
end

-- Notes a refusal, to be told once by `save` and once as an event.
local function refuse(changes, err)
  changes.refused = changes.refused or err
  changes.is_stale = true
  if not changes.unreported and not changes.is_loss_told then
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
  local gathered = self.gathered
  if gathered then
    self.gathered = nil
    self:count(-gathered.count, -gathered.bytes)
    refuse(self, err)
  end
  forget(self)
end

---@param holder string|nil Who owns the record now.
local function lose_to(changes, holder)
  local message = ("%s/%s was taken by %s"):format(changes.collection, changes.key, holder or "another session")
  local err = failure.new("not_owner", message)
  err.holder, err.key = holder, { collection = changes.collection, key = changes.key }
  changes:lose(err)
end

---The store says that another session took the record. It may have done so before the record was claimed anew; then
---who owns it is asked, and until that is known a claim asks the store, too.
---@param holder string
function Changes:taken(holder)
  local losses = self.ledger.losses
  local is_told_again = holder == RESTORE
  if losses[self.id] then
    losses[self.id] = is_told_again or nil
    self.is_in_doubt = ask(self, "owner", "owner") or false
  else
    losses[self.id] = is_told_again or nil
    lose_to(self, holder)
  end
end

-- Copies what is known of the record to the handle.
local function show(changes)
  local handle, record = changes.handle[1], changes.record
  if handle then
    handle.rev, handle.version, handle.schema = record.rev, record.version, record.schema
    handle.expires_at = record.expires_at
  end
end

---Takes a new handle.
---@param handle stillpoint.Owned
---@param record stillpoint.Record
function Changes:adopt(handle, record)
  self.generation = self.generation + 1
  self.handle[1] = handle
  self.record = record
  self.is_stale, self.is_reading = false, false
  show(self)
end

-- What the answers are for, by the kind of what was sent.
local hear = {}

function hear.patch(changes, sent, ok, rev, version)
  if not ok then
    local err = rev
    if LOSSES[err.reason] and not changes.lost then
      if err.reason == "not_owner" then
        changes.ledger.losses[changes.id] = true
      end
      changes:lose(err)
    end
    refuse(changes, err)
  elseif sent.generation == changes.generation then
    changes.record.rev, changes.record.version = rev, version
    show(changes)
  end
end

function hear.read(changes, sent, ok, value, rev, version, schema, expires_at)
  -- An older one is from before the record was claimed, and read, anew.
  if sent.generation ~= changes.generation then
    return
  end
  changes.is_reading = false
  if not ok then
    changes.unread = value
    return
  end
  changes.is_stale = false
  changes.record = { rev = rev, version = version, schema = schema, expires_at = expires_at }
  local handle = changes.handle[1]
  if handle then
    handle.value = value
    show(changes)
  end
end

function hear.release(changes, _, ok, err)
  changes.ledger.releasing[changes] = nil
  if not ok and err.retryable then
    -- Tried again, unless somebody claims the record anew.
    table.insert(changes.ledger.dropped, changes)
  end
end

function hear.owner(changes, sent, ok, owner)
  local link = changes.link
  changes.is_in_doubt = false
  -- It was claimed anew since.
  if sent.generation ~= changes.generation then
    return
  end
  local session = link.handle and link.core.session(link.handle)
  if ok and session and not (owner and owner.session == session.id and owner.token == changes.token) then
    lose_to(changes, owner and owner.service .. "/" .. owner.instance)
  end
end

function Changes:_hear(sent, ok, ...)
  hear[sent.kind](self, sent, ok, ...)
end

---The store was closed.
function Changes:give_up()
  self:lose(failure.new("unavailable", "the store was closed", true))
  Outbox.give_up(self)
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
    ok, err = ask(self, "read", "get")
  end
  self.is_reading = ok or false
  return ok, err
end

---Gives the record back behind all that was sent, without waiting.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Changes:give_back()
  local kept = self.ledger.kept[self.id]
  if not self.link.handle or kept ~= self and (kept or self.ledger.claiming[self.id]) then
    return true
  end
  local ok, err = self:flush()
  if ok then
    -- What is answered at once needs to find it.
    self.ledger.releasing[self] = true
    ok, err = ask(self, "release", "release")
  end
  if ok then
    forget(self)
  else
    self.ledger.releasing[self] = nil
  end
  return ok, err
end

-- A release whose answer nobody hears.
local function release_unheard(changes)
  local core, handle = changes.link.core, changes.link.handle
  local id = core.submit(handle, changes.patience, changes.lane, "release", changes.collection, changes.key)
  core.forget(handle, assert(id))
end

---The handle was collected. Called by a finalizer within whatever runs, so it touches nothing that others go through;
---what has gathered is sent by whoever uses the connection next.
---@param generation integer Of the handle.
function Changes:drop(generation)
  if self.generation ~= generation or self.lost or not self.link.handle or self.ledger.kept[self.id] ~= self then
    return
  elseif not self.gathered and pcall(release_unheard, self) then
    forget(self)
  else
    table.insert(self.ledger.dropped, self)
  end
end

---Tells of a refusal, once the value is good again.
---@return boolean # Whether it is told.
function Changes:report()
  local handle = self.handle[1]
  if handle and self.is_stale and not self.lost and self:read() then
    return false
  end
  local err = self.unreported
  self.unreported, self.is_loss_told = nil, self.lost ~= nil
  self.link:emit("refused", { doc = handle, err = err, collection = self.collection, key = self.key })
  return true
end

return Changes
