-- Players have levels. All begin with the first.
--
-- The old code knows of no levels. It can write a player as long as he is where all begin; once he has risen, the store refuses
-- what the old code writes of him, since his level would be lost. So the new code can show levels at once, but should let
-- nobody rise before the last process of the old code is gone.

return {
  from = 2,
  to = 3,

  up = function(doc)
    doc.level = doc.level or 1
  end,

  down = function(doc)
    doc.level = nil
  end,

  check = function(doc)
    return doc.level >= 1, "levels begin with 1"
  end,

  samples = {
    {
      name = "Gus",
      purse = { gold = 130, earned = 55, spent = 25 },
      bag = { { id = "i031", kind = "sword", price = 12 } },
      stats = { trades = 4 },
    },
  },
}
