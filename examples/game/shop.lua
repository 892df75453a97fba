-- The shop: buys items from players and sells them again, with a till that is neither ever empty nor ever too full.
--
--     shop/main = { gold = 500, trades = 12, stock = { i031 = { id = "i031", kind = "sword", price = 12 }, ... } }
--
-- Everybody trades with the one shop, so nobody reads it first: that would make all of them conflict. Its document is
-- changed by a *patch*: the steps are done by the store, on the document as it is at that moment. (In the form that this
-- process speaks: where the gold is, shape.lua says.)

local players = require "players"
local rules = require "rules"
local shape = require "shape"
local stillpoint = require "stillpoint"
local trade = require "trade"

local shop = {}

---As a party of trades, and the key of its record.
shop.KEY = "main"

---The till never has more gold than this. (And never less than none.)
shop.GOLD_MAX = 2000

---@param gold integer
---@param items table[]
---@return table
function shop.new(gold, items)
  -- Marked as a map, so that it stays one when everything is sold.
  local stock = stillpoint.map {}
  for _, item in ipairs(items) do
    stock[item.id] = item
  end
  return shape.shop(gold, stock)
end

---A player sells an item to the shop. If the shop has not the gold for it, the store refuses the whole transaction, and
---`err.reason` is `bound_violation`.
---@param store stillpoint.Store
---@param id string
---@param seller_key string
---@param choose fun(n: integer): integer
---@param once string As in trade.lua.
---@return true|nil done
---@return stillpoint.Error|nil err
function shop.buys(store, id, seller_key, choose, once)
  return store:txn(function(tx)
    local seller = tx:get("player", seller_key)
    if #seller.bag == 0 then
      tx:abort "nothing to sell"
    end
    local place = choose(#seller.bag)
    local price = rules.price(seller.bag[place])
    local item = players.sell(seller, place, price)
    tx:put("player", seller_key, seller)
    tx:patch("shop", shop.KEY, {
      { "add", shape.TILL, -price, { min = 0 } },
      { "add", "trades", 1 },
      { "set", { "stock", item.id }, item },
    })
    trade.record(tx, id, shop.KEY, seller_key, item, price)
  end, { once = once })
end

---A player buys an item from the shop. Which one is settled before; if somebody else was faster, the guard `where` does
---not hold, and `err.reason` is `version_conflict`. If the till is full, it is `bound_violation`.
---@param store stillpoint.Store
---@param id string
---@param buyer_key string
---@param item table One that was in stock a moment ago.
---@param once string As in trade.lua.
---@return true|nil done
---@return stillpoint.Error|nil err
function shop.sells(store, id, buyer_key, item, once)
  return store:txn(function(tx)
    local price = rules.price(item)
    local buyer = tx:get("player", buyer_key)
    if shape.gold(buyer) < price then
      tx:abort "too poor"
    end
    players.buy(buyer, item, price)
    tx:put("player", buyer_key, buyer)
    tx:patch("shop", shop.KEY, {
      { "add", shape.TILL, price, { max = shop.GOLD_MAX } },
      { "add", "trades", 1 },
      { "unset", { "stock", item.id } },
    }, { where = { { { "stock", item.id }, "exists" } } })
    trade.record(tx, id, buyer_key, shop.KEY, item, price)
  end, { once = once })
end

---An item that is in stock; nil: it is sold out.
---@param store stillpoint.Store
---@param choose fun(n: integer): integer
---@return table|nil item
---@return stillpoint.Error|nil err
function shop.look(store, choose)
  local main, err = store:collection("shop"):get(shop.KEY)
  if not main then
    return nil, err
  end
  local ids = {}
  for id in pairs(main.stock) do
    ids[#ids + 1] = id
  end
  if #ids == 0 then
    return nil
  end
  return main.stock[ids[choose(#ids)]]
end

return shop
