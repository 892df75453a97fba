-- Transactions.

local spec = require "spec"

local equal, fails, test = spec.equal, spec.fails, spec.test

local function bank(store)
  local accounts = store:collection "account"
  assert(accounts:put("a", { gold = 100 }))
  assert(accounts:put("b", { gold = 0 }))
  return accounts
end

local function gold(accounts)
  return { accounts:get("a").gold, accounts:get("b").gold }
end

test("a transaction writes all records in one commit and returns what the function returned", function(store)
  local accounts = bank(store)
  local ok, x, y, z = store:txn(function(tx)
    local a, b = tx:get("account", "a"), tx:get("account", "b")
    a.gold, b.gold = a.gold - 50, b.gold + 50
    tx:put("account", "a", a)
    tx:put("account", "b", b)
    return "moved", nil, 50
  end)
  equal({ ok, x, y, z }, { true, "moved", nil, 50 })
  equal(gold(accounts), { 50, 50 })
  equal(accounts:read("a").rev, accounts:read("b").rev)
end)

test("an abort changes nothing and gives its reason", function(store)
  local accounts = bank(store)
  local function poor(tx)
    tx:put("account", "a", { gold = 0 })
    tx:abort "poor"
    error "an abort does not return"
  end
  local err = fails("aborted", "^poor$", store:txn(poor))
  equal(tostring(err), "aborted: poor")
  equal(err.retryable, false)
  equal(gold(accounts), { 100, 0 })
end)

test("an abort cannot be caught by accident", function(store)
  local accounts = bank(store)
  fails("aborted", "^no$", store:txn(function(tx)
    pcall(tx.abort, tx, "no")
    tx:put("account", "a", { gold = 0 })
  end))
  equal(gold(accounts), { 100, 0 })
end)

test("an error of the function comes out, and nothing is written", function(store)
  local accounts = bank(store)
  local thrown = { code = 7 }
  local ok, err = pcall(store.txn, store, function(tx)
    tx:put("account", "a", { gold = 0 })
    error(thrown, 0)
  end)
  equal({ ok, err == thrown }, { false, true })
  equal(gold(accounts), { 100, 0 })
end)

test("a guard of the function's own that fails is told at once, also after a write of the same record", function(store)
  local accounts = bank(store)
  local rev = accounts:read("a").rev
  local later = { if_rev = rev }
  for name, write in pairs {
    put = function(tx)
      tx:put("account", "a", { gold = 2 }, later)
    end,
    patch = function(tx)
      tx:patch("account", "a", { { "add", "gold", 1 } }, later)
    end,
    delete = function(tx)
      tx:delete("account", "a", later)
    end,
  } do
    local runs = 0
    fails("version_conflict", nil, store:txn(function(tx)
      runs = runs + 1
      tx:get("account", "a")
      tx:put("account", "a", { gold = 1 })
      write(tx)
    end))
    equal(runs, 1, name)
  end
  equal(accounts:read("a").rev, rev)
end)

test("a record written twice is tried again if another writer was faster", function(store)
  local accounts = bank(store)
  local runs = 0
  assert(store:txn(function(tx)
    runs = runs + 1
    local a = tx:get("account", "a")
    if runs == 1 then
      assert(accounts:put("a", { gold = 5 }))
    end
    tx:put("account", "a", {})
    tx:put("account", "a", { gold = a.gold + 1 }, { if_exists = true })
  end))
  equal({ runs, accounts:get("a").gold }, { 2, 6 })
end)

test("values in a transaction may be as deep as outside of it", function(store)
  local accounts = bank(store)
  local function nested(levels)
    local value = 1
    for _ = 1, levels do
      value = { value }
    end
    return value
  end
  assert(accounts:put("b", nested(64)))
  assert(accounts:patch("a", { { "set", "deep", nested(63) } }))
  assert(store:txn(function(tx)
    tx:patch("account", "a", { { "set", "deeper", nested(63) } })
    equal(tx:get("account", "a").deep, nested(63))
    tx:put("account", "c", nested(64))
    tx:patch("account", "b", { { "append", "", 2 } })
    equal(tx:get("account", "b")[2], 2)
  end))
  equal(accounts:get("a").deeper, nested(63))
  for _, write in ipairs {
    function(tx)
      tx:put("account", "d", nested(65))
    end,
    function(tx)
      tx:patch("account", "a", { { "set", "deep", nested(65) } })
    end,
    function(tx)
      tx:put("account", "d", nested(600))
    end,
  } do
    fails("too_large", "nested deeper than", store:txn(write))
  end
end)

test("reads see the writes of the transaction", function(store)
  local accounts = bank(store)
  assert(store:txn(function(tx)
    local doc = { gold = 7, bag = { 1 } }
    tx:put("account", "c", doc)
    doc.gold = 8
    equal(tx:get("account", "c"), { gold = 7, bag = { 1 } })
    tx:get("account", "c").gold = 9
    equal(tx:get("account", "c").gold, 7)
    tx:patch("account", "c", { { "add", "gold", 3 }, { "append", "bag", 2 } })
    equal(tx:get("account", "c"), { gold = 10, bag = { 1, 2 } })
    tx:patch("account", "a", { { "add", "gold", -1 } })
    equal(tx:get("account", "a"), { gold = 99 })
    tx:patch("account", "d", { { "set", "x", 1 } }, { create = true })
    equal(tx:get("account", "d"), { x = 1 })
    tx:delete("account", "b")
    equal(tx:get("account", "b"), nil)
    equal(tx:read("account", "b"), nil)
  end))
  equal(accounts:get "a", { gold = 99 })
  equal(accounts:get "b", nil)
  equal(accounts:get "c", { gold = 10, bag = { 1, 2 } })
  equal(accounts:get "d", { x = 1 })
end)

