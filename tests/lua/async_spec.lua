-- Futures, batches, coroutines, poll.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, fails, test = spec.equal, spec.fails, spec.test

-- From now on the store's operations are not heard of any more; a wait for one has this answer.
local function never_answered(store, ...)
  local link, last = store._link, 1e6
  local answer, n = { ... }, select("#", ...)
  local function wait()
    return (table.unpack or unpack)(answer, 1, n)
  end
  local function submit()
    last = last + 1
    return last
  end
  link.core = setmetatable({ submit = submit, wait = wait, take = wait }, { __index = link.core })
end

test("a future's wait returns what the blocking verb returns", function(store)
  local async = store.async
  local rev = assert(async:put("player", "1", { gold = 1 }):wait())
  equal(async:get("player", "1"):wait(), { gold = 1 })
  equal({ async:get("player", "none"):wait(5) }, {})
  local record = async:read("player", "1"):wait()
  equal({ record.rev, record.value }, { rev, { gold = 1 } })
  equal(async:add("player", "1", "gold", 4):wait(), 5)
  local patched, err, results = async:patch("player", "1", { { "add", "gold", 1 } }):wait()
  equal({ patched > rev, err, results }, { true, nil, { 6 } })
  equal(#async:scan_page("player", { prefix = "1" }):wait().entries, 1)
  fails("bound_violation", nil, async:add("player", "1", "gold", -9, { min = 0 }):wait())
  equal(async:delete("player", "1"):wait(), true)
  equal({ async:delete("player", "1"):wait() }, { false })
end)

test("waiting again gives the same", function(store)
  local future = store.async:put("player", "1", {})
  local rev = assert(future:wait())
  equal({ future:done(), future:wait(), future:wait(0) }, { true, rev, rev })
end)

test("operations on one record keep their order", function(store)
  local futures = {}
  for i = 1, 300 do
    futures[i] = store.async:put("player", "1", { i = i })
  end
  local last = store.async:get("player", "1")
  equal(last:wait(), { i = 300 })
  local before = 0
  for i = 1, 300 do
    local rev = assert(futures[i]:wait())
    assert(rev > before)
    before = rev
  end
  equal(store:collection("player"):read("1").version, 300)
end)

test("callbacks are called once, from poll, with what wait returns", function(store)
  local heard = {}
  for i = 1, 50 do
    store.async:put("player", "k" .. i, { i = i }):on_done(function(rev, err)
      heard[#heard + 1] = rev and err == nil
    end)
  end
  equal(#heard, 0)
  store:run()
  equal(#heard, 50)
  for i = 1, 50 do
    equal(heard[i], true)
  end
  store:poll(0)
  equal(#heard, 50)
  local future = store.async:get("player", "k7")
  future:wait()
  future:on_done(function(value)
    heard = value
  end)
  equal(heard, { i = 7 })
end)

test("an error in a callback comes out of poll and loses no other answer", function(store)
  local count = 0
  for i = 1, 10 do
    store.async:put("player", "k" .. i, {}):on_done(function()
      count = count + 1
      if i == 5 then
        error("oops", 0)
      end
    end)
  end
  local ok, err = pcall(store.run, store)
  equal({ ok, err }, { false, "oops" })
  store:run()
  equal(count, 10)
end)

test("all callbacks of a future are called, and the first error comes out", function(store)
  local heard = {}
  local future = store.async:put("player", "1", 7)
  for i = 1, 4 do
    future:on_done(function()
      heard[#heard + 1] = i
      if i % 2 == 0 then
        error("oops " .. i, 0)
      end
    end)
  end
  local waited = store:go(function()
    return (future:wait())
  end)
  local ok, err = pcall(store.run, store)
  equal({ ok, err }, { false, "oops 2" })
  equal(heard, { 1, 2, 3, 4 })
  assert(waited:wait())
end)

test("futures that nobody keeps are done all the same", function(store)
  for i = 1, 2000 do
    store.async:put("player", "k" .. i, i)
  end
  collectgarbage()
  collectgarbage()
  equal(store.async:get("player", "k2000"):wait(), 2000)
  local count = 0
  for _ in store:collection("player"):scan { keys_only = true } do
    count = count + 1
  end
  equal(count, 2000)
end)

test("update and txn are there as futures", function(store)
  store.async:put("player", "1", { gold = 1 })
  local update = store.async:update("player", "1", function(p)
    p.gold = p.gold + 1
    return p
  end)
  equal(update:wait(), { gold = 2 })
  local txn = store.async:txn(function(tx)
    tx:put("player", "2", tx:get("player", "1"))
    return "done"
  end)
  equal({ txn:wait() }, { true, "done" })
  equal(store:collection("player"):get "2", { gold = 2 })
  local bad = store.async:update("player", "1", function()
    error({ code = 1 }, 0)
  end)
  local ok, err = pcall(bad.wait, bad)
  equal({ ok, err }, { false, { code = 1 } })
end)

test("a batch answers each operation for itself, in order", function(store)
  assert(store:collection("player"):put("1", { gold = 1 }))
  local batch = store:batch()
  batch:get("player", "1"):put("player", "2", { gold = 2 }):get("player", "2")
  batch:add("player", "2", "gold", -5, { min = 0 })
  batch:add("player", "2", "gold", 5)
  batch:patch("player", "2", { { "set", "x", 1 }, { "add", "gold", 1 } })
  batch:delete("player", "1")
  batch:delete("player", "1")
  batch:get("player", "1")
  batch:put("player", "3", { print })
  local results, failed = batch:commit()
  equal({ #results, failed }, { 10, 2 })
  equal({ results[1].ok, results[1].value, results[1].version }, { true, { gold = 1 }, 1 })
  equal({ results[2].ok, results[2].version }, { true, 1 })
  equal({ results[3].value, results[3].rev }, { { gold = 2 }, results[2].rev })
  equal({ results[4].ok, results[4].reason }, { nil, "bound_violation" })
  equal(results[5].value, 7)
  equal(results[6].results, { stillpoint.null, 8 })
  equal({ results[7].ok, results[7].existed }, { true, true })
  equal({ results[8].ok, results[8].existed }, { true, false })
  equal({ results[9].ok, results[9].value }, { true, nil })
  equal({ results[10].ok, results[10].reason }, { nil, "invalid" })
  equal({ #batch:commit() }, { 0 })
end)

test("a batch may be larger than what is in flight at once", function(store)
  local batch = store:batch()
  for i = 1, 10000 do
    batch:put("item", tostring(i), i)
  end
  local results, failed = batch:commit()
  equal({ #results, failed }, { 10000, 0 })
  for i = 1, 10000 do
    batch:get("item", tostring(i))
  end
  results = batch:commit()
  for i = 1, 10000 do
    equal(results[i].value, i)
  end
end)

test("a thousand coroutines wait side by side", function(store)
  local players = store:collection "player"
  local running, most, done = 0, 0, 0
  for i = 1, 1000 do
    store:go(function(name)
      running = running + 1
      most = math.max(most, running)
      assert(players:put(name, { i = i }))
      assert(players:update(name, function(p)
        p.i = p.i + 1
        return p
      end))
      equal(players:get(name), { i = i + 1 })
      running = running - 1
      done = done + 1
    end, "k" .. i)
  end
  store:run()
  equal({ most, done }, { 1000, 1000 })
end)

test("a coroutine's future has what it returns, and other coroutines can wait for it", function(store)
  local players = store:collection "player"
  local first = store:go(function(a, b)
    assert(players:put("1", { a, b }))
    return players:get("1"), "second"
  end, 1, 2)
  local heard
  store:go(function()
    heard = { first:wait() }
  end)
  equal({ first:wait() }, { { 1, 2 }, "second" })
  store:run()
  equal(heard, { { 1, 2 }, "second" })
end)

test("an error in a coroutine comes out of the loop, or of the wait for it", function(store)
  local players = store:collection "player"
  store:go(function()
    players:get "1"
    error "oops"
  end)
  local ok, err = pcall(store.run, store)
  equal(ok, false)
  assert(err:find "async_spec.lua:%d+: oops" and err:find "traceback", err)
  local future = store:go(function()
    players:get "1"
    error({ code = 1 }, 0)
  end)
  local waiter = store:go(function()
    future:wait()
  end)
  ok, err = pcall(waiter.wait, waiter)
  equal({ ok, err }, { false, { code = 1 } })
end)

test("yielding lets the others run, and sleeping lets time pass", function(store)
  local log = {}
  for _, name in ipairs { "a", "b" } do
    store:go(function()
      for i = 1, 3 do
        log[#log + 1] = name .. i
        coroutine.yield()
      end
    end)
  end
  store:go(function()
    store:sleep(0.02)
    log[#log + 1] = "late"
  end)
  store:run()
  equal(log, { "a1", "b1", "a2", "b2", "a3", "b3", "late" })
end)

test("scans, transactions and batches work in coroutines", function(store)
  local players = store:collection "player"
  for i = 1, 5 do
    assert(players:put("k" .. i, { gold = i }))
  end
  local sums = {}
  for n = 1, 3 do
    store:go(function()
      local sum = 0
      for _, player in players:scan { limit = 5 } do
        sum = sum + player.gold
      end
      local batch = store:batch()
      batch:get("player", "k1")
      local results = batch:commit()
      local ok = store:txn(function(tx)
        local p = tx:get("player", "k1")
        p.gold = p.gold + 1
        tx:put("player", "k1", p)
      end)
      sums[n] = { sum >= 15, results[1].ok, ok }
    end)
  end
  store:run()
  equal(sums, { { true, true, true }, { true, true, true }, { true, true, true } })
  equal(players:get "k1", { gold = 4 })
end)

test("an operation that this process does not know, after a fork, fails for all who wait", function(store)
  local lost = { reason = "unavailable", message = "not one of this process", maybe_applied = true }
  never_answered(store, false, lost)
  local async, players, heard = store.async, store:collection "player", {}
  fails("unavailable", "not one of", async:put("player", "1", 1):wait())
  local done = async:put("player", "1", 1)
  equal(done:done(), true)
  fails("unavailable", "not one of", done:wait())
  async:put("player", "2", 2):on_done(function(_, err)
    heard[1] = err
  end)
  store:go(function()
    heard[2] = select(2, players:put("3", 3))
  end)
  store:go(function()
    heard[3] = select(2, async:put("player", "4", 4):wait())
  end)
  store:run()
  equal({ heard[1] == lost, heard[2] == lost, heard[3] == lost }, { true, true, true })
end)

test("closing fails what is under way, all of it, though a callback raises", function(store)
  never_answered(store)
  local heard, count = {}, 0
  for i = 1, 6 do
    store.async:get("player", "k" .. i):on_done(function(_, err)
      count = count + 1
      heard[i] = err.reason
      if i % 2 == 0 then
        error({ i = i }, 0)
      end
    end)
  end
  store:go(function()
    heard[7] = select(2, store:collection("player"):get "k7").reason
  end)
  local other = store:go(function()
    local future = store.async:get("player", "k8")
    heard[8] = select(2, future:wait()).reason
    return "went on"
  end)
  local ok, err = pcall(store.close, store, 0)
  equal({ ok, type(err), err.i % 2 }, { false, "table", 0 })
  equal(count, 6)
  for i = 1, 8 do
    equal(heard[i], "unavailable", "number " .. i)
  end
  equal({ other:wait() }, { "went on" })
  equal(tostring(store), "stillpoint.Store (closed)")
end)

test("closing settles coroutines that nobody resumes any more", function(store)
  local sleeper = store:go(function()
    store:sleep(100)
  end)
  local heard
  sleeper:on_done(function(_, err)
    heard = err.reason
  end)
  local waiter = store:go(function()
    return select(2, sleeper:wait()).reason
  end)
  equal(store:close(1), true)
  fails("unavailable", "the store was closed", sleeper:wait())
  fails("unavailable", "the store was closed", sleeper:wait(1))
  fails("unavailable", "the store was closed", waiter:wait())
  equal(heard, "unavailable")
end)

test("a coroutine may close the store, and go on", function(store)
  local future = store:go(function()
    store:collection("player"):put("1", 1)
    equal(store:close(1), true)
    return "closed"
  end)
  equal({ future:wait() }, { "closed" })
end)

test("closing finishes what is under way, and later use is misuse", function(store)
  local players = store:collection "player"
  local future = store.async:put("player", "1", { 1 })
  equal(store:close(), true)
  equal(store:close(), true)
  assert(future:done())
  spec.misuse("the store is closed", function()
    players:get "1"
  end)
  spec.misuse("the store is closed", function()
    store:poll()
  end)
  spec.misuse("the store is closed", function()
    store.async:get("player", "1")
  end)
  spec.misuse("the store is closed", function()
    store:txn(function() end)
  end)
end)

spec.finish()
