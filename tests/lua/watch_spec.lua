-- Watches: every commit, in order, whole, none twice; cursors that stay behind what was not handled.

local peers = require "peers"
local protect = require "stillpoint.protect"
local spec = require "spec"

local await, peer_test = peers.await, peers.test
local equal, fails, misuse, test = spec.equal, spec.fails, spec.misuse, spec.test

---Seconds in which an event has to come.
local SOON = 10

-- The next events as short texts, e.g. "put 1=5".
local function describe(ev)
  local text = ev.type
  if ev.key then
    text = text .. " " .. ev.key
  end
  if ev.value ~= nil then
    text = text .. "=" .. tostring(ev.value)
  end
  return text
end

local function take(watch, count)
  local list = {}
  for i = 1, count do
    list[i] = describe(assert(watch:next(SOON)))
  end
  return list
end

test("a watch tells what happens from now on, in order", function(store)
  local players = store:collection "player"
  assert(players:put("0", "before"))
  local watch = players:watch()
  local rev = assert(players:put("1", 1))
  assert(store:collection("other"):put("1", 1))
  assert(players:put("1", 2, { schema = 7 }))
  assert(players:delete "1")
  local ev = assert(watch:next(SOON))
  equal({ ev.type, ev.collection, ev.key, ev.value, ev.rev, ev.version, ev.schema, ev.last, ev.snapshot }, {
    "put",
    "player",
    "1",
    1,
    rev,
    1,
    0,
    true,
  })
  assert(ev.time > 1e9)
  local second = assert(watch:next(SOON))
  equal({ second.value, second.rev, second.version, second.schema }, { 2, rev + 2, 2, 7 })
  local third = assert(watch:next(SOON))
  equal({ third.type, third.key, third.value, third.rev }, { "delete", "1", nil, rev + 3 })
  equal(watch:next(0), nil)
end)

test("prefix, key and keys_only choose what is told", function(store)
  local players = store:collection "player"
  local by_prefix = players:watch { prefix = "a" }
  local by_key = players:watch { key = "ab" }
  local keys_only = players:watch { keys_only = true }
  local all = store:watch()
  for _, key in ipairs { "a", "ab", "b" } do
    assert(players:put(key, key))
  end
  assert(store:collection("x"):put("x", 1))
  equal(take(by_prefix, 2), { "put a=a", "put ab=ab" })
  equal(take(by_key, 1), { "put ab=ab" })
  equal(take(keys_only, 3), { "put a", "put ab", "put b" })
  equal(take(all, 4), { "put a=a", "put ab=ab", "put b=b", "put x=1" })
end)

test("a transaction is told whole, its last event says so", function(store)
  local watch = store:watch()
  assert(store:txn(function(tx)
    tx:put("a", "1", 1)
    tx:put("a", "2", 2)
    tx:put("b", "1", 3)
  end))
  local list, revs = {}, {}
  for i = 1, 3 do
    local ev = assert(watch:next(SOON))
    list[i] = ev.last
    revs[ev.rev] = true
  end
  equal(list, { false, false, true })
  assert(next(revs, next(revs)) == nil, "several revisions")
end)

test("a watch goes on behind a revision, or behind a position", function(store)
  local players = store:collection "player"
  local first = assert(players:put("1", 1))
  assert(players:put("2", 2))
  local watch = players:watch { after = first }
  equal(take(watch, 1), { "put 2=2" })
  assert(players:put("3", 3))
  equal(take(watch, 1), { "put 3=3" })
  equal(watch:next(0.05), nil)
  local position = assert(watch:position())
  watch:close()
  assert(players:put("4", 4))
  equal(take(players:watch { position = position }, 1), { "put 4=4" })
end)

