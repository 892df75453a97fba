-- The shape of the documents: what is where in them. Version 1 of the game; `shape_new.lua` is version 2.
--
-- Everything that differs between the versions is here, so they are one game: who takes `shape_new.lua` for this file has
-- version 2. The store keeps each document in one form, whoever wrote it, and gives each process the form that it says
-- it speaks (`schema` below, told when it connects). So processes of both versions play together, and neither knows:
--
--     player/p07 = { name = "Gus", gold = 130, bag = {...}, stats = { trades = 4, earned = 55, spent = 25 } }
--     shop/main  = { gold = 500, trades = 12, stock = {...} }

local reload = require "stillpoint.reload"

local shape = reload.module(...)

---The version of the game.
shape.code = 1

---By collection, the version of its documents that this code reads and writes: the number of the last migration that it
---knows (see migrations/). It says 0, and not nothing, which would be: whatever the store has. So a process of this code
---that is started after a migration still gets what it understands.
shape.schema = { player = 0, shop = 0 }

---Where a patch finds the shop's gold.
shape.TILL = "gold"

-- What this process has told the store, which a reload cannot change.
local told = reload.once("shape.told", function()
  return { code = shape.code }
end)

---Asked before a reload.
function shape.verify()
  return shape.code == told.code, "another shape is for other processes: `stillpoint restart` brings them"
end

---@param name string
---@param gold integer
---@param bag table[]
---@return table player
function shape.player(name, gold, bag)
  return { name = name, gold = gold, bag = bag, stats = { trades = 0, earned = 0, spent = 0 } }
end

---What a player has.
---@param player table
---@return integer
function shape.gold(player)
  return player.gold
end

---@param player table
---@param price integer
function shape.earn(player, price)
  player.gold = player.gold + price
  player.stats.earned = player.stats.earned + price
end

---@param player table
---@param price integer
function shape.spend(player, price)
  player.gold = player.gold - price
  player.stats.spent = player.stats.spent + price
end

---What a player has earned and spent so far.
---@param player table
---@return integer earned
---@return integer spent
function shape.flow(player)
  return player.stats.earned, player.stats.spent
end

---@param gold integer
---@param stock table
---@return table shop
function shape.shop(gold, stock)
  return { gold = gold, trades = 0, stock = stock }
end

---What the shop has.
---@param shop table
---@return integer
function shape.till(shop)
  return shop.gold
end

return shape
