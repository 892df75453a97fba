-- The records of one collection, by key.
--
-- Operational failures are returned as `nil, err`; misuse (wrong argument types, unknown options, use after close) is
-- raised at the caller.

local Watch = require "stillpoint.watch"
local history = require "stillpoint.history"
local owned = require "stillpoint.owned"
local requests = require "stillpoint.requests"
local results = require "stillpoint.results"
local scan = require "stillpoint.scan"
local update = require "stillpoint.update"

---@class stillpoint.Collection
---@field name string
---@field _link stillpoint.Link
local Collection = {}
Collection.__index = Collection
Collection.__name = "stillpoint.Collection"

---@param link stillpoint.Link
---@param name string
---@return stillpoint.Collection
function Collection.new(link, name)
  return setmetatable({ name = name, _link = link }, Collection)
end

---@param key string
---@param opts? stillpoint.ReadOptions
---@return any value nil: the record is missing, or `err`.
---@return stillpoint.Error|nil err
function Collection:get(key, opts)
  local link = self._link
  local ok, value = link:call(requests.get(link, self.name, key, opts))
  if ok then
    return value
  end
  return nil, value
end

---Like `get`, with the record's revision and the rest.
---@param key string
---@param opts? stillpoint.ReadOptions
---@return stillpoint.Record|nil record nil: missing, or `err`.
---@return stillpoint.Error|nil err
function Collection:read(key, opts)
  local link = self._link
  return results.record(link:call(requests.get(link, self.name, key, opts)))
end

---Writes a record whole.
---@param key string
---@param value any
---@param opts? stillpoint.PutOptions
---@return integer|nil rev
---@return stillpoint.Error|nil err
function Collection:put(key, value, opts)
  local link = self._link
  return results.value(link:call(requests.put(link, self.name, key, value, opts)))
end

---@param key string
---@param opts? stillpoint.WriteOptions
---@return boolean|nil existed Whether there was a record; false is no failure.
---@return stillpoint.Error|nil err
function Collection:delete(key, opts)
  local link = self._link
  return results.value(link:call(requests.delete(link, self.name, key, opts)))
end

---Changes places within a record, in order, as one write. Steps, `path` like `"bag.items[2].gold"` (from 1; `-1`: the
---last) or `{ "bag", "items", 2, "gold" }`, `""` for the whole document:
---
---    { "set", path, value }                 { "unset", path }
---    { "add", path, n, { min =, max = } }   { "append", path, value, ... }
---    { "remove_at", path, position }        { "insert", path, value }   unless an equal one is in the array
---                                           { "remove", path, value }   the first equal one
---
---Results per step: `add` the sum, `append` the new length, `unset`, `insert` and `remove` whether something changed,
---`remove_at` the removed value, `set` null. A record that is missing is a `version_conflict` unless `create` is given.
---@param key string
---@param steps any[][]
---@param opts? stillpoint.PatchOptions
---@return integer|nil rev
---@return stillpoint.Error|nil err
---@return any[]|nil step_results
---@return stillpoint.Record|nil record With `return_record`.
function Collection:patch(key, steps, opts)
  local link = self._link
  return results.patch(link:call(requests.patch(link, self.name, key, steps, opts)))
end

---Adds to a number within a record, on the server: needs no read, never conflicts. A missing place counts as 0. Out of
---`min` or `max`, nothing is changed, and `err.reason` is `bound_violation`.
---@param key string
---@param path string|any[]
---@param amount number Of either sign.
---@param opts? stillpoint.AddOptions
---@return number|nil sum
---@return stillpoint.Error|nil err
function Collection:add(key, path, amount, opts)
  local link = self._link
  return results.sum(link:call(requests.add(link, self.name, key, path, amount, opts)))
end

---Reads a record, has `fn` compute its new value, and writes it if nobody wrote meanwhile; else `fn` gets the newer
---value and tries again, until the deadline is over (then `err.reason` is `version_conflict`).
---
---`fn` gets nil for a missing record. If it returns nil, nothing is written: `update` then returns nil, and if `fn`
---gave a reason (`return nil, "poor"`), an error with reason `aborted` and that message. An error raised in `fn` comes
---out of `update`; nothing is written. A record's lifetime stays as it is unless `ttl` is given.
---@param key string
---@param fn fun(value: any): any
---@param opts? stillpoint.UpdateOptions
---@return any value As written.
---@return stillpoint.Error|nil err
function Collection:update(key, fn, opts)
  update.check(key, fn, opts, 4)
  return update.run(self._link, self.name, key, fn, opts)
