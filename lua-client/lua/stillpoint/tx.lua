-- One attempt at a transaction: what its function reads and writes through.

local Timers = require "stillpoint.timers"
local check = require "stillpoint.check"
local core = require "stillpoint_core"
local document = require "stillpoint.document"
local failure = require "stillpoint.failure"
local requests = require "stillpoint.requests"

---Raised to leave the function early; what for stands in the Tx.
local LEAVE = setmetatable({}, {
  __tostring = function()
    return "this transaction is over (do not catch this error)"
  end,
})

---@class stillpoint.Tx
---@field _link stillpoint.Link
---@field _ends number By the core's clock.
---@field _reads table<string, table<string, {rev: integer, schema: integer|nil}>> By collection and key: as first read.
---@field _read_list string[] Collection, key, collection, key ...
---@field _fetched table<string, table<string, stillpoint.Record|false>> Read in advance, not yet asked for.
---@field _writes table<string, table<string, table>> By collection and key: what was written here.
---@field _ops any[][] For the core, in order; values as bytes.
---@field _finished stillpoint.Firing[] Firings of timers that it consumes.
---@field _outcome stillpoint.Error|nil Why it ends without a commit.
---@field _broken boolean|nil A read failed, so there is nothing to validate.
---@field _stale boolean|nil It failed because the record had changed.
---@field _over boolean
local Tx = {}
Tx.__index = Tx
Tx.__name = "stillpoint.Tx"

local function slot(map, collection)
  local inner = map[collection]
  if not inner then
    inner = {}
    map[collection] = inner
  end
  return inner
end

local function usable(tx, level)
  if tx._over then
    error("this transaction is over: use its tx only inside of the function", level)
  end
end

local function leave(tx, err)
  tx._outcome = tx._outcome or err
  error(LEAVE, 0)
end

local function fetch(tx, collection, key)
  local link = tx._link
  local left = math.max(tx._ends - link.core.now(), 0)
  local ok, value, rev, version, schema, expires_at = link:call(left, "get", collection, key)
  if not ok then
    tx._broken = true
    leave(tx, value)
  end
  return rev ~= nil
    and { value = value, rev = rev, version = version, schema = schema, expires_at = expires_at }
end

-- Reads a record as of this transaction. The value is the caller's to change; so a second read fetches it again.
local function read(tx, collection, key)
  local fetched = slot(tx._fetched, collection)
  local record = fetched[key]
  fetched[key] = nil
  if record == nil then
    record = fetch(tx, collection, key)
  end
  local reads = slot(tx._reads, collection)
  local before = reads[key]
  if before == nil then
    -- Only what the guard and the writes need: the caller has the value.
    reads[key] = record and { rev = record.rev, schema = record.schema } or { rev = 0 }
    table.insert(tx._read_list, collection)
    table.insert(tx._read_list, key)
  elseif before.rev ~= (record and record.rev or 0) or before.schema ~= (record and record.schema or nil) then
    tx._broken, tx._stale = true, true
    leave(tx, failure.new("version_conflict", "the record was written or migrated between two reads of one transaction"))
  end
  return record
end

-- The value with what was written in this transaction, to be read in it; nil: it is missing.
local function written(tx, collection, key, write)
  if write.base == nil then
    local record = read(tx, collection, key)
    write.base = record and core.encode(record.value, nil, document.NESTING_MAX) or false
  end
  local value
  if write.base then
    value = core.decode(write.base)
  end
  for _, patch in ipairs(write.patches) do
    if value == nil and patch.create then
      value = {}
    end
    if value ~= nil then
      local ok, result = document.patch(value, core.decode(patch.steps))
      if not ok then
        leave(tx, result)
      end
      value = result
    end
  end
  return value
end

-- The transaction as a whole is what a token names.
local function no_once(opts)
  if opts and opts.once then
    error("option 'once': it names the whole transaction; give it to store:txn", 3)
  end
end

-- Keeps a value as it is now. Whether it is larger or deeper than the store allows turns out when it is sent.
local function snapshot(tx, value)
  local bytes, message = core.encode(value, nil, document.NESTING_MAX)
  if not bytes then
    leave(tx, failure.unfit(message))
  end
  return bytes
end

