-- A process that says what it was told of its connection, its session and what it watches.

local talk = require "talk"

local store = talk.connect "battle"
local heard, seen = {}, {}

for _, kind in ipairs { "reconnected", "shutting_down", "restored", "fenced" } do
  store:on(kind, function(ev)
    assert(ev.type == kind)
    heard[#heard + 1] = ev.incarnation and ("%s(%d)"):format(kind, ev.incarnation) or kind
  end)
end
assert(store:collection("player"):watch({}, function(ev)
  seen[#seen + 1] = ev.key and ("%s(%s)"):format(ev.type, ev.key) or ev.type
end))

-- Waits until the last word is there, and takes all.
local function take(words, last)
  talk.await(store, last, function()
    return words[#words] and words[#words]:match "^%w+_?%w*" == last
  end)
  local all = table.concat(words, " ")
  for i in ipairs(words) do
    words[i] = nil
  end
  return all
end

talk.say "ready"
talk.obey {
  hear = function(last)
    return take(heard, last)
  end,
  watch = function(last)
    return take(seen, last)
  end,
  session = function()
    talk.await(store, "attached", function()
      return store:session().state == "attached"
    end)
    return store:session().fence
  end,
  put = function(key)
    local rev, err = store:collection("player"):put(key, true)
    return rev and "done" or err.reason
  end,
}
