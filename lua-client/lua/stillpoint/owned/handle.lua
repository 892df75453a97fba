-- The handle of a claimed document: its value, and the verbs that change it.
--
-- A change acts on `value` at once, with the store's own meaning, and is sent as a patch. What does not fit is refused
-- at once, too; what the store refuses all the same (it is too large, the record was taken) the document hears of
-- later: then its value is the store's again. Change `value` by these verbs only: what is assigned to it directly is
-- never sent.

local check = require "stillpoint.check"
local core = require "stillpoint_core"
local document = require "stillpoint.document"
local failure = require "stillpoint.failure"
local paths = require "stillpoint.document.path"
local settling = require "stillpoint.owned.settling"

---@class stillpoint.Owned
---@field value any As changed here; nil: the record is missing. After `owned` is false: as last known.
---@field collection string
---@field key string
---@field token integer Greater than that of every owner before: the fencing token.
---@field rev integer|nil Of the record as saved last. A migration may have written it anew since: the value is the same
---  to this session, and its changes go on, since none is guarded by the revision.
---@field version integer|nil The same.
---@field schema integer|nil Version of its schema that `value` has.
---@field expires_at number|nil
---@field _changes stillpoint.Changes
---@field _generation integer
local Owned = {}
Owned.__index = Owned
Owned.__name = "stillpoint.Owned"

local can_yield = coroutine.isyieldable

-- A handle releases when it is collected. Lua 5.1 and LuaJIT finalize userdata only.
local guard
local newproxy = rawget(_G, "newproxy")
if newproxy then
  function guard(doc)
    local proxy, changes, generation = newproxy(true), doc._changes, doc._generation
    getmetatable(proxy).__gc = function()
      pcall(changes.drop, changes, generation)
    end
    doc._proxy = proxy
  end
else
  function guard() end

  function Owned:__gc()
    pcall(self._changes.drop, self._changes, self._generation)
  end
end

---@param changes stillpoint.Changes
---@param token integer
---@param value any
---@param record stillpoint.Record Without its value.
---@return stillpoint.Owned
function Owned.new(changes, token, value, record)
  local doc = setmetatable({ value = value, token = token, _changes = changes }, Owned)
  doc.collection, doc.key = changes.collection, changes.key
  changes.token = token
  changes:adopt(doc, record)
  doc._generation = changes.generation
  guard(doc)
  return doc
end

-- What cannot be used is misuse, raised at the caller of the verb.
local function open(doc, level)
  local changes = doc._changes
  if not changes.link.handle then
    error("the store is closed", level)
  end
  return changes
end

local function refused(doc, err)
  err.key = err.key or { collection = doc.collection, key = doc.key }
  return nil, err
end

local function missing(doc)
  local message = ("%s/%s: the record does not exist: put it first"):format(doc.collection, doc.key)
  return refused(doc, failure.new("version_conflict", message))
end

-- Steps that wait must not change with the tables they came in.
local function copy(steps)
  local copied = {}
  for i, step in ipairs(steps) do
    copied[i] = {}
    for j = 1, #step do
      local part = step[j]
      copied[i][j] = type(part) == "table" and core.decode(assert(core.encode(part))) or part
    end
  end
  return copied
end

-- Does steps on the value, and sends them.
local function change(doc, steps, creates)
  local changes = open(doc, 4)
  local ok, err = settling.prepare(changes)
  if not ok then
    return nil, err
  end
  local is_missing = doc.value == nil
  if is_missing and not creates then
    return missing(doc)
  end
  local done, value, results, box = document.patch(is_missing and {} or doc.value, steps)
  if not done then
    return refused(doc, value)
  elseif #box.journal == 0 and not is_missing then
    return results
  end
  ok, err = changes:add(changes.autosave > 0 and copy(steps) or steps, is_missing, box.bytes)
  if not ok then
    document.undo(box)
    return refused(doc, err)
  end
  doc.value = value
  return results
end

local function result_of(results, err)
  if results then
    return results[1]
  end
  return nil, err
end

local function check_path(path)
  if type(path) ~= "table" then
    check.type("string", path, "path", 4)
  end
end

local function check_value(value)
  if value == nil then
    error("value: nil cannot be stored: use stillpoint.null, or unset the place", 3)
  end
end

---The value at a place.
---@param path string|any[] As in `Collection:patch`.
---@return any value nil: there is none.
function Owned:get(path)
  check_path(path)
  local segments, err = paths.parse(path)
  if not segments then
    return nil, err
  end
  return document.at(self.value, segments)
end

---@param path string|any[]
---@param value any
---@return true|nil ok
---@return stillpoint.Error|nil err
function Owned:set(path, value)
  check_path(path)
  check_value(value)
  local results, err = change(self, { { "set", path, value } }, true)
  return results and true, err
end

---@param path string|any[]
---@return boolean|nil changed Whether there was something.
---@return stillpoint.Error|nil err
function Owned:unset(path)
  check_path(path)
  return result_of(change(self, { { "unset", path } }, false))
end

---@class stillpoint.Bounds
---@field min number|nil The least that may result.
---@field max number|nil The greatest that may result.
local BOUNDS = { min = "any", max = "any" }

---Adds to a number; a missing place counts as 0. Out of bounds nothing is changed or sent.
---@param path string|any[]
---@param amount number Of either sign.
---@param bounds? stillpoint.Bounds
---@return number|nil sum
---@return stillpoint.Error|nil err
function Owned:add(path, amount, bounds)
  check_path(path)
  if amount == nil then
    error("amount: a number expected, got nil", 2)
  end
  if bounds ~= nil then
    check.options(bounds, BOUNDS, 3)
    bounds = { min = bounds.min, max = bounds.max }
  end
  return result_of(change(self, { { "add", path, amount, bounds } }, true))
