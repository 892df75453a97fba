-- Claimed documents: what only this session may write, so reading it costs no more than a Lua table.
--
--     local me <close> = assert(players:claim "42")
--     me:add("bag.gold", -50, { min = 0 })
--     print(me.value.name)
--     assert(me:save())
--
-- A claim on a key without a record is a lock, with `token` to fence what it protects.
--
--     handle.lua      what the user has: the value and the verbs
--     changes.lua     what is not saved yet; stays when the handle is collected
--     outbox.lua      what is on its way, in the record's lane
--     settling.lua    waiting for that
--     ledger.lua      how much that is, of all documents of a connection

local Changes = require "stillpoint.owned.changes"
local Future = require "stillpoint.future"
local Ledger = require "stillpoint.owned.ledger"
local Owned = require "stillpoint.owned.handle"
local check = require "stillpoint.check"
local lane_of = require "stillpoint.lane"

local owned = {}

---@class stillpoint.ClaimOptions
---@field wait number|false|nil Seconds to wait while another session owns the record, and is asked to release it;
---  false: not at all; as long as the deadline allows unless given.
---@field steal boolean|nil Then take it.
---@field autosave number|nil Seconds for which changes are gathered; 0 (each is sent at once) unless given.
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

-- The handle for a claim that was granted.
local function grant(link, collection, key, opts, token, value, rev, version, schema, expires_at)
  local ledger = Ledger.of(link)
  local id = collection .. "\0" .. key
  local doc = link.documents[id]
  if doc and doc._changes.token == token and doc:owned() then
    -- Another coroutine was faster.
    return doc
  end
  local changes = ledger.kept[id] or Changes.new(link, collection, key, PATIENCE)
  ledger.kept[id] = changes
  changes.autosave = opts.autosave or 0
  changes.patience = opts.patience or PATIENCE
  changes.durability = opts.durability
  changes.unsaved_max = opts.unsaved_max or UNSAVED_MAX
  changes.handover = opts.handover ~= false
  doc = Owned.new(changes, token, value, { rev = rev, version = version, schema = schema, expires_at = expires_at })
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
    changes = Changes.new(link, collection, key, PATIENCE)
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
  local is_owned = doc and doc:owned()
  if is_owned and not doc._changes.is_in_doubt then
    return doc
  end
  local changes = ledger.kept[id]
  if changes and not is_owned then
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

return owned
