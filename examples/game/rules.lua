-- The rules of the game that may change while it is played.
--
-- `reload.module` gives the same table in every generation: who has it, has the rules of now. What is assigned here is
-- taken from the new file at a reload. The demo replaces this file by `rules_new.lua` in its second act.

local reload = require "stillpoint.reload"

local rules = reload.module(...)

---What is taken off the price of an item, in percent.
rules.discount = 0

---What a buyer pays for an item.
---@param item table
---@return integer
function rules.price(item)
  return item.price
end

return rules
