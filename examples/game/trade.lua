-- A trade: one player sells an item to another.
--
-- Two players change, and a record of the trade is written: all three or none, whatever is killed meanwhile.

local players = require "players"
local rules = require "rules"
local shape = require "shape"

local trade = {}

---`id` is the trade's own, chosen before the first attempt. The function given to `store:txn` may run several times (if
---somebody else changed one of the players meanwhile, it is run again with the new values), but it takes effect once.
---@param store stillpoint.Store
---@param id string
---@param buyer_key string
---@param seller_key string
---@param choose fun(n: integer): integer Which of the seller's n items.
---@param once string The token of this trade: if a predecessor has done it already, it is not done again.
---@return true|nil done
---@return stillpoint.Error|nil err Reason `aborted`: one of the two cannot; nothing has happened.
function trade.between(store, id, buyer_key, seller_key, choose, once)
  return store:txn(function(tx)
    local buyer, seller = tx:get("player", buyer_key), tx:get("player", seller_key)
    if #seller.bag == 0 then
      tx:abort "nothing to sell"
    end
    local place = choose(#seller.bag)
    local price = rules.price(seller.bag[place])
    if shape.gold(buyer) < price then
      tx:abort "too poor"
    end

    local item = players.sell(seller, place, price)
    players.buy(buyer, item, price)
    tx:put("player", seller_key, seller)
    tx:put("player", buyer_key, buyer)
    trade.record(tx, id, buyer_key, seller_key, item, price)
  end, { once = once })
end

---Writes the record of a trade, as part of the transaction that does it. (Real code might add `{ if_absent = true }`.
---We leave it out: if the store ever did a transaction twice, we want `check.lua` to see it.)
---It says what the rules were, and which version of the game did it: both may change while the game is played.
---@param tx stillpoint.Tx
---@param id string
---@param buyer_key string
---@param seller_key string
---@param item table
---@param price integer
function trade.record(tx, id, buyer_key, seller_key, item, price)
  tx:put("trade", id, {
    buyer = buyer_key,
    seller = seller_key,
    item = item.id,
    price = price,
    full_price = item.price,
    discount = rules.discount,
    code = shape.code,
  })
end

return trade
