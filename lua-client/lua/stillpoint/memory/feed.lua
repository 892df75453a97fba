-- What was committed, as watches tell it. A position is a revision, as text.

local core = require "stillpoint_core"

---@class stillpoint.memory.Commit
---@field rev integer
---@field time number
---@field session string|nil
---@field changes table[] Each with type, collection, key and the record as stored.

---@class stillpoint.memory.Feed
---@field commits table<integer, stillpoint.memory.Commit> From the revision `first` on, where a user sees something.
---@field first integer
---@field last integer
local Feed = {}
Feed.__index = Feed

---So many commits are remembered; a watch that is further behind begins anew.
local COMMITS_MAX = 10000

---Commits told at once.
local COMMITS_PER_ITEM = 100

---@return stillpoint.memory.Feed
function Feed.new()
  return setmetatable({ commits = {}, first = 1, last = 0 }, Feed)
end

---Notes the commit just made.
---@param records stillpoint.memory.Records
function Feed:add(records)
  local changes, places = {}, {}
  for _, entry in ipairs(records.journal) do
    local collection, key = entry[1], entry[2]
    local id = collection .. "\0" .. key
    if collection:sub(1, 1) ~= "@" and not places[id] then
      places[id] = true
      local stored = records:peek(collection, key)
      -- One that was made and deleted in this commit was never there.
      if stored or entry[3] then
        local kind = stored and "put" or entry.expired and "expire" or "delete"
        changes[#changes + 1] = { type = kind, collection = collection, key = key, stored = stored }
      end
    end
  end
  table.sort(changes, function(a, b)
    if a.collection ~= b.collection then
      return a.collection < b.collection
    end
    return a.key < b.key
  end)
  self.last = records.revision
  if #changes > 0 then
    local session = records.caller and records.caller.id
    self.commits[self.last] = { rev = self.last, time = records.now(), session = session, changes = changes }
  end
  while self.last - self.first >= COMMITS_MAX do
    self.commits[self.first] = nil
    self.first = self.first + 1
  end
end

---When the oldest commit that is remembered was made; nil: there is none.
---@return number|nil
function Feed:since()
  for rev = self.first, self.last do
    if self.commits[rev] then
      return self.commits[rev].time
    end
  end
end

---@class stillpoint.memory.Watch
---@field records stillpoint.memory.Records
---@field opts table
---@field session string|nil
---@field rev integer How far it got.
---@field items table[] To be told first.
---@field announced boolean Its handle was told that there is something.
local Watch = {}
Watch.__index = Watch

local function event_of(watch, change)
  local ev, stored = { type = change.type, collection = change.collection, key = change.key }, change.stored
  if stored then
    ev.rev, ev.version, ev.schema, ev.expires_at = stored.rev, stored.version, stored.schema, stored.expires_at
    if not watch.opts.keys_only then
      ev.value = core.decode(stored.bytes)
    end
  end
  return ev
end

local function sees(watch, collection, key)
  local opts = watch.opts
  return (not opts.collection or opts.collection == collection)
    and (not opts.key or opts.key == key)
    and (not opts.prefix or key:sub(1, #opts.prefix) == opts.prefix)
    and collection:sub(1, 1) ~= "@"
end

-- The whole state, and on from there.
local function resync(watch, reason)
  local records, events = watch.records, {}
  for collection, entries in pairs(records.collections) do
    for key, stored in pairs(entries) do
      if sees(watch, collection, key) then
        events[#events + 1] = event_of(watch, { type = "put", collection = collection, key = key, stored = stored })
      end
    end
  end
  table.sort(events, function(a, b)
    return a.collection < b.collection or a.collection == b.collection and a.key < b.key
  end)
  watch.rev = records.revision
  local items = watch.items
  items[#items + 1] = { type = "resync_begin", reason = reason }
  items[#items + 1] = { type = "resync_data", events = events }
  items[#items + 1] = { type = "resync_end", rev = watch.rev, position = tostring(watch.rev) }
end

---@param records stillpoint.memory.Records
---@param session string|nil Whose watch it is.
---@param opts table
---@return stillpoint.memory.Watch
function Feed.watch(records, session, opts)
  local watch = setmetatable({ records = records, session = session, opts = opts, items = {} }, Watch)
  local cursor = opts.cursor and records:peek("@cursor", opts.cursor)
  local start = opts.after or tonumber(opts.position or cursor and cursor.position)
  watch.rev = math.min(start or records.revision, records.revision)
  watch.items[1] = { type = "started", position = tostring(watch.rev) }
  if not start and opts.snapshot then
    resync(watch, "the state as it is was asked for")
  end
  return watch
end

---Whether there is something to tell.
---@return boolean
function Watch:has_news()
  return #self.items > 0 or self.rev < self.records.revision
end

local function commit_of(watch, commit)
  if watch.opts.skip_own and commit.session and commit.session == watch.session then
    return nil
  end
  local events = {}
  for _, change in ipairs(commit.changes) do
    if sees(watch, change.collection, change.key) then
      events[#events + 1] = event_of(watch, change)
    end
  end
  return #events > 0 and { rev = commit.rev, time = commit.time, session = commit.session, events = events } or nil
end

---The next item; nil: there is none yet.
---@return table|nil
function Watch:next()
  local records = self.records
  local feed = records.feed
  if #self.items == 0 and self.rev < feed.first - 1 then
    resync(self, "too many commits since")
  end
  if #self.items > 0 then
    return table.remove(self.items, 1)
  elseif self.rev == records.revision then
    return nil
  end
  local commits = {}
  while self.rev < records.revision and #commits < COMMITS_PER_ITEM do
    self.rev = self.rev + 1
    commits[#commits + 1] = feed.commits[self.rev] and commit_of(self, feed.commits[self.rev])
  end
  if #commits == 0 then
    return { type = "bookmark", rev = self.rev, position = tostring(self.rev) }
  end
  return { type = "commits", position = tostring(self.rev), commits = commits }
end

return Feed
