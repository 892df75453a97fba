-- How operations on the records of this process refuse: they raise an error table, which `Records:execute` returns.

local core = require "stillpoint_core"
local failure = require "stillpoint.failure"

local refusal = {}

---As the server's defaults.
local VALUE_BYTES_MAX = 1024 * 1024
local NESTING_MAX = 64

---A record as `get` and errors show it.
---@param stored stillpoint.memory.Stored
---@return stillpoint.Record
function refusal.to_record(stored)
  return {
    value = core.decode(stored.bytes),
    rev = stored.rev,
    version = stored.version,
    schema = stored.schema,
    expires_at = stored.expires_at,
  }
end

---@param reason string
---@param message string
---@param collection? string The record concerned, if one is.
---@param key? string
---@param holder? string Whose it is.
function refusal.raise(reason, message, collection, key, holder)
  local err = failure.new(reason, message)
  if collection then
    err.key = { collection = collection, key = key }
  end
  err.holder = holder
  error(err, 0)
end

---A guard does not hold.
---@param collection string
---@param key string
---@param stored stillpoint.memory.Stored|nil
---@param message string
function refusal.conflict(collection, key, stored, message)
  local err = failure.new("version_conflict", ("%s/%s: %s"):format(collection, key, message))
  err.key = { collection = collection, key = key }
  err.current = stored and refusal.to_record(stored)
  error(err, 0)
end

---Encodes a value, or refuses it.
---@param value any
---@param collection? string
---@param key? string
---@return string
function refusal.encode(value, collection, key)
  local bytes, message = core.encode(value, VALUE_BYTES_MAX, NESTING_MAX)
  if not bytes then
    refusal.raise(failure.unfit(message).reason, message, collection, key)
  end
  return bytes
end

return refusal
