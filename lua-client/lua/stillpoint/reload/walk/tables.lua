-- What tables hold: keys, values, metatables; nothing through weak references.
--
-- A large table is looked at in slices, between which the program runs and may change it. Then `next` may refuse the key,
-- or, when the table was hashed anew, skip entries: so some keys that come next are remembered, and if they are not what
-- follows any more the table is begun anew. What was met already costs little.

local edges = require "stillpoint.reload.walk.edges"

local REFERENCE, metatable_of = edges.REFERENCE, edges.metatable
local next, type, rawget, rawequal = next, type, rawget, rawequal

-- LuaJIT compiles a loop over what is called `next` as one that begins at the first key, even if it does not.
local following = next

local tables = {}

---Entries that are looked at in one go. What comes after the first so many gets its key noted.
local SLICE = 256

---So many keys that follow the last one are remembered.
local FOLLOWERS = 4

---How often a table is begun anew.
local RESTARTS_MAX = 8

-- Leaves a table at a key, to go on there later.
local function pause(self, t, key, alive)
  local place = self.place
  self.paused = alive and "ephemeron" or "all"
  place.table, place[0] = t, key
  for i = 1, FOLLOWERS do
    if key ~= nil then
      key = next(t, key)
    end
    place[i] = key
  end
end

-- Whether the place to go on is where it was; if not, the table has to be begun anew.
local function unmoved(place)
  local at = place[0]
  if at == nil then
    return false
  end
  for i = 1, FOLLOWERS do
    local ok, follower = pcall(next, place.table, at)
    if not ok or not rawequal(follower, place[i]) then
      return false
    elseif follower == nil then
      break
    end
    at = follower
  end
  return true
end

-- Looks at a slice of a table from after `start`; with `alive`, only at entries whose key is held by something else.
local function look_at_entries(self, t, start, keys, values, alive)
  local count, last, meet = 0, start, self.meet
  self.noting = start ~= nil
  for key, value in following, t, start do
    if count == SLICE then
      pause(self, t, last, alive)
      break
    end
    count, last = count + 1, key
    local held, kind = true, type(key)
    if REFERENCE[kind] then
      if keys then
        meet(self, key, kind, t, "key")
      end
      held = not alive or self.parents:get(key) ~= nil
    end
    kind = type(value)
    if values and held and REFERENCE[kind] then
      meet(self, value, kind, t, "value", key)
    end
  end
  self.noting = false
  return count + 1
end

---@param self stillpoint.reload.Walk
---@param t table
---@param start? any The key to go on after.
---@return integer # How much it was.
function tables.look(self, t, start)
  local mt = metatable_of(t)
  local keys, values = true, true
  if mt then
    self:meet(mt, "table", t, "metatable")
    local mode = rawget(mt, "__mode")
    if type(mode) == "string" then
      keys, values = not mode:find "k", not mode:find "v"
    end
  end
  if keys then
    return look_at_entries(self, t, start, true, values, false)
  elseif values then
    self.ephemeron_count = self.ephemeron_count + 1
    self.ephemerons[self.ephemeron_count] = t
  end
  return 1
end

---Looks at the entries of a weak-keyed table whose keys are held.
---@param self stillpoint.reload.Walk
---@param t table
---@return integer # How much it was.
function tables.look_alive(self, t)
  return look_at_entries(self, t, nil, false, true, true)
end

---Goes on with the table that was left.
---@param self stillpoint.reload.Walk
---@return integer # How much it was.
function tables.go_on(self)
  local place, kind = self.place, self.paused
  local t, key = place.table, place[0]
  self.paused = nil
  if t == nil then
    return 1
  elseif not unmoved(place) then
    self.restarts = self.restarts + 1
    key = nil
  end
  if self.restarts > RESTARTS_MAX then
    self.missed = self.missed + 1
    self.restarts = 0
    return 1
  end
  local count
  if kind == "ephemeron" then
    count = look_at_entries(self, t, key, false, true, true)
  else
    count = tables.look(self, t, key)
  end
  if not self.paused then
    self.restarts = 0
  end
  return count
end

return tables