test("a snapshot comes first, between resync and synced", function(store)
  local players = store:collection "player"
  assert(players:put("1", 1))
  local rev = assert(players:put("2", 2))
  local watch = players:watch { snapshot = true }
  local begin = assert(watch:next(SOON))
  equal({ begin.type, begin.snapshot, type(begin.reason) }, { "resync", true, "string" })
  equal(take(watch, 2), { "put 1=1", "put 2=2" })
  local synced = assert(watch:next(SOON))
  equal({ synced.type, synced.last, synced.rev >= rev }, { "synced", true, true })
  assert(players:put("3", 3))
  local ev = assert(watch:next(SOON))
  equal({ ev.key, ev.snapshot }, { "3" })
end)

test("a record that expires is told", function(store)
  if not spec.has_server then
    spec.not_here "see memory_spec: the clock is the test's there"
  end
  local players = store:collection "player"
  local watch = players:watch()
  assert(players:put("1", 1, { ttl = 0.05 }))
  equal(take(watch, 2), { "put 1=1", "expire 1" })
end)

peer_test("skip_own leaves out what this session writes", function(open)
  local one, two = open "b1", open "b2"
  local watch = one:collection("player"):watch { skip_own = true }
  assert(one:collection("player"):put("1", "own"))
  assert(two:collection("player"):put("2", "other"))
  local ev = assert(watch:next(SOON))
  equal({ ev.key, ev.session }, { "2", two:session().id })
end)

