-- Checks the arguments of a verb and answers with the deadline and the operation for the core. Called directly by
-- public functions only, so that misuse is raised at their caller: level 4 as seen from a check.

local check = require "stillpoint.check"

local requests = {}

local LEVEL = 4

---@class stillpoint.CallOptions
---@field deadline number|nil Seconds; the store's unless given.
---@field lane integer|nil Of futures: operations of one lane keep their order; 0: none. By the record unless given.
local CALL = { deadline = "seconds", lane = "integer" }

---@class stillpoint.ReadOptions: stillpoint.CallOptions
---@field raw boolean|nil The value as it is stored, in whatever version of its schema: also of a record that cannot be
---  brought to this session's version.
local READ = { deadline = "seconds", lane = "integer", raw = "boolean" }

---@class stillpoint.WriteOptions: stillpoint.CallOptions
---@field if_rev integer|nil Only if the record is at this revision.
---@field if_version integer|nil Only if it has been written so many times.
---@field if_absent boolean|nil Only if it is missing.
---@field if_exists boolean|nil Only if it exists.
---@field where any[]|nil Only if each `{ path, op, value }` holds; op: `== ~= < <= > >= exists missing`.
---@field durability "applied"|"synced"|nil When the write is answered; as the collection is configured unless given.
---@field once string|nil A token of `store:once`, which names this write: whoever repeats it gets the first answer.

---@param more table<string, string>
---@return table<string, string>
local function write_options(more)
  local options = {
    deadline = "seconds",
    lane = "integer",
    if_rev = "integer",
    if_version = "integer",
    if_absent = "boolean",
    if_exists = "boolean",
    where = "guards",
    durability = "durability",
    once = "once",
  }
  for name, expected in pairs(more) do
    options[name] = expected
  end
  return options
end

---@class stillpoint.PutOptions: stillpoint.WriteOptions
---@field ttl number|nil Lifetime in seconds; for ever unless given.
---@field schema integer|nil Version of its schema that the value has, also 0, and in which `where` is meant; the one that
---  this session speaks unless given; without a session, the newest that the store has. So who writes without a session
---  what it made of a record that it has read gives that record's `schema`: then it is right even if a migration was
---  applied in between. `update` and transactions do so by themselves.
local PUT = write_options { ttl = "seconds", schema = "version" }

local DELETE = write_options {}

---@class stillpoint.PatchOptions: stillpoint.WriteOptions
---@field ttl number|nil A new lifetime in seconds; stays as it is unless given.
---@field create boolean|nil Begin with an empty map where the record is missing.
---@field return_record boolean|nil Answer with the record after the patch, too.
---@field schema integer|nil Version of its schema in which the steps, `where` and the returned record are meant, as in
---  stillpoint.PutOptions. The record itself keeps the version that it has.
local PATCH = write_options { ttl = "seconds", create = "boolean", return_record = "boolean", schema = "version" }

---@class stillpoint.AddOptions: stillpoint.WriteOptions
---@field ttl number|nil A new lifetime in seconds; stays as it is unless given.
---@field create boolean|nil Begin with an empty map where the record is missing.
---@field min number|nil The least that may result.
---@field max number|nil The greatest that may result.
---@field schema integer|nil As in stillpoint.PatchOptions.
local ADD = write_options { ttl = "seconds", create = "boolean", min = "any", max = "any", schema = "version" }

---@class stillpoint.ScanOptions
---@field prefix string|nil Only keys that begin with this.
---@field start string|nil Only keys from this one on.
---@field stop string|nil Only keys before this one.
---@field reverse boolean|nil From the last key to the first.
---@field limit integer|nil At most so many records.
---@field keys_only boolean|nil Leave the values out.
---@field raw boolean|nil The values as they are stored, see stillpoint.ReadOptions.
---@field deadline number|nil Seconds for each page; the store's unless given.
local SCAN = {
  prefix = "string",
  start = "string",
  stop = "string",
  reverse = "boolean",
  limit = "count",
  keys_only = "boolean",
  raw = "boolean",
  deadline = "seconds",
  lane = "integer",
}

