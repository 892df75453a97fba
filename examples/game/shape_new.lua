-- Version 2 of the game: what the demo makes of `shape.lua` in its third act. By hand, while version 1 is played:
--
--     stillpoint migrate apply migrations      # from now on the store has the new form, and gives each process its own
--     cp shape_new.lua shape.lua
--     stillpoint restart --namespace game --service game
--
--     player/p07 = { name = "Gus", level = 1, purse = { gold = 130, earned = 55, spent = 25 }, bag = {...},
--                    stats = { trades = 4 } }
--     shop/main  = { till = { gold = 500, max = 2000 }, trades = 12, stock = {...} }

local reload = require "stillpoint.reload"

local shape = reload.module(...)

---The version of the game.
shape.code = 2

---By collection, the version of its documents that this code reads and writes. Where the store is not that far, it
---refuses the process, and says which command is missing.
shape.schema = { player = 3, shop = 1 }

---Where a patch finds the shop's gold.
shape.TILL = "till.gold"

---What players begin with. Nobody rises yet: version 1 knows of no levels, and could write nobody who has risen. So that is
---for version 3.
local FIRST_LEVEL = 1

---What the till can hold, as in migrations/game/shop/0001_till.lua.
local TILL_MAX = 2000

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
  return {
    name = name,
    level = FIRST_LEVEL,
    purse = { gold = gold, earned = 0, spent = 0 },
    bag = bag,
    stats = { trades = 0 },
  }
end

---What a player has.
---@param player table
---@return integer
function shape.gold(player)
  return player.purse.gold
end

---@param player table
---@param price integer
function shape.earn(player, price)
  local purse = player.purse
  purse.gold, purse.earned = purse.gold + price, purse.earned + price
end

---@param player table
---@param price integer
function shape.spend(player, price)
  local purse = player.purse
  purse.gold, purse.spent = purse.gold - price, purse.spent + price
end

---What a player has earned and spent so far.
---@param player table
---@return integer earned
---@return integer spent
function shape.flow(player)
  return player.purse.earned, player.purse.spent
end

---@param gold integer
---@param stock table
---@return table shop
function shape.shop(gold, stock)
  return { till = { gold = gold, max = TILL_MAX }, trades = 0, stock = stock }
end

---What the shop has.
---@param shop table
---@return integer
function shape.till(shop)
  return shop.till.gold
end

return shape
