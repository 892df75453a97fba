-- The purses of the succession storm: `bank.lua URL open TRADERS GOLD` fills them, `bank.lua URL audit` tells of them.

local stillpoint = require "stillpoint"

local url, what, traders, gold = ...
local store = assert(stillpoint.connect { url, namespace = "storm", deadline = 30, patience = 30 })

if what == "open" then
  for number = 1, tonumber(traders) do
    assert(store:collection("purse"):put("t" .. number, { gold = tonumber(gold) }, { if_absent = true }))
  end
else
  for name, purse in store:collection("purse"):scan() do
    print("purse", name, purse.gold)
  end
  for id, trade, meta in store:collection("trade"):scan() do
    print("trade", id, meta.version, trade.from, trade.to, trade.gold)
  end
end
store:close()
