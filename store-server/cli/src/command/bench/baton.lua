-- A process of a planned restart in `stillpoint bench --succession`: takes over, writes, is told to leave, writes once
-- more, leaves; succession.rs is at the other end of the pipes.

local stillpoint = require "stillpoint"
local now = require("stillpoint_core").now

local url, namespace, instance = ...

local function say(word, at)
  print(("%s %.9f"):format(word, at))
  io.flush()
end

say("starts", now())
local store = assert(stillpoint.connect {
  url,
  namespace = namespace,
  service = "bench",
  instance = instance,
  session_wait = 30,
  deadline = 30,
  client_name = "stillpoint bench",
})
local baton = assert(store:collection("baton"):claim(instance))

local function write()
  assert(baton:add("writes", 1))
  assert(baton:save())
  return now()
end

say("first", write())
assert(io.read "l" == "leave")
local last = write()
assert(store:drain())
say("last", last)
