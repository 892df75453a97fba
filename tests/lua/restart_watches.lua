-- A process that says what two watches tell: one with a callback, and one that it goes over. Both keep a cursor.

local talk = require "talk"

local store = talk.connect "auditor"
local numbers = store:collection "number"

local function say(which, ev)
  assert(ev.type == "put", ev.type)
  talk.say(which, ev.value, ev.rev)
end

local called_last
assert(numbers:watch({ cursor = "callback" }, function(ev)
  say("callback", ev)
  called_last = ev.value == 0
end))
local iterated = numbers:watch { cursor = "iterator" }
talk.say "ready"
for ev in iterated do
  say("iterator", ev)
  if ev.value == 0 then
    break
  end
end
talk.await(store, "the callback gets the last", function()
  return called_last
end)
-- The event at hand is handled when the next one is asked for.
iterated:next(0)
assert(store:close())
talk.say "closed"
