-- Turns what the core answers (`true, results...` or `false, err`) into what a user gets.

local results = {}

---@class stillpoint.Record
---@field value any
---@field rev integer Revision that wrote it last: its etag.
---@field version integer Number of writes since it was created, from 1.
---@field schema integer Version of its schema that `value` has; 0: none declared.
---@field expires_at number|nil Server time at which it expires, in seconds since 1970.

function results.value(ok, value)
  if ok then
    return value
  end
  return nil, value
end

function results.record(ok, value, rev, version, schema, expires_at)
  if not ok then
    return nil, value
  end
  if rev == nil then
    return nil
  end
  return { value = value, rev = rev, version = version, schema = schema, expires_at = expires_at }
end

-- The error stays the second result, so that `if err then` is right after every verb.
function results.patch(ok, rev, _, step_results, record)
  if ok then
    return rev, nil, step_results, record
  end
  return nil, rev
end

-- Of the one step of an `add`.
function results.sum(ok, rev, _, step_results)
  if ok then
    return step_results[1]
  end
  return nil, rev
end

function results.page(ok, entries, next_key, revision)
  if ok then
    return { entries = entries, next_key = next_key, revision = revision }
  end
  return nil, entries
end

-- The same for a batch, where each result is one table.

results.batch = {}

---@class stillpoint.BatchResult
---@field ok true|nil True if this operation succeeded; else this is a stillpoint.Error.
---@field value any Of get: the value (nil: missing). Of add: the sum.
---@field rev integer|nil Revision of the record (get) or of the write.
---@field version integer|nil
---@field schema integer|nil Of get.
---@field expires_at number|nil Of get.
---@field results any[]|nil Of patch: one per step.
---@field existed boolean|nil Of delete.

function results.batch.get(ok, value, rev, version, schema, expires_at)
  if not ok then
    return value
  end
  return { ok = true, value = value, rev = rev, version = version, schema = schema, expires_at = expires_at }
end

function results.batch.put(ok, rev, version)
  return ok and { ok = true, rev = rev, version = version } or rev
end

function results.batch.patch(ok, rev, version, step_results)
  return ok and { ok = true, rev = rev, version = version, results = step_results } or rev
end

function results.batch.add(ok, rev, version, step_results)
  return ok and { ok = true, rev = rev, version = version, value = step_results[1] } or rev
end

function results.batch.delete(ok, existed, rev)
  return ok and { ok = true, existed = existed, rev = rev } or existed
end

return results
