-- What only stillpoint.memory() has: a clock to set, and stores that are gone with it.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, test = spec.equal, spec.test

test("records expire by the clock that the test sets", function()
  local time = 1000
  local store = stillpoint.memory {
    now = function()
      return time
    end,
  }
  local sessions = store:collection "session"
  assert(sessions:put("a", { user = 1 }, { ttl = 60 }))
  assert(sessions:put("b", { user = 2 }))
  equal(sessions:read("a").expires_at, 1060)
  time = 1059.9
  equal(sessions:get "a", { user = 1 })
  assert(sessions:patch("a", { { "set", "seen", true } }))
  equal(sessions:read("a").expires_at, 1060)
  assert(sessions:patch("a", { { "set", "seen", true } }, { ttl = 60 }))
  time = 1100
  equal(sessions:get "a", { user = 1, seen = true })
  time = 1119.9
  equal(sessions:get "a", nil)
  local keys = {}
  for key in sessions:scan() do
    keys[#keys + 1] = key
  end
  equal(keys, { "b" })
  assert(sessions:put("a", {}, { if_absent = true }))
  equal(sessions:read("a").version, 1)
end)

test("two stores share nothing", function()
  local a, b = stillpoint.memory(), stillpoint.memory()
  assert(a:collection("x"):put("1", 1))
  equal(b:collection("x"):get "1", nil)
  equal(a:info().server_version, "memory")
end)

test("it has no descriptor, so no driver", function()
  local store = stillpoint.memory()
  equal(store:fd(), nil)
  spec.misuse("driver: it lacks the function 'current', see stillpoint.driver", function()
    store:use {}
  end)
end)

test("stores that share their records are processes of one store", function()
  local base = stillpoint.memory()
  local one = stillpoint.memory { share = base, service = "battle", instance = "b1" }
  local two = stillpoint.memory { share = base, service = "battle", instance = "b2" }
  assert(one:collection("x"):claim "1")
  spec.fails("not_owner", "battle/b1", two:collection("x"):put("1", {}))
  spec.fails("not_owner", "has a holder", stillpoint.memory { share = base, service = "battle", instance = "b1" })
  equal(one:close(), true)
  assert(two:collection("x"):put("1", {}))
  spec.misuse("option 'share': an open store of stillpoint.memory expected", function()
    stillpoint.memory { share = one }
  end)
end)

test("a session left behind ends by the clock that the test sets", function()
  local time = 1000
  local base = stillpoint.memory {
    now = function()
      return time
    end,
  }
  local one = stillpoint.memory { share = base, service = "battle", instance = "b1" }
  assert(one:collection("x"):claim "1")
  assert(one:close { keep_claims = true, linger = 30 })
  equal(base:collection("x"):owner("1").instance, "b1")
  time = 1031
  base:poll(0)
  equal(base:collection("x"):owner "1", nil)
  assert(base:collection("x"):put("1", {}))
end)

test("timers fire by the clock that the test sets", function()
  local time = 1000
  local store = stillpoint.memory {
    service = "battle",
    instance = "b1",
    now = function()
      return time
    end,
  }
  local fired = {}
  store:on("timer", function(ev)
    fired[#fired + 1] = ("%s %d %d"):format(ev.name, ev.due, ev.count)
  end)
  equal(store:timer("once", { after = 10, payload = { boss = 1 } }), 1010)
  equal(store:timer("each", { at = 1020, every = 20 }), 1020)
  equal(store:timer("skips", { at = 1020, every = 20, missed = "skip" }), 1020)
  store:poll(0)
  equal(fired, {})
  time = 1010
  store:poll(0)
  store:poll(0)
  equal(fired, { "once 1010 1" })
  -- Two firings of the second timer were missed, and come as one with the third; the third timer drops them.
  time = 1065
  store:poll(0)
  equal(fired, { "once 1010 1", "each 1020 3" })
  time = 1080
  store:poll(0)
  table.sort(fired)
  equal(fired, { "each 1020 3", "each 1080 1", "once 1010 1", "skips 1080 1" })
  equal(store:cancel_timer "each", true)
  equal(store:cancel_timer "once", false)
end)

test("a watch that is too far behind begins anew", function()
  local store = stillpoint.memory()
  local x = store:collection "x"
  local rev = assert(x:put("first", 1))
  assert(x:put("gone", 1))
  assert(x:delete "gone")
  for i = 1, 10000 do
    assert(x:put("k", i))
  end
  local told = {}
  for ev in x:watch { after = rev } do
    told[#told + 1] = { ev.type, ev.key, ev.value }
    if ev.type == "synced" then
      break
    end
  end
  equal(told, { { "resync" }, { "put", "first", 1 }, { "put", "k", 10000 }, { "synced" } })
end)

test("a finalizer that runs within an operation does not disturb it", function()
  local store = stillpoint.memory { service = "battle", instance = "b1" }
  local x = store:collection "x"
  assert(x:put("target", { list = {} }))
  -- A function of its own, so that no slot of the stack holds on to a handle.
  local function drop_one(i)
    assert(x:claim("k" .. i)):set("i", i)
  end
  for i = 1, 300 do
    drop_one(i)
    assert(x:patch("target", { { "set", "n", i }, { "set", "list", { i, i, i } } }))
  end
  collectgarbage()
  collectgarbage()
  store:poll(0)
  equal(x:get("target"), { n = 300, list = { 300, 300, 300 } })
  for i = 1, 300 do
    equal(x:get("k" .. i), { i = i })
    equal(x:owner("k" .. i), nil, i)
  end
end)

spec.finish()