-- Called directly by public functions only: level 4 is their caller.
local function lookup(tx, collection, key)
  usable(tx, 4)
  check.name("collection", collection, 4)
  check.key(key, 4)
  local write = slot(tx._writes, collection)[key]
  if not write then
    return read(tx, collection, key) or nil
  end
  local value = written(tx, collection, key, write)
  return value ~= nil and { value = value } or nil
end

---Reads a record's value; nil: it is missing. Sees what this transaction wrote. A failed read ends the transaction.
---@param collection string
---@param key string
---@return any value
function Tx:get(collection, key)
  local record = lookup(self, collection, key)
  if record then
    return record.value
  end
end

---Reads a record. One written in this transaction has only its value yet.
---@param collection string
---@param key string
---@return stillpoint.Record|nil
function Tx:read(collection, key)
  local record = lookup(self, collection, key)
  return record
end

---Writes a record whole, with the value as it is now.
---@param collection string
---@param key string
---@param value any
---@param opts? stillpoint.PutOptions
function Tx:put(collection, key, value, opts)
  usable(self, 3)
  check.name("collection", collection, 3)
  requests.put(self._link, collection, key, value, opts)
  no_once(opts)
  local bytes = snapshot(self, value)
  slot(self._writes, collection)[key] = { base = bytes, patches = {} }
  table.insert(self._ops, { "put", collection, key, bytes, opts })
end

---Changes places within a record; see `Collection:patch`.
---@param collection string
---@param key string
---@param steps any[][]
---@param opts? stillpoint.PatchOptions
function Tx:patch(collection, key, steps, opts)
  usable(self, 3)
  check.name("collection", collection, 3)
  requests.patch(self._link, collection, key, steps, opts)
  no_once(opts)
  local bytes = snapshot(self, steps)
  local writes = slot(self._writes, collection)
  local write = writes[key] or { patches = {} }
  writes[key] = write
  table.insert(write.patches, { steps = bytes, create = opts and opts.create })
  table.insert(self._ops, { "patch", collection, key, bytes, opts })
end

---@param collection string
---@param key string
---@param opts? stillpoint.WriteOptions
function Tx:delete(collection, key, opts)
  usable(self, 3)
  check.name("collection", collection, 3)
  requests.delete(self._link, collection, key, opts)
  no_once(opts)
  slot(self._writes, collection)[key] = { base = false, patches = {} }
  table.insert(self._ops, { "delete", collection, key, opts })
end

---Sets a timer with the rest; see `Store:timer`.
---@param name string
---@param opts stillpoint.TimerOptions
function Tx:timer(name, opts)
  usable(self, 3)
  local _, _, _, request = Timers.set(self._link, name, opts)
  no_once(opts)
  if request.payload ~= nil then
    request.payload = snapshot(self, request.payload)
  end
  table.insert(self._ops, { "set_timer", name, request })
end

---@param name string
---@param opts? stillpoint.TimerCancelOptions
function Tx:cancel_timer(name, opts)
  usable(self, 3)
  local _, _, _, request = Timers.cancel(self._link, name, opts)
  no_once(opts)
  table.insert(self._ops, { "cancel_timer", name, request })
end

---Consumes a firing of a timer, so that what else the transaction does is done once for it. If it was consumed already,
---or the timer was set anew or cancelled, the transaction fails with `version_conflict`.
---@param ev stillpoint.Firing As the handler got it.
function Tx:finish(ev)
  usable(self, 3)
  if not Timers.is_firing(ev) then
    error("ev: the event of a timer expected", 2)
  end
  table.insert(self._finished, ev)
  table.insert(self._ops, { "finish_timer", ev.name, { service = ev.service, due_ms = ev.due_ms } })
end

---Ends the transaction without a change; does not return. `store:txn` then returns nil and an error with reason
---`aborted` and this message.
---@param reason? string
function Tx:abort(reason)
  usable(self, 3)
  leave(self, failure.new("aborted", tostring(reason or "the transaction was aborted")))
end

---Begins an attempt.
---@param link stillpoint.Link
---@param ends number By the core's clock.
---@param fetched table|nil Records read in advance.
---@return stillpoint.Tx
function Tx.new(link, ends, fetched)
  return setmetatable({
    _link = link,
    _ends = ends,
    _reads = {},
    _read_list = {},
    _fetched = fetched or {},
    _writes = {},
    _ops = {},
    _finished = {},
    _over = false,
  }, Tx)
end

return Tx