end

---The records in key order: `for key, value, meta in players:scan { prefix = "guild/7/" } do`. Pages are fetched as
---needed; each is consistent in itself. `meta` is the record's entry: rev, version, schema, expires_at.
---
---A record that the store cannot bring to this session's version of its schema comes without a value, and
---`meta.unreadable` says why; the scan goes on behind it. `get` of such a record fails with `migration_failed`.
---
---An iterator cannot return `nil, err`: a failure is raised, as an error table. Use `scan_page` to have it returned.
---@param opts? stillpoint.ScanOptions
---@return fun(): string|nil, any, stillpoint.ScanEntry|nil
function Collection:scan(opts)
  local link = self._link
  local deadline, _, name, request = requests.scan(link, self.name, opts)
  return scan.iterate(link, deadline, name, request)
end

---One page of a scan. Go on with `start = page.next_key` (in reverse: `stop = page.next_key`) until it is nil.
---@param opts? stillpoint.ScanOptions `limit` unless given, or at most: the server's page.
---@return stillpoint.ScanPage|nil page
---@return stillpoint.Error|nil err
function Collection:scan_page(opts)
  local link = self._link
  return results.page(link:call(requests.scan(link, self.name, opts)))
end

---Who wrote a record, when, and what changed: a list, newest first, as far as the store's log goes back.
---
---    local history = assert(players:history("42", { limit = 50 }))
---    for _, entry in ipairs(history) do
---      print(os.date("%c", entry.time), entry.who and entry.who.instance, entry.deleted)
---      for _, change in ipairs(entry.changes or {}) do print(change.path, change.before, change.after) end
---    end
---
---`history.next_rev` says that there is more (`before = history.next_rev`); `history.complete`, that nothing older was
---ever written. If neither, the log begins later, at `history.since`. The store reads files for it, so do not ask in
---every frame.
---@param key string
---@param opts? stillpoint.HistoryOptions
---@return stillpoint.History|nil history Empty: the log has nothing of the record.
---@return stillpoint.Error|nil err
function Collection:history(key, opts)
  local link = self._link
  return history.read(link, requests.history(link, self.name, key, opts))
end

---Makes this session the owner of a record, which need not exist: then it is a lock. Until it is released only this
---session writes it; reading costs no more than a Lua table. See stillpoint.owned. Claiming what is owned gives the
---same handle.
---@param key string
---@param opts? stillpoint.ClaimOptions
---@return stillpoint.Owned|nil doc
---@return stillpoint.Error|nil err With reason `not_owner`: `err.holder` has it.
function Collection:claim(key, opts)
  local link = self._link
  owned.check(link, key, opts)
  return owned.claim(link, self.name, key, opts)
end

---@class stillpoint.Owner
---@field service string
---@field instance string
---@field session string
---@field token integer Greater than that of every owner before.

---Who owns a record.
---@param key string
---@param opts? stillpoint.CallOptions
---@return stillpoint.Owner|nil owner nil: nobody, or `err`.
---@return stillpoint.Error|nil err
function Collection:owner(key, opts)
  local link = self._link
  return results.value(link:call(requests.owner(link, self.name, key, opts)))
end

---Tells what changes in the collection: `for ev in players:watch { prefix = "guild/" } do`, or with a function that is
---called by `poll` and `run`. See stillpoint.watch.
---@param opts? stillpoint.WatchOptions
---@param fn? fun(ev: stillpoint.WatchEvent)
---@return stillpoint.Watch|nil watch nil: with a function, `err`.
---@return stillpoint.Error|nil err
function Collection:watch(opts, fn)
  local watch, err, _, closes = Watch.open(self._link, self.name, opts, fn, 4)
  return watch, err, nil, closes
end

function Collection:__tostring()
  return "stillpoint.Collection(" .. self.name .. ")"
end

return Collection
