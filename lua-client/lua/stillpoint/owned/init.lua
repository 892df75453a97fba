-- Claimed documents: what only this session may write, so reading it costs no more than a Lua table.
--
--     local me <close> = assert(players:claim "42")
--     me:add("bag.gold", -50, { min = 0 })
--     print(me.value.name)
--     assert(me:save())
--
-- A change acts on `me.value` at once, with the store's own meaning, and is sent as a patch. What does not fit is
-- refused at once, too; what the store refuses all the same (it is too large, the record was taken) the document hears
-- of later: then its value is the store's again. Change `value` by these verbs only: what is assigned to it directly is
-- never sent. A claim on a key without a record is a lock, with `token` to fence what it protects.

local Changes = require "stillpoint.owned.changes"
local Future = require "stillpoint.future"
local Ledger = require "stillpoint.owned.ledger"
local check = require "stillpoint.check"
local core = require "stillpoint_core"
local document = require "stillpoint.document"
local failure = require "stillpoint.failure"
local lane_of = require "stillpoint.lane"
local paths = require "stillpoint.document.path"

---@class stillpoint.Owned
---@field value any As changed here; nil: the record is missing. After `owned` is false: as last known.
---@field collection string
---@field key string
---@field token integer Greater than that of every owner before: the fencing token.
---@field rev integer|nil Of the record as saved last.
---@field version integer|nil The same.
---@field schema integer|nil
---@field expires_at number|nil
---@field _changes stillpoint.Changes
local Owned = {}
Owned.__index = Owned
Owned.__name = "stillpoint.Owned"

local owned = {}

---@class stillpoint.ClaimOptions
---@field wait number|false|nil Seconds to wait while another session owns the record, which is asked to release it;
---  false: not at all; as long as the deadline allows unless given.
---@field steal boolean|nil Then take it.
---@field autosave number|nil Seconds for which changes are gathered before they are sent; 0 (each at once) unless given.
---@field handover boolean|nil Save and release when another session waits for the record; true unless given.
---@field deadline number|nil Seconds for the claim; the store's (and the wait) unless given.
---@field patience number|nil Seconds that a change may take to reach the store; 60 unless given.
---@field durability "applied"|"synced"|nil Of changes; as the collection is configured unless given.
---@field unsaved_max integer|nil Unanswered changes at most; a further one waits. 1024 unless given.
local OPTIONS = {
  wait = "any",
  steal = "boolean",
  autosave = "any",
  handover = "boolean",
  deadline = "seconds",
  patience = "seconds",
  durability = "durability",
  unsaved_max = "count",
}

local PATIENCE = 60
local UNSAVED_MAX = 1024

---How much of the deadline is for waiting, so that the store's answer comes before it is over.
local WAIT_SHARE = 0.9

local can_yield = coroutine.isyieldable

-- As the checks of stillpoint.requests, called by public functions only.
local LEVEL = 4

---@param link stillpoint.Link
---@param key any
---@param opts any
function owned.check(link, key, opts)
  check.key(key, LEVEL)
  if opts ~= nil then
    check.options(opts, OPTIONS, LEVEL)
    if opts.wait then
      check.seconds(opts.wait, "option 'wait'", LEVEL)
    end
    if opts.autosave ~= nil then
      check.seconds(opts.autosave, "option 'autosave'", LEVEL)
    end
  end
  if not link.handle then
    error("the store is closed", LEVEL - 1)
  end
end

-- Has a handle release when it is collected. Lua 5.1 and LuaJIT finalize userdata only.
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

-- The handle for a claim that was granted.
local function grant(link, collection, key, opts, token, value, rev, version, schema, expires_at)
  local ledger = Ledger.of(link)
  local id = collection .. "\0" .. key
  local doc = link.documents[id]
  if doc and doc._changes.token == token and doc:owned() then
    -- Another coroutine was faster.
    return doc
  end
  local changes = ledger.kept[id] or Changes.new(link, collection, key)
  ledger.kept[id] = changes
  changes.token = token
  changes.autosave = opts.autosave or 0
  changes.patience = opts.patience or PATIENCE
  changes.durability = opts.durability
  changes.unsaved_max = opts.unsaved_max or UNSAVED_MAX
  changes.handover = opts.handover ~= false
  changes.is_stale = false
  changes.generation = changes.generation + 1
  changes.record = { rev = rev, version = version, schema = schema, expires_at = expires_at }
  doc = setmetatable({
    value = value,
    collection = collection,
    key = key,
    token = token,
    _changes = changes,
    _generation = changes.generation,
  }, Owned)
  guard(doc)
  changes.handle[1] = doc
  changes:show()
  link.documents[id] = doc
  return doc
end

local function as_it_is(...)
  return ...
end

local function settle(link, collection, key, opts, ok, ...)
  local ledger = Ledger.of(link)
  local id = collection .. "\0" .. key
  local left = ledger.claiming[id] - 1
  ledger.claiming[id] = left > 0 and left or nil
  if ok then
    return grant(link, collection, key, opts, ...)
  end
  local err = ...
  local changes = ledger.kept[id]
  if not changes and err.maybe_applied then
    changes = Changes.new(link, collection, key)
    changes.patience = PATIENCE
  end
  -- Nobody has what the store may have given.
  if changes and not changes.handle[1] and left == 0 then
    changes:give_back()
  end
  return nil, err
end

---@param link stillpoint.Link
---@param collection string
---@param key string
---@param opts stillpoint.ClaimOptions|nil
---@return stillpoint.Owned|nil doc
---@return stillpoint.Error|nil err
function owned.claim(link, collection, key, opts)
  opts = opts or {}
  local id = collection .. "\0" .. key
  local ledger = Ledger.of(link)
  ledger:reap()
  local doc = link.documents[id]
  if doc and doc:owned() then
    return doc
  end
  local changes = ledger.kept[id]
  if changes then
    -- Its handle was dropped, but is not collected yet: then it must not release what is claimed now.
    changes:flush()
    changes.generation = changes.generation + 1
  end
  local deadline = opts.deadline or link.deadline
  local wait = opts.wait
  if wait == false then
    wait = 0
  elseif wait and not opts.deadline then
    deadline = deadline + wait
  else
    wait = math.min(wait or deadline, deadline * WAIT_SHARE)
  end
  ledger.claiming[id] = (ledger.claiming[id] or 0) + 1
  local request = { wait = wait, steal = opts.steal, load = true }
  local future = Future.submit(link, as_it_is, deadline, lane_of(collection, key), "claim", collection, key, request)
  return settle(link, collection, key, opts, future:wait())
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
  local ok, err = changes:prepare()
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
  local ok, err = changes:save(seconds or changes.link.deadline)
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
  local ends = core.now() + seconds
  local ok, err = changes:save(seconds)
  if not ok and (changes:since() or changes.is_stale) and not changes.lost then
    return nil, err
  end
  if not changes.lost then
    local released, why = changes:release("the document was released", math.max(ends - core.now(), 0))
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
    changes:release(("it was handed over to %s"):format(ev.wanted_by or "another session"))
  end
end

-- Another session took the record; or did so before it was claimed again.
function Owned:_on_claim_lost(ev)
  local changes = self._changes
  if changes.ledger.losses[changes.id] then
    changes.ledger.losses[changes.id] = nil
    changes:ask()
  else
    changes:lose_to(ev.taken_by)
  end
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
  return changes:save(seconds)
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
    self._changes:release "the document was released"
  elseif not self:release() and self:owned() then
    self._changes:release "the document was released"
  end
end

return owned
