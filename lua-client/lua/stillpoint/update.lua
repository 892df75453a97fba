-- Read, compute, write if nobody wrote meanwhile; else again, from the record that the refusal carries.
--
-- A migration that is applied meanwhile does not count as written until it comes to the record. So what is written says the
-- version of its schema that was read: the store brings it to its own.

local check = require "stillpoint.check"
local failure = require "stillpoint.failure"

local update = {}

---@class stillpoint.UpdateOptions
---@field ttl number|nil A new lifetime in seconds; stays as it is unless given.
---@field durability "applied"|"synced"|nil
---@field deadline number|nil Seconds for all attempts together; the store's unless given.
local OPTIONS = { ttl = "seconds", durability = "durability", deadline = "seconds" }

---@param level integer
function update.check(key, fn, opts, level)
  check.key(key, level)
  check.callable(fn, "fn", level)
  if opts ~= nil then
    check.options(opts, OPTIONS, level)
  end
end

local function write(link, deadline, name, key, record, value, opts)
  local durability, ttl = opts and opts.durability, opts and opts.ttl
  if record.expires_at and not ttl then
    -- A put would begin a new lifetime; a patch of the whole document leaves it as it is.
    local guard = { if_rev = record.rev, schema = record.schema, durability = durability }
    return link:call(deadline, "patch", name, key, { { "set", "", value } }, guard)
  end
  return link:call(deadline, "put", name, key, value, {
    if_rev = record.rev,
    if_absent = record.rev == nil or nil,
    schema = record.schema,
    ttl = ttl,
    durability = durability,
  })
end

local MISSING = {}

---@param link stillpoint.Link
---@param name string Of the collection.
---@param key string
---@param fn fun(value: any): any
---@param opts? stillpoint.UpdateOptions
---@param first? stillpoint.Future The first read, if it is under way.
---@return any value
---@return stillpoint.Error|nil err
function update.run(link, name, key, fn, opts, first)
  local now = link.core.now
  local deadline = opts and opts.deadline or link.deadline
  local ends = now() + deadline
  local record = {}
  local ok, value
  if first then
    ok, value, record.rev, record.version, record.schema, record.expires_at = first:wait()
  else
    ok, value, record.rev, record.version, record.schema, record.expires_at = link:call(deadline, "get", name, key)
  end
  if not ok then
    return nil, value
  end
  local attempt, conflict = 0, nil
  while true do
    local changed, reason = fn(value)
    if changed == nil then
      return nil, reason ~= nil and failure.new("aborted", tostring(reason)) or nil
    end
    local done, err = write(link, math.max(ends - now(), 0), name, key, record, changed, opts)
    if done then
      return changed
    end
    attempt = attempt + 1
    if err.reason ~= "version_conflict" or not link:backoff(attempt, ends) then
      return nil, link.last_error(err, conflict)
    end
    if err.current and err.current.unreadable then
      -- Nobody knows what it is now: another attempt would overwrite that.
      return nil, err
    end
    conflict = err
    record = err.current or MISSING
    value = record.value
  end
end

return update
