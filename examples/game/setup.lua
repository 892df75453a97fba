-- Makes the world: `stillpoint lua setup.lua [SEED]`. Run it as often as you like, it happens once.

local players = require "players"
local shop = require "shop"
local world = require "world"

local PLAYERS = 40
local ITEMS_EACH = 6
local ITEMS_IN_SHOP = 40
local GOLD_EACH = 100
local GOLD_IN_SHOP = 1000
local KINDS = { "sword", "lamp", "rope", "cloak", "ring", "flute", "map", "boots" }

math.randomseed(tonumber(arg[1]) or os.time())

local made = 0

---Makes new items, each with an id of its own.
local function items(count)
  local list = {}
  for i = 1, count do
    made = made + 1
    list[i] = { id = ("i%03d"):format(made), kind = KINDS[math.random(#KINDS)], price = math.random(5, 40) }
  end
  return list
end

local function ids(list)
  local result = {}
  for i, item in ipairs(list) do
    result[i] = item.id
  end
  return result
end

local store = world.connect "setup"

local ok, err = store:txn(function(tx)
  -- Either the whole world is there or nothing of it; so it is enough to look for one record.
  if tx:get("world", "start") then
    return tx:abort "the world is there already"
  end
  -- How it began, for check.lua.
  local start = { players = {}, shop = {} }
  for number = 1, PLAYERS do
    local bag = items(ITEMS_EACH)
    start.players[players.key(number)] = { gold = GOLD_EACH, items = ids(bag) }
    tx:put("player", players.key(number), players.new(number, GOLD_EACH, bag))
  end
  local stock = items(ITEMS_IN_SHOP)
  start.shop = { gold = GOLD_IN_SHOP, items = ids(stock) }
  tx:put("shop", shop.KEY, shop.new(GOLD_IN_SHOP, stock))
  tx:put("world", "start", start)
end)

if ok then
  print(("made %d players, %d items and a shop"):format(PLAYERS, made))
elseif err.reason == "aborted" then
  print(err.message)
else
  error(err, 0)
end
store:close()
