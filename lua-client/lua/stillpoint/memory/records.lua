-- The records of a store without a server: what the operations do to them.
--
-- Values are kept encoded, so that nobody shares a table with the store. A commit is undone by its journal if one of
-- its operations fails.

local compare = require "stillpoint.document.compare"
local core = require "stillpoint_core"
local document = require "stillpoint.document"
local failure = require "stillpoint.failure"
local path = require "stillpoint.document.path"

---@class stillpoint.memory.Records
---@field collections table<string, table<string, table>> By collection and key.
---@field revision integer
---@field commit integer|nil The revision of the commit under way, once it has written something.
---@field journal any[][] What it changed: collection, key, what was there.
---@field now fun(): number
local Records = {}
Records.__index = Records

---As the store's defaults.
local VALUE_BYTES_MAX = 1024 * 1024
local NESTING_MAX = 64
local PAGE_MAX = 1000
local KEY_BYTES_MAX = 512
local OPS_MAX = 1024

---@param now fun(): number
---@return stillpoint.memory.Records
function Records.new(now)
  return setmetatable({ collections = {}, revision = 0, journal = {}, now = now }, Records)
end

-- Operations raise an error table; `execute` returns it.
local function refuse(reason, message, collection, key)
  local err = failure.new(reason, message)
  if collection then
    err.key = { collection = collection, key = key }
  end
  error(err, 0)
end

local function to_record(stored)
  return {
    value = core.decode(stored.bytes),
    rev = stored.rev,
    version = stored.version,
    schema = stored.schema,
    expires_at = stored.expires_at,
  }
end

local function conflict(collection, key, stored, message)
  local err = failure.new("version_conflict", ("%s/%s: %s"):format(collection, key, message))
  err.key = { collection = collection, key = key }
  err.current = stored and to_record(stored)
  error(err, 0)
end

local function encode(value, collection, key)
  local bytes, message = core.encode(value, VALUE_BYTES_MAX, NESTING_MAX)
  if not bytes then
    refuse(failure.unfit(message).reason, message, collection, key)
  end
  return bytes
end

local function check_count(what, count)
  if count > OPS_MAX then
    refuse("too_many_ops", ("%d %s: the limit is %d"):format(count, what, OPS_MAX))
  end
end

