-- Transactions: a function reads and writes several records as if nothing else happened meanwhile.
--
-- Nothing is locked. Reads go to the store and are noted with the revision they saw; writes are collected. At the end
-- one transaction is sent: guards that every record read is still at its revision, then the writes. If a guard fails,
-- all of it is done again, with the records of the last attempt read in one go, at one revision.
--
-- What is written to a record that was read says the version of its schema that was read: a migration may be applied
-- meanwhile that has not come to the record yet, and so does not fail the guard. Where the store cannot take that version
-- any more, the record is read again, too.
--
-- While the function runs, its reads may be from different revisions, and it may come to a wrong conclusion. So before
-- anything that it concludes is reported (an abort, an error, a result without writes), the guards alone are sent.

local Tx = require "stillpoint.tx"
local check = require "stillpoint.check"
local core = require "stillpoint_core"
local protect = require "stillpoint.protect"
local requests = require "stillpoint.requests"

local unpack = table.unpack or rawget(_G, "unpack")

local txn = {}

---@class stillpoint.TxnOptions
---@field deadline number|nil Seconds for all attempts together; the store's unless given.
---@field once string|nil A token of `store:once`, which names the transaction: where it was done already, by whomever,
---  nothing is written; `store:txn` then returns true, with what `fn` returned unless that failed or aborted.
local OPTIONS = { deadline = "seconds", once = "once" }

