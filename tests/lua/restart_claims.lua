-- A process that owns two documents, and changes both alike: of one each change leaves at once, of the other only those
-- that it saves.

local talk = require "talk"

local store = talk.connect "bank"
local accounts = store:collection "account"

local docs = {}

local function claim()
  for i, key in ipairs { "ann", "bob" } do
    docs[i] = assert(accounts:claim(key, { autosave = (i - 1) * 3600, unsaved_max = 64 }))
  end
end

claim()
for _, doc in ipairs(docs) do
  if doc.value == nil then
    assert(doc:put { gold = 0 })
    assert(doc:save())
  end
end

local function gold()
  return docs[1].value.gold, docs[2].value.gold
end

talk.say(gold())
talk.obey {
  add = function(times)
    for _ = 1, tonumber(times) do
      for _, doc in ipairs(docs) do
        assert(doc:add("gold", 1, { min = 0 }))
      end
    end
    return gold()
  end,
  save = function()
    local outcome = {}
    for i, doc in ipairs(docs) do
      local ok, err = doc:save()
      outcome[i] = ok and "saved" or err.reason
    end
    return (table.unpack or unpack)(outcome)
  end,
  claim = function()
    claim()
    return gold()
  end,
  tokens = function()
    return docs[1].token, docs[2].token
  end,
  put = function(value)
    local ok, err = accounts:put("ann", { gold = tonumber(value) })
    return ok and "done" or err.reason
  end,
  lose = function()
    talk.await(store, "others have the documents", function()
      return not docs[1]:owned() and not docs[2]:owned()
    end)
    return "lost"
  end,
}