local function check_key(collection, key)
  if key == "" then
    refuse("invalid", "the key is empty: use 1 to 512 bytes", collection, key)
  elseif #key > KEY_BYTES_MAX then
    refuse("invalid", ("the key has %d bytes: use 1 to 512"):format(#key), collection, key)
  end
end

function Records:find(collection, key)
  check_key(collection, key)
  local stored = self.collections[collection] and self.collections[collection][key]
  if stored and not (stored.expires_at and stored.expires_at <= self.now()) then
    return stored
  end
end

function Records:write(collection, key, stored)
  self.commit = self.commit or self.revision + 1
  local records = self.collections[collection] or {}
  self.collections[collection] = records
  table.insert(self.journal, { collection, key, records[key] })
  records[key] = stored
  return self.commit
end

function Records:store(collection, key, before, bytes, schema, expires_at)
  local stored = {
    bytes = bytes,
    version = before and before.version + 1 or 1,
    schema = schema,
    expires_at = expires_at,
  }
  stored.rev = self:write(collection, key, stored)
  return stored
end

-- Refuses what is no comparison, whatever it would be compared with.
local function check_field(given, op, value)
  local segments, err = path.parse(given)
  if not segments then
    refuse("invalid", err.message)
  end
  if compare.holds(nil, op, nil) == nil then
    refuse("invalid", ("unknown comparison %q: use == ~= < <= > >= exists missing"):format(tostring(op)))
  end
  if op ~= "exists" and op ~= "missing" then
    encode(value)
  end
end

local function field_holds(stored, given, op, value)
  local found
  if stored then
    found = document.at(core.decode(stored.bytes), path.parse(given))
  end
  return compare.holds(found, op, value)
end

-- Why a guard does not hold; nil: it does.
local function failed(stored, test, expected, op, value)
  if test == "exists" then
    if (stored ~= nil) ~= expected then
      return expected and "the record does not exist" or "the record exists"
    end
  elseif test == "rev" or test == "version" then
    local actual = stored and stored[test] or 0
    if actual ~= expected then
      local name = test == "rev" and "revision" or test
      return ("the record is at %s %d, not %d"):format(name, actual, expected)
    end
  elseif not field_holds(stored, expected, op, value) then
    return "a field guard does not hold"
  end
end

local function require_guards(collection, key, stored, opts)
  local why = opts.if_absent and failed(stored, "exists", false)
    or opts.if_exists and failed(stored, "exists", true)
    or opts.if_rev and failed(stored, "rev", opts.if_rev)
    or opts.if_version and failed(stored, "version", opts.if_version)
  for _, guard in ipairs(opts.where or {}) do
    why = why or failed(stored, "field", guard[1], guard[2], guard[3])
  end
  if why then
    conflict(collection, key, stored, why)
  end
end

local function check_options(opts)
  local guards = opts and opts.where or {}
  check_count("guards of an operation", #guards)
  for _, guard in ipairs(guards) do
    check_field(guard[1], guard[2], guard[3])
  end
end

-- What is wrong with an operation by itself, whatever is stored: checked of all before any is done.
local checks = {}

function checks.delete(_, _, opts)
  check_options(opts)
end

function checks.put(_, _, _, opts)
  check_options(opts)
end

function checks.patch(_, _, steps, opts)
  check_count("steps of a patch", #steps)
  for _, step in ipairs(steps) do
    if step[1] == "append" then
      check_count("values of an append", #step - 2)
    end
  end
  check_options(opts)
end

function checks.batch_get(keys)
  check_count("keys of a batch", #keys / 2)
end

function checks.txn(guards, then_ops, else_ops)
  check_count("guards of a transaction", #guards)
  check_count("operations of a transaction", math.max(#then_ops, #(else_ops or {})))
  for _, guard in ipairs(guards) do
    if guard[3] == "field" then
      check_field(guard[4], guard[5], guard[6])
    end
  end
  for _, ops in ipairs { then_ops, else_ops or {} } do
    for _, op in ipairs(ops) do
      if checks[op[1]] then
        checks[op[1]](op[2], op[3], op[4], op[5])
      end
    end
  end
end

-- The operations, by their name for the core; each returns its results.
local ops = {}

function ops.get(records, collection, key)
  local stored = records:find(collection, key)
  if stored then
    return core.decode(stored.bytes), stored.rev, stored.version, stored.schema, stored.expires_at
  end
end

function ops.batch_get(records, keys)
  local list = {}
  for i = 1, #keys, 2 do
    local stored = records:find(keys[i], keys[i + 1])
    list[#list + 1] = stored and to_record(stored) or false
  end
  return list, records.revision
end

function ops.put(records, collection, key, value, opts)
  opts = opts or {}
  local before = records:find(collection, key)
  local bytes = encode(value, collection, key)
  require_guards(collection, key, before, opts)
  local expires_at = opts.ttl and records.now() + opts.ttl
  local stored = records:store(collection, key, before, bytes, opts.schema or 0, expires_at)
  return stored.rev, stored.version
end

function ops.delete(records, collection, key, opts)
  local before = records:find(collection, key)
  require_guards(collection, key, before, opts or {})
  if not before then
    return false
  end
  return true, records:write(collection, key, nil)
end

function ops.patch(records, collection, key, steps, opts)
  opts = opts or {}
  local before = records:find(collection, key)
  require_guards(collection, key, before, opts)
  if not before and not opts.create then
    conflict(collection, key, nil, "the record does not exist: patch with `create`, or put it first")
  end
  local value = {}
  if before then
    value = core.decode(before.bytes)
  end
  local ok, changed, results = document.patch(value, steps)
  if not ok then
    refuse(changed.reason, changed.message, collection, key)
  end
  local expires_at = opts.ttl and records.now() + opts.ttl or before and before.expires_at
  local bytes = encode(changed, collection, key)
  local stored = records:store(collection, key, before, bytes, before and before.schema or 0, expires_at)
  return stored.rev, stored.version, results, opts.return_record and to_record(stored) or nil
end

local function txn_result(op, ...)
  local a, b, c, d = ...
  if op == "get" then
    return b ~= nil and { value = a, rev = b, version = c, schema = d, expires_at = select(5, ...) } or false
  elseif op == "put" then
    return { rev = a, version = b }
  elseif op == "patch" then
    return { rev = a, version = b, results = c, record = d }
  end
  return { existed = a, rev = b }
end

function ops.txn(records, guards, then_ops, else_ops)
  local succeeded = true
  for _, guard in ipairs(guards) do
    local collection, key = guard[1], guard[2]
    local stored = records:find(collection, key)
    local why = failed(stored, guard[3], guard[4], guard[5], guard[6])
    if why and not (else_ops and #else_ops > 0) then
      conflict(collection, key, stored, why)
    end
    succeeded = succeeded and not why
  end
  local results = {}
  for i, op in ipairs(succeeded and then_ops or else_ops) do
    results[i] = txn_result(op[1], ops[op[1]](records, op[2], op[3], op[4], op[5]))
  end
  return succeeded, records.commit or records.revision, results
end

local function keys_of(records, collection, opts)
  local prefix, stop, keys = opts.prefix or "", opts.end_ or "", {}
  for key in pairs(records.collections[collection] or {}) do
    local within = key:sub(1, #prefix) == prefix
      and (not opts.start or key >= opts.start)
      and (stop == "" or key < stop)
    if within and records:find(collection, key) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, opts.reverse and function(a, b)
    return a > b
  end or nil)
  return keys
end

function ops.scan(records, collection, opts)
  local keys = keys_of(records, collection, opts)
  local count = math.min(#keys, opts.limit or PAGE_MAX, PAGE_MAX)
  local entries = {}
  for i = 1, count do
    local entry = to_record(records:find(collection, keys[i]))
    entry.key = keys[i]
    if opts.keys_only then
      entry.value = nil
    end
    entries[i] = entry
  end
  local next_key = keys[count + 1]
  if next_key and opts.reverse then
    -- The end is exclusive: one byte behind the key that comes next.
    next_key = next_key .. "\0"
  end
  return entries, next_key, records.revision
end

function Records:undo()
  for i = #self.journal, 1, -1 do
    local collection, key, before = self.journal[i][1], self.journal[i][2], self.journal[i][3]
    self.collections[collection][key] = before
  end
end

local function finish(records, ok, ...)
  if not ok then
    records:undo()
  elseif records.commit then
    records.revision = records.commit
  end
  records.commit, records.journal = nil, {}
  if not ok and type((...)) ~= "table" then
    error((...), 0)
  end
  return ok, ...
end

---Does one operation as one commit.
---@param deadline number
---@param op string
---@param ... any
---@return boolean ok
---@return any ... Results, or the error.
function Records:execute(deadline, op, ...)
  if deadline <= 0 then
    return false, failure.new("deadline_exceeded", "the deadline had passed before the operation was begun")
  end
  local check = checks[op]
  if check then
    local ok, err = pcall(check, ...)
    if not ok then
      return finish(self, false, err)
    end
  end
  return finish(self, pcall(ops[op], self, ...))
end

return Records
