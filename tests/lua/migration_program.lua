-- A program that has players, in the form that its code knows: `{ name, gold }` is version 0, `{ name, purse = { gold } }`
-- version 1. It does with them what it is told, and says what they look like to it.
--
-- STILLPOINT_SPEC_SCHEMA: the version that it declares; unless set none, then it speaks what the store has.

local talk = require "talk"

local declared = os.getenv "STILLPOINT_SPEC_SCHEMA"

local store, refusal = talk.open("game", declared and { player = tonumber(declared) })
if not store then
  talk.say("refused " .. tostring(refusal))
  return
end

local players = store:collection "player"
local docs, heard = {}, {}

-- `gold=5 name=ann`, with the places of maps in maps as paths, in their order.
local function describe(value)
  local parts = {}
  local function add(prefix, map)
    for name, item in pairs(map) do
      if type(item) == "table" then
        add(prefix .. name .. ".", item)
      else
        parts[#parts + 1] = prefix .. name .. "=" .. tostring(item)
      end
    end
  end
  add("", value)
  table.sort(parts)
  return table.concat(parts, " ")
end

-- A record with the version that it has to this program.
local function show(record)
  if record.unreadable then
    return "unreadable: " .. record.unreadable
  end
  return ("%s v%d"):format(describe(record.value), record.schema)
end

local function read(key, opts)
  local record, err = players:read(key, opts)
  return record and show(record) or tostring(err or "missing")
end

-- What stands at a path, and the map that it is in.
local function at(value, path)
  local map, name = value, path
  for outer, inner in path:gmatch "(%w+)%.(%w+)" do
    map, name = value[outer], inner
  end
  return map[name], map, name
end

-- Whether it is to wait for a line once it has read what it adds to.
local holds = false

local function hold()
  if holds then
    holds = false
    talk.say "read"
    io.read()
  end
end

-- Adds by reading the whole record and writing it.
local function update(key, path, amount)
  local value, err = players:update(key, function(player)
    hold()
    local before, map, name = at(player, path)
    map[name] = before + amount
    return player
  end)
  return value and at(value, path), err
end

-- The same in a transaction.
local function transact(key, path, amount)
  local ok, sum = store:txn(function(tx)
    local player = tx:get("player", key)
    hold()
    local before, map, name = at(player, path)
    map[name] = before + amount
    tx:put("player", key, player)
    return before + amount
  end)
  if ok then
    return sum
  end
  return nil, sum
end

-- The same by two patches, the second of which finds what the first has written; in either form.
local function transact_twice(key, amount)
  local ok, sum = store:txn(function(tx)
    local player = tx:get("player", key)
    local path = player.gold and "gold" or "purse.gold"
    local before = at(player, path)
    hold()
    tx:patch("player", key, { { "add", path, amount } })
    tx:patch("player", key, { { "add", path, amount } })
    return before + 2 * amount
  end)
  if ok then
    return sum
  end
  return nil, sum
end

local function outcome(result, err)
  return tostring(result == nil and err or result)
end

local function words(rest)
  local list = {}
  for word in rest:gmatch "%S+" do
    list[#list + 1] = tonumber(word) or word
  end
  return (table.unpack or unpack)(list)
end

local verbs = {}

function verbs.put(rest)
  local key, gold = words(rest)
  local rev, err = players:put(key, { name = key, gold = gold })
  return outcome(rev and "done", err)
end

-- A value in the new form, said to be of some version.
function verbs.put_as(rest)
  local schema, key, gold = words(rest)
  local rev, err = players:put(key, { name = key, purse = { gold = gold } }, { schema = schema })
  return outcome(rev and "done", err)
end

function verbs.read(key)
  return read(key)
end

function verbs.raw(key)
  return read(key, { raw = true })
end

function verbs.get(key)
  local value, err = players:get(key)
  return value and describe(value) or tostring(err or "missing")
end

function verbs.add(rest)
  return outcome(players:add(words(rest)))
end

function verbs.set(rest)
  local key, path, value = words(rest)
  local rev, err = players:patch(key, { { "set", path, value } })
  return outcome(rev and "done", err)
end

function verbs.update(rest)
  return outcome(update(words(rest)))
end

function verbs.transact(rest)
  return outcome(transact(words(rest)))
end

function verbs.transact_twice(rest)
  return outcome(transact_twice(words(rest)))
end

-- Does something else, and waits between its reading and its writing.
function verbs.held(rest)
  local verb, args = rest:match "^(%S+) (.*)$"
  holds = true
  return verbs[verb](args)
end

-- Adds 1 to each of three, so many times: to one by patches, to one by updates, and to one that it owns.
function verbs.churn(rest)
  local times, path = words(rest)
  for _ = 1, times do
    assert(players:add("ann", path, 1))
    assert(update("cid", path, 1))
    assert(docs.bob:add(path, 1))
  end
  return "churned"
end

function verbs.take(key)
  docs[key] = assert(players:claim(key))
  return verbs.mine(key)
end

-- The same where it may be refused.
function verbs.try(key)
  return outcome(players:claim(key))
end

function verbs.release(key)
  local ok, err = docs[key]:release()
  return outcome(ok and "released", err)
end

function verbs.mine(key)
  local doc = docs[key]
  return doc:owned() and describe(doc.value) or "lost"
end

function verbs.give(rest)
  local key, path, amount = words(rest)
  return outcome(docs[key]:add(path, amount))
end

function verbs.save(key)
  local rev, err = docs[key]:save()
  return rev and "saved" or tostring(err)
end

function verbs.scan()
  local seen = {}
  for key, value, meta in players:scan() do
    assert((value == nil) == (meta.unreadable ~= nil))
    seen[#seen + 1] = key .. ": " .. show(meta)
  end
  return table.concat(seen, "; ")
end

function verbs.follow(what)
  local opts = what == "all" and { snapshot = true } or {}
  assert(players:watch(opts, function(ev)
    if ev.key then
      heard[#heard + 1] = ("%s %s %s"):format(ev.type, ev.key, show(ev))
    end
  end))
  return "follows"
end

-- The next so many changes.
function verbs.heard(count)
  count = tonumber(count)
  talk.await(store, "changes", function()
    return #heard >= count
  end)
  local told = table.concat(heard, "; ", 1, count)
  for _ = 1, count do
    table.remove(heard, 1)
  end
  return told
end

-- Who made its versions, newest first.
function verbs.history(key)
  local made = {}
  for i, entry in ipairs(assert(players:history(key))) do
    made[i] = ("%s v%d"):format(entry.by, entry.schema)
  end
  return table.concat(made, ", ")
end

-- A planned restart: what it owns is left to its successor.
function verbs.hand_over()
  assert(store:drain())
  return "left"
end

function verbs.leave()
  assert(store:close())
  return "left"
end

talk.say "ready"
talk.obey(verbs)
