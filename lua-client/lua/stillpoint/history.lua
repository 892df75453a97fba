-- The history of a record: the commits that wrote it, newest first, as far as the store's log goes back. What is older
-- is in the operator's backups only.
--
-- There is no index of it: the store reads its log, a part for each question, and is asked on until there is enough. So
-- it is for support and repair, not for the game's own loop.

local diff = require "stillpoint.document.diff"

local history = {}

---@class stillpoint.Author
---@field service string
---@field instance string
---@field session string

---A commit that wrote the record.
---@class stillpoint.HistoryEntry
---@field rev integer
---@field time number Server time, in seconds since 1970.
---@field by "client"|"expiry"|"store"|"migration" What made it: a client, the end of the record's lifetime, the store
---  itself, a migration (which gave the record another version of its schema).
---@field who stillpoint.Author|nil nil: no session.
---@field actor string|nil The operator who brought the record back, as they called themselves.
---@field deleted boolean
---@field value any The value as it was written, in the version that `schema` says; nil: it was deleted.
---@field version integer|nil As in stillpoint.Record, like the following; nil: it was deleted.
---@field schema integer|nil
---@field expires_at number|nil
---@field records integer How many records the commit wrote, with this one.
---@field changes stillpoint.Change[]|nil What it changed; nil: what was before is not known any more.

---Entries, newest first.
---@class stillpoint.History
---@field [integer] stillpoint.HistoryEntry
---@field next_rev integer|nil There is more: go on with `before = next_rev`.
---@field complete boolean Nothing older was ever written. Else there is more, or the log does not go back far enough.
---@field since number|nil When the store's log begins, in seconds since 1970; nil: the log is empty.

---Entries that are given unless a limit says how many.
local LIMIT = 20

-- The deletion of a record needs no value to compare with; of a first version, nothing was before.
local function changes_of(entry, older)
  if older then
    return diff.changes(older.value, entry.value)
  elseif entry.version == 1 then
    return diff.changes(nil, entry.value)
  end
end

local function finish(entries, limit, log)
  local extra = entries[limit + 1]
  entries[limit + 1] = nil
  for i, entry in ipairs(entries) do
    entry.changes = changes_of(entry, entries[i + 1] or extra)
  end
  entries.next_rev = extra and entries[limit].rev
  entries.complete = extra == nil and log.is_whole
  entries.since = log.since
  return entries
end

---@param link stillpoint.Link
---@param deadline number For all of it.
---@param name string Of the collection.
---@param key string
---@param opts {before: integer|nil, limit: integer|nil}
---@return stillpoint.History|nil history
---@return stillpoint.Error|nil err
function history.read(link, deadline, name, key, opts)
  local now = link.core.now
  local ends, limit = now() + deadline, opts.limit or LIMIT
  local entries, log = {}, {}
  local request = { before = opts.before }
  repeat
    -- What the last one changed is known from the one before it.
    request.limit = limit + 1 - #entries
    local left = math.max(ends - now(), 0)
    local ok, page, next_seq, since, is_whole = link:call(left, "history", name, key, request)
    if not ok then
      return nil, page
    end
    for _, entry in ipairs(page) do
      entries[#entries + 1] = entry
    end
    request.before_seq = next_seq
    log.since, log.is_whole = since, is_whole
  until not next_seq or #entries > limit
  return finish(entries, limit, log)
end

return history
