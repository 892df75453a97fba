-- A worker: makes players trade, for ever. `stillpoint lua main.lua NAME [SEED]`
--
-- Any number of workers run at once, each with a name of its own. Nothing that matters is in this process: kill it at
-- any moment, start it again, and it goes on.

local journal = require "journal"
local shop = require "shop"
local trade = require "trade"
local world = require "world"

local name = arg[1] or error("usage: stillpoint lua main.lua NAME [SEED]", 0)
local seed = tonumber(arg[2]) or os.time()

---How often we look whether we shall stop, in trades.
local LOOK_EVERY = 20

-- Refusals of which the rules of the game are the cause. Every other error would be a failure of the store.
local REFUSALS = {
  aborted = true, -- by ourselves: too poor, nothing to sell
  bound_violation = true, -- the shop's till is empty or full
  version_conflict = true, -- somebody else bought the item
}

local store = world.connect(name, 30)
local note = journal.open(name)

-- The number of this life of ours is counted in the store: a process that was killed remembers nothing.
local life = assert(store:collection("worker"):add(name, "lives", 1, { create = true }))
math.randomseed(seed * 1000 + life)

local start = assert(store:collection("world"):get "start")
local keys = {}
for key in pairs(start.players) do
  keys[#keys + 1] = key
end

local function somebody()
  return keys[math.random(#keys)]
end

---Two players, not the same.
local function two_of_them()
  local one, other = somebody(), somebody()
  while one == other do
    other = somebody()
  end
  return one, other
end

---Does one trade of a random kind.
local function one_trade(id)
  local dice = math.random(10)
  if dice == 1 then
    return shop.buys(store, id, somebody(), math.random)
  elseif dice == 2 then
    local item, err = shop.look(store, math.random)
    if not item then
      return nil, err or { reason = "aborted" }
    end
    return shop.sells(store, id, somebody(), item)
  end
  local buyer, seller = two_of_them()
  return trade.between(store, id, buyer, seller, math.random)
end

---Whether the operator wants us to stop: `stillpoint put --namespace game world/stop true`.
local function shall_stop()
  local stop, err = store:collection("world"):get "stop"
  if err then
    error(err, 0)
  end
  return stop
end

local number = 0
while number % LOOK_EVERY ~= 0 or not shall_stop() do
  number = number + 1
  local id = ("%s-%d-%d"):format(name, life, number)
  note("start", id)
  local ok, err = one_trade(id)
  if ok then
    note("done", id)
  elseif REFUSALS[err.reason] then
    note("refused", id, err.reason)
  else
    error(err, 0)
  end
end
store:close()