local function guards(tx)
  local list, keys = {}, tx._read_list
  for i = 1, #keys, 2 do
    local collection, key = keys[i], keys[i + 1]
    list[#list + 1] = { collection, key, "rev", tx._reads[collection][key].rev }
  end
  return list
end

-- The options of a write of a record, with the version in which the record was read, if it was.
local function versioned(tx, collection, key, opts)
  local reads = tx._reads[collection]
  local seen = reads and reads[key]
  if not seen or seen.schema == nil or opts and opts.schema ~= nil then
    return opts
  end
  local copy = { schema = seen.schema }
  for name, value in pairs(opts or {}) do
    copy[name] = value
  end
  return copy
end

-- The values that were kept as bytes.
local decoded = {}

function decoded.put(tx, op)
  return { op[1], op[2], op[3], core.decode(op[4]), versioned(tx, op[2], op[3], op[5]) }
end

decoded.patch = decoded.put

function decoded.set_timer(_, op)
  local request = {}
  for name, value in pairs(op[3]) do
    request[name] = value
  end
  if request.payload ~= nil then
    request.payload = core.decode(request.payload)
  end
  return { op[1], op[2], request }
end

local function operations(tx)
  local list = {}
  for i, op in ipairs(tx._ops) do
    local decode = decoded[op[1]]
    list[i] = decode and decode(tx, op) or op
  end
  return list
end

-- Sends guards and writes, or only the guards. A single read is consistent by itself.
local function send(tx, ops, once)
  if #ops == 0 and #tx._read_list <= 2 then
    return true
  end
  local link = tx._link
  local left = math.max(tx._ends - link.core.now(), 0)
  -- What writes nothing is no write that could be repeated.
  local ok, err = link:call(left, "txn", guards(tx), ops, nil, #ops > 0 and { once = once } or nil)
  if ok then
    return true
  end
  return false, err
end

-- Whether the transaction that a token names was done. To ask means to repeat it: here as one that is always refused,
-- and a refusal does not use the token up.
---@return boolean|nil done nil: it cannot be told, `err` says why.
---@return stillpoint.Error|nil err
local function was_done(tx, once)
  local link = tx._link
  local left = math.max(tx._ends - link.core.now(), 0)
  local never = { { "-", "-", "exists", true }, { "-", "-", "exists", false } }
  local ok, err = link:call(left, "txn", never, { { "delete", "-", "-" } }, nil, { once = once })
  if ok then
    return true
  elseif err.reason == "version_conflict" then
    return false
  end
  return nil, err
end

-- How many operations write a record.
local function writes_of(tx, collection, key)
  local count = 0
  for _, op in ipairs(tx._ops) do
    if op[2] == collection and op[3] == key then
      count = count + 1
    end
  end
  return count
end

-- Whether a record has another version of its schema now than it was read in: then what was written of it is outdated,
-- though nobody wrote it. That happens without a session only.
local function is_of_another_version(tx, key)
  local reads = key and tx._reads[key.collection]
  local seen = reads and reads[key.key]
  if not seen or seen.schema == nil then
    return false
  end
  local left = math.max(tx._ends - tx._link.core.now(), 0)
  local ok, _, _, _, schema = tx._link:call(left, "get", key.collection, key.key)
  return ok and schema ~= nil and schema ~= seen.schema
end

-- Whether a conflict is about what was read here, so that another attempt may do better; a guard among the options of
-- a write would fail again. Where a record is written twice, the second guard sees it as the first left it, and
-- `err.current` tells nothing: then the guards are asked for alone.
local function is_stale(tx, err)
  if err.reason == "migration_failed" or err.reason == "schema_unsupported" then
    return is_of_another_version(tx, err.key)
  elseif err.reason ~= "version_conflict" then
    return false
  end
  local key = err.key
  if tx._stale then
    return true
  end
  -- Without a record it is about a timer.
  if key then
    local reads = tx._reads[key.collection]
    local seen = reads and reads[key.key]
    if seen == nil then
      return false
    elseif writes_of(tx, key.collection, key.key) < 2 then
      return seen.rev ~= (err.current and err.current.rev or 0)
    end
  end
  local left = math.max(tx._ends - tx._link.core.now(), 0)
  local ok, why = tx._link:call(left, "txn", guards(tx), {})
  return not ok and why.reason == "version_conflict"
end

-- Reads what the last attempt read, at one revision.
local function read_ahead(tx)
  local keys = tx._read_list
  if #keys <= 2 then
    return {}
  end
  local left = math.max(tx._ends - tx._link.core.now(), 0)
  local ok, records = tx._link:call(left, "batch_get", keys)
  local fetched = {}
  if ok then
    for i = 1, #keys, 2 do
      local collection = keys[i]
      fetched[collection] = fetched[collection] or {}
      fetched[collection][keys[i + 1]] = records[(i + 1) / 2]
    end
  end
  return fetched
end

local function pack(...)
  return { n = select("#", ...), ... }
end

---@param level integer
function txn.check(fn, opts, level)
  check.callable(fn, "fn", level)
  if opts ~= nil then
    check.options(opts, OPTIONS, level)
  end
end

---@param link stillpoint.Link
---@param fn fun(tx: stillpoint.Tx): ...
---@param opts? stillpoint.TxnOptions
---@return true|nil ok
---@return any ... What `fn` returned, or the error.
function txn.run(link, fn, opts)
  local ends = link.core.now() + (opts and opts.deadline or link.deadline)
  local once = requests.once(opts and opts.once)
  local attempt, fetched, conflict = 0, nil, nil
  while true do
    local tx = Tx.new(link, ends, fetched)
    local outcome = pack(protect.call(nil, fn, tx))
    tx._over = true
    local commits = outcome[1] and not tx._outcome
    local failed = tx._outcome
    if once and not commits and not tx._broken then
      -- It may have failed for what it changed itself, when it was done the first time.
      local done, err = was_done(tx, once)
      if done then
        return true
      elseif err then
        return nil, err
      end
    end
    local ok, err = false, failed
    if not tx._broken then
      ok, err = send(tx, commits and operations(tx) or {}, once)
    end
    if ok and commits then
      for _, firing in ipairs(tx._finished) do
        firing.finished = true
      end
      return true, unpack(outcome, 2, outcome.n)
    elseif ok and failed then
      return nil, failed
    elseif ok then
      error(outcome[2], 0)
    end
    attempt = attempt + 1
    if not is_stale(tx, err) or not link:backoff(attempt, ends) then
      return nil, link.last_error(err, conflict)
    end
    conflict = err
    fetched = read_ahead(tx)
  end
end

return txn
