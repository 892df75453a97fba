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

spec.finish()
