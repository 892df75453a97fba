-- Writes that are named for ever: whoever repeats one gets the first answer.

local peers = require "peers"
local spec = require "spec"

local peer_test = peers.test
local equal, fails, misuse, test = spec.equal, spec.fails, spec.misuse, spec.test

test("a named write is done once, and each gets the first answer", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 10 }))
  local token = store:once "trade-1"
  equal(players:add("1", "gold", 5, { once = token }), 15)
  equal(players:add("1", "gold", 5, { once = token }), 15)
  equal(players:get "1", { gold = 15 })
  equal(players:add("1", "gold", 5, { once = store:once "trade-2" }), 20)
end)

test("put, patch and delete can be named, too", function(store)
  local players = store:collection "player"
  local put, patch, delete = store:once "put", store:once "patch", store:once "delete"
  local rev = assert(players:put("1", { n = 1 }, { once = put, if_absent = true }))
  equal(players:put("1", { n = 1 }, { once = put, if_absent = true }), rev)
  local patched = assert(players:patch("1", { { "add", "n", 1 } }, { once = patch }))
  equal(players:patch("1", { { "add", "n", 1 } }, { once = patch }), patched)
  equal(players:get "1", { n = 2 })
  equal(players:delete("1", { once = delete }), true)
  assert(players:put("1", { n = 3 }))
  equal(players:delete("1", { once = delete }), true)
  equal(players:get "1", { n = 3 })
end)

peer_test("another process repeats a write with the token that was kept", function(open)
  local one = open "b1"
  local token = one:once "trade-7"
  assert(one:collection("player"):put("1", { gold = 10 }))
  equal(one:collection("player"):add("1", "gold", 5, { once = token }), 15)
  assert(one:close())
  local two = open "b1"
  equal(two:collection("player"):add("1", "gold", 5, { once = token }), 15)
  equal(two:collection("player"):get "1", { gold = 15 })
end)

test("futures and batches take tokens", function(store)
  local token = store:once "job"
  assert(store:collection("player"):put("1", { gold = 0 }))
  equal(store.async:add("player", "1", "gold", 1, { once = token }):wait(), 1)
  local batch = store:batch()
  batch:add("player", "1", "gold", 1, { once = token })
  equal(batch:commit()[1].value, 1)
end)

-- Moves gold if there is enough; counts how often it ran.
local function trade(store, amount, token)
  return store:txn(function(tx)
    local a, b = tx:get("player", "a"), tx:get("player", "b")
    if a.gold < amount then
      tx:abort "poor"
    end
    a.gold, b.gold = a.gold - amount, b.gold + amount
    tx:put("player", "a", a)
    tx:put("player", "b", b)
    return a.gold
  end, { once = token })
end

local function rich(store)
  local players = store:collection "player"
  assert(players:put("a", { gold = 100 }))
  assert(players:put("b", { gold = 0 }))
  return players
end

test("a named transaction is done once", function(store)
  local players = rich(store)
  local token = store:once "trade"
  local ok, left = trade(store, 30, token)
  equal({ ok, left }, { true, 70 })
  equal(trade(store, 30, token), true)
  equal(players:get("a").gold, 70)
  equal(players:get("b").gold, 30)
end)

test("a named transaction that was done does not fail for what it changed itself", function(store)
  local players = rich(store)
  local token = store:once "trade"
  assert(trade(store, 80, token))
  -- Now a has too little, and the function aborts; but the trade was done.
  equal({ trade(store, 80, token) }, { true })
  equal(players:get("b").gold, 80)
  fails("aborted", "poor", trade(store, 80, store:once "another trade"))
  fails("aborted", "poor", trade(store, 80, store:once "another trade"))
end)

test("an abort does not use the token up", function(store)
  local players = rich(store)
  local token = store:once "trade"
  fails("aborted", "poor", trade(store, 130, token))
  assert(players:put("a", { gold = 200 }))
  assert(trade(store, 130, token))
  equal(players:get("a").gold, 70)
end)

test("tokens are strings that can be kept, and nothing else is one", function(store)
  local players = store:collection "player"
  local token = store:once "a:b\n\0c"
  equal(type(token), "string")
  assert(players:put("job", { token = token }))
  assert(players:put("1", 1, { once = assert(players:get "job").token }))
  misuse("option 'once': a token of store:once expected, got 'trade-1'", function()
    players:put("1", 1, { once = "trade-1" })
  end)
  misuse("name: a string expected, got nil", function()
    store:once()
  end)
  misuse("name: 1 to 128 bytes expected, got 0", function()
    store:once ""
  end)
  store:txn(function(tx)
    misuse("option 'once': it names the whole transaction; give it to store:txn", function()
      tx:put("player", "1", 1, { once = token })
    end)
  end)
end)

spec.finish()