end

---Adds elements to the end of an array.
---@param path string|any[]
---@param ... any
---@return integer|nil length
---@return stillpoint.Error|nil err
function Owned:append(path, ...)
  check_path(path)
  local step = { "append", path, ... }
  for i = 1, select("#", ...) do
    check_value(step[i + 2])
  end
  return result_of(change(self, { step }, true))
end

---Removes an element of an array.
---@param path string|any[]
---@param position integer From 1; -1: the last.
---@return any element
---@return stillpoint.Error|nil err
function Owned:remove_at(path, position)
  check_path(path)
  check.type("number", position, "position", 3)
  return result_of(change(self, { { "remove_at", path, position } }, false))
end

---Adds a value to the end of an array, unless an equal one is in it.
---@param path string|any[]
---@param value any
---@return boolean|nil changed
---@return stillpoint.Error|nil err
function Owned:insert(path, value)
  check_path(path)
  check_value(value)
  return result_of(change(self, { { "insert", path, value } }, true))
end

---Removes the first equal value from an array.
---@param path string|any[]
---@param value any
---@return boolean|nil changed
---@return stillpoint.Error|nil err
function Owned:remove(path, value)
  check_path(path)
  check_value(value)
  return result_of(change(self, { { "remove", path, value } }, false))
end

---Several changes as one: all or none.
---@param steps any[][] As in `Collection:patch`.
---@return any[]|nil results One per step.
---@return stillpoint.Error|nil err
function Owned:patch(steps)
  check.type("table", steps, "steps", 3)
  for _, step in ipairs(steps) do
    check.type("table", step, "step", 3)
    if step[1] == "add" and step[4] ~= nil then
      check.options(step[4], BOUNDS, 3)
    end
  end
  local results, err = change(self, steps, true)
  return results, err
end

---Sets the whole value; makes the record if it is missing. Its lifetime and schema stay as they are.
---@param value any
---@return true|nil ok
---@return stillpoint.Error|nil err
function Owned:put(value)
  if value == nil then
    error("value: nil cannot be stored: use stillpoint.null", 2)
  end
  local results, err = change(self, { { "set", "", value } }, true)
  return results and true, err
end

---Waits until every change is in the store; in a coroutine others run meanwhile.
---@param seconds? number The store's deadline unless given. If it is over, the changes go on all the same.
---@return integer|nil rev Of the record; 0: there is none.
---@return stillpoint.Error|nil err Also, once, if a change made since the last time was refused; `value` is then what
---  the store has.
function Owned:save(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  local changes = open(self, 3)
  local ok, err = settling.save(changes, seconds or changes.link.deadline)
  if not ok then
    return nil, err
  end
  return self.rev or 0
end

---Saves, and gives the record back.
---@param seconds? number The store's deadline unless given. If it is over, the record is still owned.
---@return true|nil ok
---@return stillpoint.Error|nil err If a change was refused, the record is given back all the same.
function Owned:release(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  if not self:owned() then
    return true
  end
  local changes = open(self, 3)
  seconds = seconds or changes.link.deadline
  local now = changes.link.core.now
  local ends = now() + seconds
  local ok, err = settling.save(changes, seconds)
  if not ok and (changes:since() or changes.is_stale) and not changes.lost then
    return nil, err
  end
  if not changes.lost then
    local released, why = settling.release(changes, "the document was released", math.max(ends - now(), 0))
    if not released then
      return nil, why
    end
  end
  return ok, err
end

---Whether the record is still owned, as far as is known.
---@return boolean
---@return stillpoint.Error|nil err Why not.
function Owned:owned()
  local changes = self._changes
  if changes.lost or not changes.link.handle then
    return false, changes.lost
  end
  return true
end

---What is not saved.
---@return integer # How many changes.
---@return number # Since when, in seconds; 0: nothing is unsaved.
function Owned:unsaved()
  local changes = self._changes
  local since = changes.steps > 0 and changes:since()
  return changes.steps, since and changes.link.core.now() - since or 0
end

-- Another session waits for the record.
function Owned:_on_release_wanted(ev)
  local changes = self._changes
  if changes.handover and not changes.lost then
    settling.release(changes, ("it was handed over to %s"):format(ev.wanted_by or "another session"))
  end
end

-- Another session took the record.
function Owned:_on_claim_lost(ev)
  self._changes:taken(ev.taken_by)
end

-- The session is over, or has a successor.
function Owned:_on_fenced(ev)
  self._changes:lose(failure.new("fenced", ev.message or "the session is over"))
end

-- The store is about to be closed.
function Owned:_drain(seconds)
  local changes = self._changes
  if changes.lost then
    return true
  end
  changes.ledger:flush()
  return settling.save(changes, seconds)
end

function Owned:__tostring()
  local state = self:owned() and "" or " (not owned)"
  return ("stillpoint.Owned(%s/%s)%s"):format(self.collection, self.key, state)
end

-- `local me <close> = ...`. Where nothing can wait, the release only follows what was sent.
function Owned:__close()
  local link = self._changes.link
  if not self:owned() then
    return
  elseif link.driver and link.driver:current() and can_yield and not can_yield() then
    settling.release(self._changes, "the document was released")
  elseif not self:release() and self:owned() then
    settling.release(self._changes, "the document was released")
  end
end

return Owned
