-- The operations on records, by their names for the core: each works within the commit under way and returns its
-- results.

local compare = require "stillpoint.document.compare"
local core = require "stillpoint_core"
local document = require "stillpoint.document"
local ownership = require "stillpoint.memory.ownership"
local path = require "stillpoint.document.path"
local refusal = require "stillpoint.memory.refusal"
local timers = require "stillpoint.memory.timers"

local operations = {}

local conflict, encode, refuse, to_record = refusal.conflict, refusal.encode, refusal.raise, refusal.to_record

---As the server's defaults.
local PAGE_MAX = 1000
local OPS_MAX = 1024

local function check_count(what, count)
  if count > OPS_MAX then
    refuse("too_many_ops", ("%d %s: the limit is %d"):format(count, what, OPS_MAX))
  end
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

local ops = {}

for _, part in ipairs { ownership.ops, timers.ops } do
  for name, op in pairs(part) do
    ops[name] = op
  end
end

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
  ownership.permit(records, collection, key)
  local bytes = encode(value, collection, key)
  require_guards(collection, key, before, opts)
  local expires_at = opts.ttl and records.now() + opts.ttl
  local stored = records:store(collection, key, before, bytes, opts.schema or 0, expires_at)
  return stored.rev, stored.version
end

function ops.delete(records, collection, key, opts)
  local before = records:find(collection, key)
  ownership.permit(records, collection, key)
  require_guards(collection, key, before, opts or {})
  if not before then
    return false
  end
  return true, records:write(collection, key, nil)
end

function ops.patch(records, collection, key, steps, opts)
  opts = opts or {}
  local before = records:find(collection, key)
  ownership.permit(records, collection, key)
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
  elseif op == "set_timer" then
    return { due = a }
  elseif op == "finish_timer" then
    return { next_due = a }
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

-- The session's id begins with who it is.
local function author(session)
  if session then
    local service, instance = session:match "^([^/]*)/([^/]*)"
    return { session = session, service = service, instance = instance }
  end
end

function ops.history(records, collection, key, opts)
  -- Checks the key, too.
  records:find(collection, key)
  local feed, entries = records.feed, {}
  local limit = opts.limit or PAGE_MAX
  for rev = math.min(feed.last, (opts.before or math.huge) - 1), feed.first, -1 do
    local commit = #entries < limit and feed.commits[rev]
    for _, change in ipairs(commit and commit.changes or {}) do
      if change.collection == collection and change.key == key then
        local entry = change.stored and to_record(change.stored) or { rev = rev }
        entry.deleted, entry.time, entry.records = change.stored == nil, commit.time, #commit.changes
        entry.by, entry.who = change.type == "expire" and "expiry" or "client", author(commit.session)
        entries[#entries + 1] = entry
      end
    end
  end
  return entries, nil, feed:since(), feed.first == 1
end

function ops.set_cursor(records, name, position)
  if name == "" or #name > 128 then
    refuse("invalid", ("the cursor's name has %d bytes: use 1 to 128"):format(#name))
  elseif position ~= "" and not tonumber(position) then
    refuse("invalid", "the position is none that a watch told")
  end
  records:write("@cursor", name, position ~= "" and { position = position } or nil)
end

---Refuses what is wrong with an operation by itself.
---@param op string
---@param ... any
function operations.check(op, ...)
  if checks[op] then
    checks[op](...)
  end
end

---@param records stillpoint.memory.Records
---@param op string
---@param ... any
---@return any ... Its results.
function operations.run(records, op, ...)
  ownership.check_caller(records, op)
  return ops[op](records, ...)
end

-- Where the options of a write stand.
local OPTIONS_AT = { put = 4, patch = 4, delete = 3, txn = 4, set_timer = 2, cancel_timer = 2, finish_timer = 2 }

---The name that a write has for ever, if it has one.
---@param op string
---@param ... any
---@return string|nil
function operations.once(op, ...)
  local opts = OPTIONS_AT[op] and select(OPTIONS_AT[op], ...)
  return opts and opts.once and opts.once.name
end

return operations
