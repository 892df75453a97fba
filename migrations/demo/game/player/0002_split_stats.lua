-- What a player did and what went through his purse are counted apart.
--
--     { stats = { trades = 4, earned = 55, spent = 25 } }
--     ->  { stats = { trades = 4 }, purse = { gold = 130, earned = 55, spent = 25 } }

return {
  from = 1,
  to = 2,

  up = function(doc)
    local stats, purse = doc.stats, doc.purse
    purse.earned, purse.spent = stats.earned, stats.spent
    stats.earned, stats.spent = nil, nil
  end,

  down = function(doc)
    local stats, purse = doc.stats, doc.purse
    stats.earned, stats.spent = purse.earned, purse.spent
    purse.earned, purse.spent = nil, nil
  end,

  check = function(doc)
    assert(doc.purse.earned and doc.purse.spent, "the purse counts what was earned and spent")
    assert(doc.stats.trades, "the stats count trades")
  end,

  samples = {
    {
      name = "Gus",
      purse = { gold = 130 },
      bag = { { id = "i031", kind = "sword", price = 12 } },
      stats = { trades = 4, earned = 55, spent = 25 },
    },
  },
}