---What a token of `store:once` says, for the core.
---@param token string|nil
---@return {name: string, since: integer}|nil
function requests.once(token)
  if token == nil then
    return nil
  end
  local since, name = token:match "^(%d+):(.+)$"
  return { name = name, since = tonumber(since) }
end

-- The options for the core.
local function for_core(opts)
  if opts == nil or opts.once == nil then
    return opts
  end
  local copy = {}
  for name, value in pairs(opts) do
    copy[name] = value
  end
  copy.once = requests.once(opts.once)
  return copy
end

function requests.get(link, collection, key, opts)
  check.key(key, LEVEL)
  if opts ~= nil then
    check.options(opts, READ, LEVEL)
  end
  return opts and opts.deadline or link.deadline, "get", collection, key, opts and opts.raw
end

function requests.owner(link, collection, key, opts)
  check.key(key, LEVEL)
  if opts ~= nil then
    check.options(opts, CALL, LEVEL)
  end
  return opts and opts.deadline or link.deadline, "owner", collection, key
end

function requests.put(link, collection, key, value, opts)
  check.key(key, LEVEL)
  if value == nil then
    error("value: nil cannot be stored: use stillpoint.null, or delete the record", LEVEL - 1)
  end
  if opts ~= nil then
    check.options(opts, PUT, LEVEL)
  end
  return opts and opts.deadline or link.deadline, "put", collection, key, value, for_core(opts)
end

function requests.delete(link, collection, key, opts)
  check.key(key, LEVEL)
  if opts ~= nil then
    check.options(opts, DELETE, LEVEL)
  end
  return opts and opts.deadline or link.deadline, "delete", collection, key, for_core(opts)
end

local BOUNDS = { min = "any", max = "any" }

function requests.patch(link, collection, key, steps, opts)
  check.key(key, LEVEL)
  check.type("table", steps, "steps", LEVEL)
  for _, step in ipairs(steps) do
    check.type("table", step, "step", LEVEL)
    if step[1] == "add" and step[4] ~= nil then
      check.options(step[4], BOUNDS, LEVEL)
    end
  end
  if opts ~= nil then
    check.options(opts, PATCH, LEVEL)
  end
  return opts and opts.deadline or link.deadline, "patch", collection, key, steps, for_core(opts)
end

function requests.add(link, collection, key, path, delta, opts)
  check.key(key, LEVEL)
  if type(path) ~= "table" then
    check.type("string", path, "path", LEVEL)
  end
  if delta == nil then
    error("amount: a number expected, got nil", LEVEL - 1)
  end
  local bounds
  if opts ~= nil then
    check.options(opts, ADD, LEVEL)
    if opts.min ~= nil or opts.max ~= nil then
      bounds = { min = opts.min, max = opts.max }
    end
  end
  local deadline = opts and opts.deadline or link.deadline
  return deadline, "patch", collection, key, { { "add", path, delta, bounds } }, for_core(opts)
end

---@class stillpoint.HistoryOptions
---@field limit integer|nil At most so many entries; 20 unless given.
---@field before integer|nil Only commits before this revision.
---@field deadline number|nil Seconds for all of it; the store's unless given.
local HISTORY = { limit = "count", before = "count", deadline = "seconds" }

function requests.history(link, collection, key, opts)
  check.key(key, LEVEL)
  if opts ~= nil then
    check.options(opts, HISTORY, LEVEL)
  end
  return opts and opts.deadline or link.deadline, collection, key, opts or {}
end

function requests.scan(link, collection, opts)
  if opts == nil then
    return link.deadline, "scan", collection, {}
  end
  check.options(opts, SCAN, LEVEL)
  local request = {
    prefix = opts.prefix,
    start = opts.start,
    end_ = opts.stop,
    reverse = opts.reverse,
    limit = opts.limit,
    keys_only = opts.keys_only,
    raw = opts.raw,
  }
  return opts.deadline or link.deadline, "scan", collection, request
end

return requests
