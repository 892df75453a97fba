-- What the demo makes of `rules.lua` while the game is played: a sale. By hand:
--
--     cp rules_new.lua rules.lua && stillpoint reload apply --namespace game --service game

local reload = require "stillpoint.reload"

local rules = reload.module(...)

---What is taken off the price of an item, in percent.
rules.discount = 20

---What a buyer pays for an item.
---@param item table
---@return integer
function rules.price(item)
  return item.price - math.floor(item.price * rules.discount / 100)
end

return rules
