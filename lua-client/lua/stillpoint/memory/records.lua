-- The records of a store without a server, and how they are changed: in commits, each undone by its journal if one of
-- its operations fails.
--
-- Values are kept encoded, so that nobody shares a table with the store. As on a server, sessions, claims, timers and
-- cursors are records, too, in collections whose names begin with `@`; no operation can name these.

local Feed = require "stillpoint.memory.feed"
local Queue = require "stillpoint.memory.queue"
local failure = require "stillpoint.failure"
local operations = require "stillpoint.memory.operations"
local ownership = require "stillpoint.memory.ownership"
local refusal = require "stillpoint.memory.refusal"

---@class stillpoint.memory.Stored
---@field bytes string|nil Of a user's record: the value.
---@field rev integer
---@field version integer
---@field schema integer
---@field expires_at number|nil

---@class stillpoint.memory.Records
---@field collections table<string, table<string, stillpoint.memory.Stored>> By collection and key.
---@field revision integer
---@field commit integer|nil The revision of the commit under way, once it has written something.
---@field journal any[][] What it changed: collection, key, what was there.
---@field now fun(): number
---@field feed stillpoint.memory.Feed
---@field caller stillpoint.memory.Session|nil Whose operation is under way.
---@field is_busy boolean Something is under way that a finalizer must not come between.
---@field deferred stillpoint.memory.Queue Of functions: what finalizers submitted meanwhile.
---@field expiry number When the next record may expire.
---@field once table<string, any[]> The answers of named writes.
---@field holders table<string, stillpoint.memory.Handle> Who is attached, by session.
---@field waiting stillpoint.memory.Waiting[] Claims that wait for the owner.
local Records = {}
Records.__index = Records

---As the server's default.
local KEY_BYTES_MAX = 512

local unpack = table.unpack or rawget(_G, "unpack")

---@param now fun(): number
---@return stillpoint.memory.Records
function Records.new(now)
  return setmetatable({
    collections = {},
    revision = 0,
    journal = {},
    now = now,
    feed = Feed.new(),
    is_busy = false,
    deferred = Queue.new(),
    expiry = math.huge,
    once = {},
    holders = {},
    waiting = {},
  }, Records)
end

---@param collection string
---@param key string
---@return stillpoint.memory.Stored|nil
function Records:find(collection, key)
  if key == "" then
    refusal.raise("invalid", "the key is empty: use 1 to 512 bytes", collection, key)
  elseif #key > KEY_BYTES_MAX then
    refusal.raise("invalid", ("the key has %d bytes: use 1 to 512"):format(#key), collection, key)
  end
  local stored = self:peek(collection, key)
  if stored and not (stored.expires_at and stored.expires_at <= self.now()) then
    return stored
  end
end

---What is there, of a reserved collection, too.
function Records:peek(collection, key)
  return self.collections[collection] and self.collections[collection][key]
end

---@param stored table|nil
---@return integer rev
function Records:write(collection, key, stored)
  self.commit = self.commit or self.revision + 1
  local records = self.collections[collection] or {}
  self.collections[collection] = records
  table.insert(self.journal, { collection, key, records[key] })
  records[key] = stored
  if stored then
    stored.rev = self.commit
    self.expiry = math.min(self.expiry, stored.expires_at or math.huge)
  end
  return self.commit
end

---@return stillpoint.memory.Stored
function Records:store(collection, key, before, bytes, schema, expires_at)
  local stored = {
    bytes = bytes,
    version = before and before.version + 1 or 1,
    schema = schema,
    expires_at = expires_at,
  }
  self:write(collection, key, stored)
  return stored
end

local function undo(records)
  for i = #records.journal, 1, -1 do
    local collection, key, before = records.journal[i][1], records.journal[i][2], records.journal[i][3]
    records.collections[collection][key] = before
  end
end

local function finish(records, ok, ...)
  if not ok then
    undo(records)
  elseif records.commit then
    records.revision = records.commit
    records.feed:add(records)
  end
  records.commit, records.journal, records.caller = nil, {}, nil
  if not ok and type((...)) ~= "table" then
    error((...), 0)
  end
  return ok, ...
end

local function leave(records, ok, ...)
  repeat
    local job = records.deferred:pop()
    if job then
      job()
    end
  until not job
  records.is_busy = false
  if not ok then
    error((...), 0)
  end
  return ...
end

---Does something that a finalizer must not come between. It may be part of something else like that.
---@param fn function
---@param ... any
---@return any ...
function Records:exclusively(fn, ...)
  if self.is_busy then
    return fn(...)
  end
  self.is_busy = true
  return leave(self, pcall(fn, ...))
end

local function remember(records, name, ok, ...)
  if ok then
    records.once[name] = { n = select("#", ...), ... }
  end
  return ok, ...
end

---Does one operation as one commit.
---@param caller stillpoint.memory.Session|nil
---@param deadline number
---@param op string
---@param ... any
---@return boolean ok
---@return any ... Results, or the error.
function Records:execute(caller, deadline, op, ...)
  if deadline <= 0 then
    return false, failure.new("deadline_exceeded", "the deadline had passed before the operation was begun")
  end
  local once = operations.once(op, ...)
  local first = once and self.once[once]
  if first then
    return true, unpack(first, 1, first.n)
  end
  local ok, err = pcall(operations.check, op, ...)
  if not ok then
    return finish(self, false, err)
  end
  self.caller = caller
  if once then
    return remember(self, once, finish(self, pcall(operations.run, self, op, ...)))
  end
  return finish(self, pcall(operations.run, self, op, ...))
end

---Does something of the store itself as one commit.
---@param fn fun(records: stillpoint.memory.Records, ...): ...
---@param ... any
---@return boolean ok
---@return any ... Results, or the error.
function Records:change(fn, ...)
  return finish(self, pcall(fn, self, ...))
end

local function delete_expired(records)
  local now, next_expiry = records.now(), math.huge
  local over = {}
  for collection, entries in pairs(records.collections) do
    for key, stored in pairs(entries) do
      if stored.expires_at and stored.expires_at <= now then
        over[#over + 1] = { collection, key }
      else
        next_expiry = math.min(next_expiry, stored.expires_at or math.huge)
      end
    end
  end
  for _, place in ipairs(over) do
    records:write(place[1], place[2], nil)
    records.journal[#records.journal].expired = true
  end
  records.expiry = next_expiry
end

---Does what is due: records expire, sessions without a holder end.
function Records:expire()
  if self.expiry <= self.now() then
    self:change(delete_expired)
  end
  ownership.end_lingering(self)
end

return Records
