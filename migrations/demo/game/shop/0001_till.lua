-- The shop's gold lies in its till, with what the till can hold.
--
--     { gold = 500 }  ->  { till = { gold = 500, max = 2000 } }

local GOLD_MAX = 2000

return {
  from = 0,
  to = 1,

  up = function(doc)
    doc.till = { gold = doc.gold, max = GOLD_MAX }
    doc.gold = nil
  end,

  down = function(doc)
    doc.gold = doc.till.gold
    doc.till = nil
  end,

  check = function(doc)
    local till = doc.till
    return till.gold >= 0 and till.gold <= till.max, ("the till has %d gold"):format(till.gold)
  end,

  samples = {
    { gold = 500, trades = 12, stock = { i031 = { id = "i031", kind = "sword", price = 12 } } },
    -- Sold out: an empty table that is a map, as in the store.
    { gold = 0, trades = 40, stock = {} },
  },
}
