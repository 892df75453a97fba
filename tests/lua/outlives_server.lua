-- A process that lives through the death of its store. Says what it does, a line each, and goes on when it is told to.

local stillpoint = require "stillpoint"

local store = assert(stillpoint.connect { os.getenv "STILLPOINT_SPEC_URL", namespace = "spec", deadline = 20 })
local counters = store:collection "counter"

local function say(...)
  print(...)
  io.stdout:flush()
  io.read "*l"
end

say(assert(counters:add("a", "n", 1, { create = true })))
-- The store is dead, and nobody starts it.
local _, err = counters:add("a", "n", 1, { deadline = 0.3 })
say(err.reason)
-- It was started again, on the same data.
say(assert(counters:add("a", "n", 1)))
-- It was killed and started again at once.
say(assert(counters:add("a", "n", 1)))