test("a for goes over the events until the watch is closed", function(store)
  local players = store:collection "player"
  local watch, keys = players:watch(), {}
  for i = 1, 3 do
    assert(players:put(tostring(i), i))
  end
  for ev in watch do
    keys[#keys + 1] = ev.key
    if ev.key == "2" then
      watch:close()
    end
  end
  equal(keys, { "1", "2" })
  fails("aborted", "closed", watch:next())
  watch:close()
end)

test("a for that is left closes its watch, from Lua 5.4 on at once", function(store)
  local load_text = rawget(_G, "loadstring") or load
  if not load_text "local x <close> = nil" then
    spec.not_here "this Lua closes nothing"
  end
  assert(store:collection("player"):put("1", 1))
  local count = 0
  for ev in store:collection("player"):watch { after = 0 } do
    count = count + 1
    if ev.key == "1" then
      break
    end
  end
  for ev in store:watch { after = 0 } do
    count = count + 1
    if ev.key == "1" then
      break
    end
  end
  equal({ count, next(store._link.watches) }, { 2 })
end)

test("a for in a coroutine waits while others run", function(store)
  if not protect.can_yield then
    spec.not_here "Lua 5.1 cannot yield there"
  end
  local players = store:collection "player"
  local keys = {}
  local function write()
    for i = 1, 3 do
      assert(players:put(tostring(i), i))
      store:sleep(0.005)
    end
  end
  local reader = store:go(function()
    local watch = players:watch()
    store:go(write)
    for ev in watch do
      keys[#keys + 1] = ev.key
      if #keys == 3 then
        return "done"
      end
    end
  end)
  equal(reader:wait(SOON), "done")
  equal(keys, { "1", "2", "3" })
end)

test("next in a coroutine waits while others run", function(store)
  local players = store:collection "player"
  local reader = store:go(function()
    local watch = players:watch()
    local first = watch:next(0.01)
    store:go(function()
      assert(players:put("1", 1))
    end)
    return first, assert(watch:next(SOON)).key
  end)
  local first, key = reader:wait(SOON)
  equal({ first, key }, { nil, "1" })
end)

test("in Lua 5.1 a for in a coroutine is misuse, with the remedy", function(store)
  if protect.can_yield then
    spec.not_here "only Lua 5.1 cannot yield there"
  end
  local players = store:collection "player"
  local future = store:go(function()
    local watch = players:watch()
    local ok, err = pcall(function()
      for _ in watch do
        error "an event"
      end
    end)
    return ok, err
  end)
  local ok, err = future:wait(SOON)
  equal(ok, false)
  assert(tostring(err):find("Lua 5.1 cannot wait", 1, true), err)
end)

test("while the main program waits for an event, coroutines and handlers run", function(store)
  local players = store:collection "player"
  local watch = players:watch()
  store:go(function()
    store:sleep(0.02)
    assert(players:put("1", "from a coroutine"))
  end)
  equal(describe(assert(watch:next(SOON))), "put 1=from a coroutine")
end)

test("a callback is called by poll, event by event, in order", function(store)
  local players = store:collection "player"
  local keys, busy = {}, false
  local watch = assert(players:watch({}, function(ev)
    assert(not busy, "called again before it returned")
    busy = true
    assert(players:get(ev.key))
    busy = false
    keys[#keys + 1] = ev.key
  end))
  for i = 1, 20 do
    assert(players:put(("%02d"):format(i), i))
  end
  equal(keys, {})
  await("all are told", function()
    return #keys == 20
  end, store)
  for i = 1, 20 do
    equal(keys[i], ("%02d"):format(i))
  end
  misuse("this watch has a callback, which gets the events", function()
    watch:next()
  end)
end)

test("run goes on while a callback watches, until it is closed", function(store)
  local players = store:collection "player"
  local watch, keys = nil, {}
  watch = assert(players:watch({}, function(ev)
    keys[#keys + 1] = ev.key
    if ev.key == "2" then
      watch:close()
    end
  end))
  store:go(function()
    for i = 1, 3 do
      assert(players:put(tostring(i), i))
    end
  end)
  store:run()
  equal(keys, { "1", "2" })
end)

test("what a callback raises comes out of poll, and the next event is told", function(store)
  local players = store:collection "player"
  local keys = {}
  assert(players:watch({}, function(ev)
    keys[#keys + 1] = ev.key
    if ev.key == "1" then
      error("not 1", 0)
    end
  end))
  assert(players:put("1", 1))
  assert(players:put("2", 2))
  local raised
  await("both are told", function()
    local ok, err = pcall(store.poll, store, 0.01)
    raised = raised or not ok and err
    return #keys == 2
  end, store)
  equal(keys, { "1", "2" })
  assert(tostring(raised):find "not 1", raised)
end)

test("an event whose callback raised is told again, if there is a cursor", function(store)
  local players = store:collection "player"
  local keys, raised = {}, nil
  assert(players:watch({ cursor = "again" }, function(ev)
    keys[#keys + 1] = ev.key
    if #keys == 1 then
      error("not yet", 0)
    end
  end))
  assert(players:put("1", 1))
  assert(players:put("2", 2))
  await("both are handled", function()
    local ok, err = pcall(store.poll, store, 0.01)
    raised = raised or not ok and err
    return #keys == 3
  end, store)
  equal(keys, { "1", "1", "2" })
  assert(tostring(raised):find "not yet", raised)
end)

peer_test("a cursor goes on behind what was handled, in another process", function(open)
  local one = open()
  local players = one:collection "player"
  local watch = players:watch { cursor = "c" }
  assert(players:put("1", 1))
  equal(take(watch, 1), { "put 1=1" })
  assert(players:put("2", 2))
  equal(take(watch, 1), { "put 2=2" })
  -- 2 is taken, but not handled.
  watch:close()
  assert(one:close())
  local two = open()
  assert(two:collection("player"):put("3", 3))
  local rest = two:collection("player"):watch { cursor = "c" }
  equal(take(rest, 2), { "put 2=2", "put 3=3" })
  equal(rest:next(0.02), nil)
  assert(two:close())
  local three = open()
  equal(three:collection("player"):watch({ cursor = "c" }):next(0.1), nil)
end)

peer_test("a cursor that was never moved is where its first watch began", function(open)
  local one = open()
  one:collection("player"):watch { cursor = "c" }
  assert(one:collection("player"):put("1", 1))
  assert(one:close())
  local two = open()
  equal(take(two:collection("player"):watch { cursor = "c" }, 1), { "put 1=1" })
end)

peer_test("a cursor moves at the end of a snapshot, not within", function(open)
  local one = open()
  assert(one:collection("player"):put("1", 1))
  equal(take(one:collection("player"):watch { cursor = "c", snapshot = true }, 3), { "resync", "put 1=1", "synced" })
  assert(one:close())
  local two = open()
  local watch = two:collection("player"):watch { cursor = "c", snapshot = true }
  equal(take(watch, 3), { "resync", "put 1=1", "synced" })
  -- Now it is handled.
  equal(watch:next(0.02), nil)
  assert(two:close())
  local three = open()
  assert(three:collection("player"):put("2", 2))
  equal(take(three:collection("player"):watch { cursor = "c", snapshot = true }, 1), { "put 2=2" })
end)

peer_test("a cursor follows a callback, and closing the store waits for it", function(open)
  local one = open()
  local players = one:collection "player"
  local handled = 0
  assert(players:watch({ cursor = "c" }, function()
    handled = handled + 1
  end))
  for i = 1, 200 do
    players:put(tostring(i), i)
  end
  await("all are handled", function()
    return handled == 200
  end, one)
  assert(one:close())
  local two = open()
  assert(two:collection("player"):put("next", 1))
  equal(take(two:collection("player"):watch { cursor = "c" }, 1), { "put next=1" })
end)

peer_test("a fenced process cannot move a cursor: its watch ends", function(open)
  local old = open "b1"
  local players = old:collection "player"
  local watch = players:watch { cursor = "c" }
  await("the cursor is where the watch began", function()
    return not watch._feed.cursor.flight
  end, old)
  local new = open("b1", { takeover = true })
  assert(new:collection("player"):put("1", 1))
  equal(take(watch, 1), { "put 1=1" })
  fails("fenced", nil, watch:next(SOON))
  fails("fenced", nil, watch:next(SOON))
  local ok, err = pcall(function()
    for _ in watch do
      error "an event"
    end
  end)
  equal({ ok, err.reason }, { false, "fenced" })
end)

test("a thousand commits are told once each, in order", function(store)
  local players = store:collection "player"
  local watch = players:watch()
  local batch = store:batch()
  for i = 1, 1000 do
    batch:put("player", tostring(i % 50), i)
  end
  local _, failed = batch:commit()
  equal(failed, 0)
  local last_rev, last, total = 0, {}, 0
  for _ = 1, 1000 do
    local ev = assert(watch:next(SOON))
    assert(ev.rev > last_rev, "out of order")
    assert(ev.value > (last[ev.key] or 0), "a record's writes out of order")
    last_rev, last[ev.key], total = ev.rev, ev.value, total + 1
  end
  equal(total, 1000)
  equal(watch:next(0.05), nil)
end)

test("watches that nobody has any more do no harm", function(store)
  local players = store:collection "player"
  for _ = 1, 5 do
    players:watch()
  end
  collectgarbage()
  collectgarbage()
  assert(players:put("1", 1))
  local watch = players:watch { after = 0 }
  equal(take(watch, 1), { "put 1=1" })
  await("they are closed", function()
    collectgarbage()
    local left = 0
    for _ in pairs(store._link.watches) do
      left = left + 1
    end
    return left == 1
  end, store)
end)

test("what cannot be watched is told by next, or with a callback at once", function(store)
  if not spec.has_server then
    spec.not_here "memory() does not check keys that are watched"
  end
  local players = store:collection "player"
  local bad = { key = ("x"):rep(1000) }
  local watch = players:watch(bad)
  fails("invalid", nil, watch:next(SOON))
  fails("invalid", nil, players:watch(bad, print))
end)

test("bad options of a watch are misuse", function(store)
  local players = store:collection "player"
  misuse("options: 'after', 'position' or 'cursor', not several of them", function()
    players:watch { after = 1, cursor = "c" }
  end)
  misuse("unknown option 'prefixx': use after, cursor, key, keys_only, position, prefix, skip_own, snapshot", function()
    players:watch { prefixx = "a" }
  end)
  misuse("option 'cursor': a name of 1 to 128 bytes expected, got ''", function()
    players:watch { cursor = "" }
  end)
  misuse("callback: a function expected, got a number", function()
    players:watch({}, 5)
  end)
  misuse("callback: a function expected, got a number", function()
    store:watch({}, 5)
  end)
end)

spec.finish()
