-- Players, and how items move between bags.
--
-- A document is any Lua table: nested as you like, stored as it is. The ones here:
--
--     player/p07 = { name = "Gus", gold = 130, bag = { { id = "i031", kind = "sword", price = 12 }, ... },
--                    stats = { trades = 4, earned = 55, spent = 25 } }
--
-- Where the gold is in them, shape.lua knows: that changes in version 2 of the game. Everything here works on plain
-- tables and knows nothing of the store.

local shape = require "shape"

local players = {}

local NAMES = { "Ann", "Bob", "Cid", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Leo" }

---The key of a player: "p07".
---@param number integer
---@return string
function players.key(number)
  return ("p%02d"):format(number)
end

---@param number integer
---@param gold integer
---@param bag table[] Items.
---@return table player
function players.new(number, gold, bag)
  -- An empty table could be a list or a map; players always have something in the bag when they are made, and a table
  -- that was a list in the store comes back marked as a list, empty or not.
  return shape.player(NAMES[(number - 1) % #NAMES + 1], gold, bag)
end

---Notes in a player's document that he bought an item.
---@param player table
---@param item table
---@param price integer
function players.buy(player, item, price)
  shape.spend(player, price)
  table.insert(player.bag, item)
  player.stats.trades = player.stats.trades + 1
end

---Notes in a player's document that he sold the item at this place of his bag; returns the item.
---@param player table
---@param place integer
---@param price integer
---@return table item
function players.sell(player, place, price)
  local item = table.remove(player.bag, place)
  shape.earn(player, price)
  player.stats.trades = player.stats.trades + 1
  return item
end

return players
