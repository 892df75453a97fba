-- There will be other money than gold, so it goes into a purse.
--
--     { gold = 130 }  ->  { purse = { gold = 130 } }

return {
  from = 0,
  to = 1,

  up = function(doc)
    doc.purse = { gold = doc.gold }
    doc.gold = nil
  end,

  down = function(doc)
    doc.gold = doc.purse.gold
    doc.purse = nil
  end,

  check = function(doc)
    return math.type(doc.purse.gold) == "integer" and doc.purse.gold >= 0, "gold is a whole number from 0 on"
  end,

  samples = {
    {
      name = "Gus",
      gold = 130,
      bag = { { id = "i031", kind = "sword", price = 12 }, { id = "i007", kind = "rope", price = 5 } },
      stats = { trades = 4, earned = 55, spent = 25 },
    },
    { name = "Ann", gold = 0, bag = { { id = "i001", kind = "map", price = 9 } }, stats = { trades = 0, earned = 0, spent = 0 } },
  },
}
