-- Timers: they fire at an instance of their service until the firing is finished.

local peers = require "peers"
local spec = require "spec"

local await, peer_test = peers.await, peers.test
local equal, fails, misuse, test = spec.equal, spec.fails, spec.misuse, spec.test

peer_test("a timer fires with what it carries, once", function(open)
  local store = open "b1"
  local heard = {}
  store:on("timer", function(ev)
    heard[#heard + 1] = ev
  end)
  local due = assert(store:timer("respawn/boss", { after = 0.02, payload = { level = 3 } }))
  assert(due > 1e9, "seconds since 1970")
  await("it fires", function()
    return heard[1]
  end, store)
  local ev = heard[1]
  equal({ ev.type, ev.service, ev.name, ev.count, ev.payload, ev.owner }, {
    "timer",
    "battle",
    "respawn/boss",
    1,
    { level = 3 },
  })
  assert(math.abs(ev.due - due) < 0.001 and ev.due_ms == math.floor(due * 1000 + 0.5))
  await("it is finished", function()
    return ev.finished
  end, store)
  equal(store:cancel_timer "respawn/boss", false)
  equal(#heard, 1)
end)

peer_test("a timer can be due at a time, and is cancelled", function(open)
  local store = open "b1"
  local at = os.time() + 3600
  equal(store:timer("later", { at = at }), at)
  equal(store:cancel_timer "later", true)
  equal(store:cancel_timer "later", false)
end)

peer_test("a timer with a period fires again and again", function(open)
  local store = open "b1"
  local dues = {}
  store:on("timer", function(ev)
    dues[#dues + 1] = ev.due_ms
  end)
  assert(store:timer("tick", { every = 0.03 }))
  await("it fires three times", function()
    return #dues >= 3
  end, store)
  assert(store:cancel_timer "tick")
  for i = 2, #dues do
    equal((dues[i] - dues[i - 1]) % 30, 0)
  end
end)

peer_test("a firing is finished in a transaction with what it does", function(open)
  local store = open "b1"
  local zones = store:collection "zone"
  local again
  store:on("timer", function(ev)
    assert(store:txn(function(tx)
      tx:finish(ev)
      tx:put("zone", "7", { boss = (tx:get("zone", "7") or { boss = 0 }).boss + 1 })
    end))
    equal(ev.finished, true)
    again = { store:txn(function(tx)
      tx:finish(ev)
      tx:put("zone", "7", "twice")
    end) }
  end)
  assert(store:timer("respawn", { after = 0 }))
  await("it is handled", function()
    return again
  end, store)
  fails("version_conflict", nil, again[1], again[2])
  equal(zones:get "7", { boss = 1 })
end)

peer_test("timers are set and cancelled with the rest of a transaction, or not at all", function(open)
  local store = open "b1"
  local function schedule(aborts)
    return store:txn(function(tx)
      tx:put("zone", "7", "armed")
      tx:timer("bomb", { after = 3600, payload = { 1, 2 } })
      if aborts then
        tx:abort "no"
      end
    end)
  end
  fails("aborted", "no", schedule(true))
  equal(store:cancel_timer "bomb", false)
  assert(schedule(false))
  assert(store:txn(function(tx)
    tx:cancel_timer "bomb"
  end))
  equal(store:cancel_timer "bomb", false)
end)

peer_test("a payload is as it was when the timer was set", function(open)
  local store = open "b1"
  local heard
  store:on("timer", function(ev)
    heard = ev.payload
  end)
  assert(store:txn(function(tx)
    local payload = { n = 1 }
    tx:timer("t", { after = 0, payload = payload })
    payload.n = 2
  end))
  await("it fires", function()
    return heard
  end, store)
  equal(heard, { n = 1 })
end)

peer_test("a firing whose handler raised comes again, the same one", function(open)
  local store = open "b1"
  local dues, raised = {}, nil
  store:on("timer", function(ev)
    dues[#dues + 1] = ev.due_ms
    if #dues == 1 then
      error("not yet", 0)
    end
  end)
  assert(store:timer("t", { after = 0 }))
  await("it comes again", function()
    local ok, err = pcall(store.poll, store, 0.01)
    raised = raised or not ok and err
    return #dues == 2
  end, store)
  equal(dues[1], dues[2])
  assert(tostring(raised):find "not yet", raised)
  await("it is finished", function()
    return store:cancel_timer "t" == false
  end, store)
end)

peer_test("a firing without a handler waits for one", function(open)
  local store = open "b1"
  assert(store:timer("t", { after = 0 }))
  local link = store._link
  await("it is told", function()
    return next(link.events.timers.unheard)
  end, store)
  local heard
  store:on("timer", function(ev)
    heard = ev.name
  end)
  await("the handler gets it", function()
    return heard
  end, store)
  equal(heard, "t")
end)

peer_test("different timers do not wait for each other, one timer does", function(open)
  local store = open "b1"
  local running, most = {}, 0
  local together = 0
  store:on("timer", function(ev)
    assert(not running[ev.name], "a timer's handler is called again before it returned")
    running[ev.name] = true
    together = together + 1
    most = math.max(most, together)
    store:sleep(0.02)
    running[ev.name] = nil
    together = together - 1
  end)
  local fired = 0
  for _, name in ipairs { "a", "b", "c" } do
    assert(store:timer(name, { after = 0, every = 0.01 }))
  end
  local ends = store._link.core.now() + 0.3
  await("they ran for a while", function()
    fired = fired + 1
    return store._link.core.now() > ends and most > 1
  end, store)
  for _, name in ipairs { "a", "b", "c" } do
    assert(store:cancel_timer(name) ~= nil)
  end
end)

peer_test("a firing that was not finished goes to the successor", function(open)
  local old = open "b1"
  local first, second
  old:on("timer", function(ev)
    first = ev
    -- As one that hangs.
    old:sleep(60)
  end)
  assert(old:timer("t", { after = 0, payload = "work" }))
  await("it fires", function()
    return first
  end, old)
  local new = open("b1", { takeover = true })
  new:on("timer", function(ev)
    second = ev
  end)
  await("it fires at the successor", function()
    return second
  end, new)
  equal({ second.name, second.due_ms, second.payload }, { "t", first.due_ms, "work" })
  local ok, err = first:finish()
  fails("fenced", nil, ok, err)
end)

peer_test("a timer with an owner fires at the instance that owns the record", function(open)
  local one, two = open "b1", open "b2"
  local at = {}
  for name, store in pairs { b1 = one, b2 = two } do
    store:on("timer", function(ev)
      at[#at + 1] = { name, ev.owner }
    end)
  end
  local doc = assert(two:collection("zone"):claim "7")
  assert(one:timer("boss", { after = 0.02, owner = { "zone", "7" } }))
  await("it fires", function()
    return at[1]
  end, one, two)
  equal(at, { { "b2", { "zone", "7" } } })
  assert(doc:release())
end)

test("a timer needs a service", function(store)
  fails("invalid", "service", store:timer("t", { after = 1 }))
  assert(store:timer("t", { after = 3600, service = "mail" }))
  equal(store:cancel_timer("t", { service = "mail" }), true)
end)

test("bad options of a timer are misuse", function(store)
  misuse("options: 'after' or 'at', not both", function()
    store:timer("t", { after = 1, at = 1 })
  end)
  misuse("options: when is it due? Give 'after', 'at' or 'every'", function()
    store:timer("t", {})
  end)
  misuse("name: a string expected, got a number", function()
    store:timer(5, { after = 1 })
  end)
  misuse("option 'missed': 'once', 'all' or 'skip' expected, got 'never'", function()
    store:timer("t", { after = 1, missed = "never" })
  end)
  misuse("option 'owner': { collection, key } expected, got a table", function()
    store:timer("t", { after = 1, owner = { "zone" } })
  end)
  misuse("options: a table expected, got nil", function()
    store:timer "t"
  end)
  store:txn(function(tx)
    misuse("ev: the event of a timer expected", function()
      tx:finish {}
    end)
    misuse("option 'once': it names the whole transaction; give it to store:txn", function()
      tx:timer("t", { after = 1, once = store:once "x" })
    end)
  end)
end)

spec.finish()
