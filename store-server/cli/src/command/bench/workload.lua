-- One cell of `stillpoint bench`, through the Lua client; lua_driver.rs is at the other end of the pipes.

local stillpoint = require "stillpoint"
local now = require("stillpoint_core").now

local url, namespace, collection, write, in_flight, warm_up, seconds, padding = ...
in_flight = tonumber(in_flight)

local store = assert(stillpoint.connect { url, namespace = namespace, client_name = "stillpoint bench", deadline = 30 })
local players = store:collection(collection)

-- The same document is in records.rs.
local document = {
  name = "Ann of the Bench",
  gold = 1,
  level = 7,
  pos = { x = 12.5, y = -3.25 },
  bag = { "sword", "rope" },
  note = ("x"):rep(tonumber(padding)),
}

local function earn(player)
  player.gold = player.gold + 1
  return player
end

local keys, reads = {}, {}
for pick in io.read("l"):gmatch "%S+" do
  local number = math.tointeger(tonumber(pick))
  keys[#keys + 1] = ("player-%08d"):format(math.abs(number) - 1)
  reads[#reads + 1] = number > 0
end

local at = 0

-- Does the next operation.
local function step()
  at = at % #keys + 1
  local key = keys[at]
  if reads[at] then
    assert(players:get(key))
  elseif write == "put" then
    assert(players:put(key, document))
  else
    assert(players:update(key, earn))
  end
end

-- How many operations took so many microseconds; longer ones are told apart less finely.
local function count(counts, took)
  local us = took * 1000000 // 1
  local grain = us < 1000 and 1 or us < 100000 and 100 or 10000
  us = us - us % grain
  counts[us] = (counts[us] or 0) + 1
end

local function run(time)
  local counts = {}
  local begun = now()
  local function work()
    local from = now()
    while from < begun + time do
      step()
      local to = now()
      count(counts, to - from)
      from = to
    end
  end
  if in_flight == 1 then
    work()
  else
    for _ = 1, in_flight do
      store:go(work)
    end
    store:run()
  end
  return counts, now() - begun
end

run(tonumber(warm_up))
print "warm"
io.flush()
assert(io.read "l" == "go")
local counts, elapsed = run(tonumber(seconds))
print("done", elapsed)
for us, times in pairs(counts) do
  print(("%d %d"):format(us, times))
end
print "end"
store:close()