test("a transaction is run again when what it read was changed", function(store)
  local accounts = bank(store)
  local runs = 0
  assert(store:txn(function(tx)
    runs = runs + 1
    local a = tx:get("account", "a")
    local b = tx:get("account", "b")
    if runs <= 3 then
      assert(accounts:add("a", "gold", 1))
    end
    b.gold = a.gold
    tx:put("account", "b", b)
  end))
  equal(runs, 4)
  equal(gold(accounts), { 103, 103 })
end)

test("a transaction is run again when a record appeared that it had missed", function(store)
  local accounts = bank(store)
  local runs = 0
  local ok, seen = store:txn(function(tx)
    runs = runs + 1
    local c = tx:get("account", "c")
    if runs == 1 then
      assert(accounts:put("c", { gold = 5 }))
    end
    tx:put("account", "d", { copy = c and c.gold or 0 })
    return c and c.gold
  end)
  equal({ ok, seen, runs }, { true, 5, 2 })
  equal(accounts:get "d", { copy = 5 })
end)

-- Moves all gold from a to b between two reads of a transaction, once.
local function torn(accounts)
  local moved = false
  return function(tx)
    local a = tx:get("account", "a").gold
    if not moved then
      moved = true
      assert(accounts:put("a", { gold = 0 }))
      assert(accounts:put("b", { gold = 100 }))
    end
    return a + tx:get("account", "b").gold
  end
end

test("a transaction that only reads sees one state", function(store)
  local read = torn(bank(store))
  equal({ store:txn(read) }, { true, 100 })
end)

test("an abort because of an inconsistent read is not believed", function(store)
  local read = torn(bank(store))
  equal({
    store:txn(function(tx)
      local sum = read(tx)
      if sum ~= 100 then
        tx:abort("gold from nothing: " .. sum)
      end
      return sum
    end),
  }, { true, 100 })
end)

test("an error because of an inconsistent read is not believed", function(store)
  local read = torn(bank(store))
  equal({
    store:txn(function(tx)
      local sum = read(tx)
      assert(sum == 100, "gold from nothing")
      return sum
    end),
  }, { true, 100 })
end)

test("reading a record twice gives the same, or another run", function(store)
  local accounts = bank(store)
  local runs = 0
  local ok, first, second = store:txn(function(tx)
    runs = runs + 1
    local a = tx:get("account", "a")
    a.gold = -1
    if runs == 1 then
      assert(accounts:add("a", "gold", 1))
    end
    return tx:get("account", "a").gold, tx:read("account", "a").value.gold
  end)
  equal({ ok, first, second, runs }, { true, 101, 101, 2 })
end)

test("a transaction gives up at its deadline with the conflict", function(store)
  local accounts = bank(store)
  local function always_slower(tx)
    local a = tx:get("account", "a")
    assert(accounts:add("a", "gold", 1))
    tx:put("account", "a", a)
  end
  local ok, err = store:txn(always_slower, { deadline = 0.05 })
  assert(ok == nil and (err.reason == "version_conflict" or err.maybe_applied), tostring(err))
end)

test("a guard of a write that fails is not tried again", function(store)
  local accounts = bank(store)
  local runs = 0
  local err = fails("version_conflict", "the record exists", store:txn(function(tx)
    runs = runs + 1
    tx:put("account", "c", { gold = 1 })
    tx:put("account", "a", { gold = 1 }, { if_absent = true })
  end))
  equal({ runs, err.key }, { 1, { collection = "account", key = "a" } })
  equal(accounts:get "c", nil)
end)

test("a failed step refuses the whole transaction", function(store)
  local accounts = bank(store)
  fails("bound_violation", "below its min of 0", store:txn(function(tx)
    tx:put("account", "c", { gold = 1 })
    tx:patch("account", "b", { { "add", "gold", -1, { min = 0 } } })
  end))
  equal(accounts:get "c", nil)
end)

test("a value that cannot be stored fails the transaction, with the path", function(store)
  local accounts = bank(store)
  fails("invalid", "cannot store a function %(at bag%[1%]%)", store:txn(function(tx)
    tx:put("account", "c", { gold = 1 })
    tx:put("account", "a", { bag = { print } })
  end))
  equal(accounts:get "c", nil)
end)

test("a transaction's handle is useless afterwards", function(store)
  local kept
  assert(store:txn(function(tx)
    kept = tx
  end))
  spec.misuse("this transaction is over: use its tx only inside of the function", function()
    kept:get("account", "a")
  end)
  spec.misuse("this transaction is over: use its tx only inside of the function", function()
    kept:put("account", "a", {})
  end)
end)

test("gold moved at random by many coroutines neither vanishes nor appears", function(store)
  local accounts = store:collection "account"
  local count, players = 20, 8
  for i = 1, players do
    assert(accounts:put("p" .. i, { gold = 50 }))
  end
  local seed = 42
  local function random(n)
    seed = seed * 16807 % 2147483647
    return seed % n + 1
  end
  for _ = 1, count do
    store:go(function()
      for _ = 1, 10 do
        local from, to, amount = random(players), random(players), random(40)
        local ok, err = store:txn(function(tx)
          local a, b = tx:get("account", "p" .. from), tx:get("account", "p" .. to)
          if from == to or a.gold < amount then
            tx:abort "not possible"
          end
          a.gold, b.gold = a.gold - amount, b.gold + amount
          tx:put("account", "p" .. from, a)
          tx:put("account", "p" .. to, b)
        end, { deadline = 30 })
        assert(ok or err.reason == "aborted", err)
      end
    end)
  end
  store:run()
  local sum = 0
  for _, account in accounts:scan() do
    assert(account.gold >= 0)
    sum = sum + account.gold
  end
  equal(sum, players * 50)
end)

spec.finish()
