-- Proves that nothing was lost and nothing done twice: `stillpoint lua check.lua`, when no worker runs.
--
-- The trades that are in the store are played again, in the order of their revisions, beginning with the world as
-- setup.lua made it. What comes out must be the world as it is: every player's gold and bag, and the shop's. Then the
-- workers' journals are held against the trades: what the store acknowledged must be there, what it refused must not.
--
-- All documents must have been brought to the shape that the scripts have now: they are read as they are stored.

local journal = require "journal"
local shape = require "shape"
local shop = require "shop"
local world = require "world"

local store = world.connect "check"
local start = assert(store:collection("world"):get "start", "there is no world to check: run setup.lua first")

local broken = {}
local function complain(text, ...)
  broken[#broken + 1] = text:format(...)
end

---All trades, in the order in which they happened.
local function read_trades()
  local trades, by_id = {}, {}
  for id, trade, meta in store:collection("trade"):scan() do
    trade.id, trade.rev = id, meta.rev
    trades[#trades + 1], by_id[id] = trade, trade
    -- `version` counts the writes of a record.
    if meta.version ~= 1 then
      complain("trade %s happened %d times", id, meta.version)
    end
  end
  table.sort(trades, function(a, b)
    return a.rev < b.rev
  end)
  return trades, by_id
end

---What each party (a player, or the shop) must have: gold, what it earned and spent, number of trades, and who has which
---item.
local function play(trades)
  local parties, owner = {}, {}
  local function enter(key, party)
    parties[key] = { gold = party.gold, earned = 0, spent = 0, trades = 0 }
    for _, id in ipairs(party.items) do
      owner[id] = key
    end
  end
  for key, party in pairs(start.players) do
    enter(key, party)
  end
  enter(shop.KEY, start.shop)

  for _, trade in ipairs(trades) do
    local buyer, seller = parties[trade.buyer], parties[trade.seller]
    if trade.price ~= trade.full_price - math.floor(trade.full_price * trade.discount / 100) then
      complain("trade %s took %d for what costs %d, less %d%%", trade.id, trade.price, trade.full_price, trade.discount)
    end
    if owner[trade.item] ~= trade.seller then
      complain("trade %s sold %s, which %s did not have", trade.id, trade.item, trade.seller)
    end
    owner[trade.item] = trade.buyer
    buyer.gold, seller.gold = buyer.gold - trade.price, seller.gold + trade.price
    buyer.spent, seller.earned = buyer.spent + trade.price, seller.earned + trade.price
    buyer.trades, seller.trades = buyer.trades + 1, seller.trades + 1
  end
  return parties, owner
end

---Compares a party as it is with what it must be; returns its gold and the number of its items.
local function compare(key, want, owner, seen, is)
  if is.gold ~= want.gold then
    complain("%s has %d gold, and by the trades should have %d", key, is.gold, want.gold)
  end
  if is.trades ~= want.trades then
    complain("%s counts %d trades, and %d are in the store", key, is.trades, want.trades)
  end
  if is.earned and (is.earned ~= want.earned or is.spent ~= want.spent) then
    local text = "%s has earned %d and spent %d, and by the trades should have %d and %d"
    complain(text, key, is.earned, is.spent, want.earned, want.spent)
  end
  local count = 0
  for _, item in pairs(is.items) do
    count = count + 1
    if seen[item.id] then
      complain("item %s is there twice: %s and %s have it", item.id, seen[item.id], key)
    elseif owner[item.id] ~= key then
      complain("item %s is with %s, and by the trades should be with %s", item.id, key, tostring(owner[item.id]))
    end
    seen[item.id] = key
  end
  return is.gold, count
end

-- What a party is, by the collection that its document is in.
local read = {}

function read.player(player)
  local earned, spent = shape.flow(player)
  return {
    gold = shape.gold(player),
    earned = earned,
    spent = spent,
    trades = player.stats.trades,
    items = player.bag,
  }
end

function read.shop(main)
  local gold = shape.till(main)
  if gold < 0 or gold > shop.GOLD_MAX then
    complain("the shop has %d gold, out of its bounds 0 and %d", gold, shop.GOLD_MAX)
  end
  return { gold = gold, trades = main.trades, items = main.stock }
end

---Compares the world as it is with what it must be; returns all gold and the number of items.
local function compare_world(parties, owner)
  local gold, items, seen = 0, 0, {}
  local function add(more_gold, more_items)
    gold, items = gold + more_gold, items + more_items
  end
  local missing = {}
  for key in pairs(parties) do
    missing[key] = true
  end
  for collection, schema in pairs(shape.schema) do
    for key, document, meta in store:collection(collection):scan { raw = true } do
      missing[key] = nil
      if not parties[key] then
        complain("%s %s should not be there", collection, key)
      elseif meta.schema ~= schema then
        complain("%s/%s is stored in version %d, and this game has %d", collection, key, meta.schema, schema)
      else
        add(compare(key, parties[key], owner, seen, read[collection](document)))
      end
    end
  end
  for key in pairs(missing) do
    complain("%s is missing", key)
  end
  for id, key in pairs(owner) do
    if not seen[id] then
      complain("item %s has vanished; %s should have it", id, key)
    end
  end
  return gold, items
end

---What a worker says of its trades, by id: how each ended as far as it heard, "start" if it did not; and how many times
---a successor took one up.
local function read_journal(worker)
  local outcomes, again = {}, 0
  for what, id in journal.entries(worker) do
    if what == "again" then
      again = again + 1
      outcomes[id] = outcomes[id] or "start"
    elseif what == "refused" and outcomes[id] == "done" then
      complain("trade %s was acknowledged, and refused when it was repeated", id)
    elseif what == "start" or what == "done" or what == "refused" then
      outcomes[id] = what
    end
  end
  return outcomes, again
end

---Holds the journals and the desks against the trades; returns how many were started, acknowledged, refused, taken up
---by a successor, left open (nobody heard yet how they ended), and how many of these are in the store.
local function read_journals(by_id)
  local count = { all = 0, start = 0, done = 0, refused = 0, again = 0, open_present = 0 }
  local known = {}
  for worker, desk in store:collection("desk"):scan() do
    local outcomes, again = read_journal(worker)
    local told = 0
    for id, outcome in pairs(outcomes) do
      told, known[id] = told + 1, true
      count[outcome] = count[outcome] + 1
      if outcome == "done" and not by_id[id] then
        complain("trade %s was acknowledged and is lost", id)
      elseif outcome == "refused" and by_id[id] then
        complain("trade %s was refused and has happened all the same", id)
      elseif outcome == "start" and by_id[id] then
        count.open_present = count.open_present + 1
      end
    end
    -- A job that was laid on the desk and not begun.
    local waits = desk.job and not outcomes[desk.job.id] and 1 or 0
    if desk.number ~= told + waits then
      complain("%s began %d trades, and on its desk there were %d", worker, told + waits, desk.number)
    end
    count.all, count.again = count.all + told, count.again + again
  end
  for id in pairs(by_id) do
    if not known[id] then
      complain("trade %s was never started by anybody", id)
    end
  end
  return count
end

---All gold and the number of items at the start.
local function totals_at_start()
  local gold, items = start.shop.gold, #start.shop.items
  for _, party in pairs(start.players) do
    gold, items = gold + party.gold, items + #party.items
  end
  return gold, items
end

---A worker that goes by new rules never goes by the old ones again, nor does its successor. Returns how many trades were
---made by the rules that were the last.
local function compare_rules(trades)
  local last, count = {}, 0
  for _, trade in ipairs(trades) do
    local worker = trade.id:match "^(.*)-%d+$"
    if trade.discount < (last[worker] or 0) then
      complain("trade %s goes by rules that were over", trade.id)
    end
    last[worker] = trade.discount
    count = count + (trade.discount == trades[#trades].discount and 1 or 0)
  end
  return count
end

---The same with versions of the game. Returns how many trades were made by the version that was the last; how many
---between the first of that and the last of another, while both were played; and how often a process of an older version
---changed a document that a newer one had changed.
local function compare_code(trades)
  local newest = #trades > 0 and trades[#trades].code
  local by_worker, by_party = {}, {}
  local newest_count, since_newest, side_by_side, back = 0, 0, 0, 0
  for _, trade in ipairs(trades) do
    local worker = trade.id:match "^(.*)-%d+$"
    if trade.code < (by_worker[worker] or 0) then
      complain("trade %s is by a version that was over", trade.id)
    end
    by_worker[worker] = trade.code
    for _, key in ipairs { trade.buyer, trade.seller } do
      back = back + (trade.code < (by_party[key] or 0) and 1 or 0)
      by_party[key] = trade.code
    end
    newest_count = newest_count + (trade.code == newest and 1 or 0)
    since_newest = newest_count > 0 and since_newest + 1 or 0
    side_by_side = trade.code < newest and since_newest or side_by_side
  end
  return newest_count, side_by_side, back
end

local trades, by_id = read_trades()
local gold, items = compare_world(play(trades))
local by_last_rules = compare_rules(trades)
local by_last_code, side_by_side, back = compare_code(trades)
local count = read_journals(by_id)
local gold_before, items_before = totals_at_start()
if gold ~= gold_before then
  complain("there are %d gold, and there were %d", gold, gold_before)
end

-- One figure per line, for people and for the demo.
local function say(name, number)
  print(("%-24s %d"):format(name, number))
end
say("trades_started", count.all)
say("trades_acknowledged", count.done)
say("trades_refused", count.refused)
say("trades_taken_up", count.again)
say("trades_open", count.start)
say("trades_open_present", count.open_present)
say("trades_present", #trades)
say("trades_by_last_rules", by_last_rules)
say("trades_by_last_code", by_last_code)
say("trades_side_by_side", side_by_side)
say("changes_of_newer_by_older", back)
say("gold_before", gold_before)
say("gold", gold)
say("items_before", items_before)
say("items", items)
say("broken", #broken)
table.sort(broken)
for _, text in ipairs(broken) do
  print("BROKEN: " .. text)
end
store:close()
os.exit(#broken == 0 and 0 or 1)
