-- The claimed document in `stillpoint bench --succession`: how fast it is read and changed. For claimed.rs.

local stillpoint = require "stillpoint"
local now = require("stillpoint_core").now

local url, namespace, instance, seconds = ...
seconds = tonumber(seconds)

local store = assert(stillpoint.connect {
  url,
  namespace = namespace,
  service = "bench",
  instance = instance,
  deadline = 30,
  client_name = "stillpoint bench",
})
local player = assert(store:collection("claimed"):claim(instance))
assert(player:put { name = "Ann of the Bench", gold = 0, pos = { x = 12.5, y = -3.25 }, bag = { "sword", "rope" } })
assert(player:save())

-- The clock is looked at so rarely that it does not count.
local STEPS = 1000

-- Does something again and again, then what ends it; says how often in how many seconds.
local function measure(what, step, finish)
  local begun, times = now(), 0
  repeat
    for _ = 1, STEPS do
      step()
    end
    times = times + STEPS
  until now() - begun >= seconds
  finish()
  print(("%s %d %.9f"):format(what, times, now() - begun))
end

local function nothing() end

local sum = 0
measure("field", function()
  sum = sum + player.value.pos.x
end, nothing)
measure("path", function()
  sum = sum + player:get "pos.x"
end, nothing)
measure("add", function()
  assert(player:add("gold", 1))
end, function()
  assert(player:save(30))
end)
assert(store:close())
