-- Errors as the caller gets them: `nil, err`, where `err` is a table that also works in `..`, `tostring` and `error`.

local core = require "stillpoint_core"

---@class stillpoint.Error
---@field reason string Stable name: `version_conflict`, `bound_violation`, `unavailable`, `invalid` ...
---@field message string For people: names the thing and the remedy.
---@field retryable boolean The same call may succeed later without any change.
---@field maybe_applied boolean The write may have been applied all the same.
---@field retry_after number|nil Seconds to wait before a retry, where the store gives a hint.
---@field key {collection: string, key: string}|nil The record concerned.
---@field holder string|nil For `not_owner`: who owns the record, or holds the session; for `fenced`: who holds it now.
---@field current stillpoint.Record|nil For `version_conflict`: the record as it stands; nil: it is missing.

local failure = {}

local RETRYABLE = {
  version_conflict = true,
  quota = true,
  rate_limited = true,
  read_only = true,
  unavailable = true,
  deadline_exceeded = true,
}

-- The core makes errors of its own with this same metatable.
local error_mt = core.error_mt
error_mt.__name = "stillpoint.Error"

function error_mt.__tostring(err)
  return err.reason .. ": " .. err.message
end

function error_mt.__concat(left, right)
  return tostring(left) .. tostring(right)
end

---Makes an error.
---@param reason string
---@param message string
---@param maybe_applied? boolean
---@return stillpoint.Error
function failure.new(reason, message, maybe_applied)
  return setmetatable({
    reason = reason,
    message = message,
    retryable = RETRYABLE[reason] or false,
    maybe_applied = maybe_applied or false,
  }, error_mt)
end

---The error for what `core.encode` refuses: too large or too deep is told from what cannot be stored at all.
---@param message string
---@return stillpoint.Error
function failure.unfit(message)
  local beyond = message:find "^value has %d+ bytes, the limit is" or message:find "^nested deeper than %d+ levels"
  return failure.new(beyond and "too_large" or "invalid", message)
end

return failure
