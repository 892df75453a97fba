-- A table of bad input with the exact error for each. The store takes the collection "player" only.
-- (A NaN cannot become a key of a Lua table, and a Lua string that is not UTF-8 is stored as binary; what other programs
-- send of that kind is refused by the store itself, in store-server/tests/value and tests/tests/bounds.rs.)

local stillpoint = require "stillpoint"

local url = os.getenv "STILLPOINT_SPEC_URL"
local store = assert(stillpoint.connect { url, namespace = "spec" })
local players = store:collection "player"
assert(players:put("ann", { name = "Ann" }))

local function put(value)
  return function()
    return players:put("1", value)
  end
end

local cycle = { name = "x" }
cycle.self = { cycle }
local deep = {}
local bottom = deep
for _ = 1, 65 do
  bottom.a = {}
  bottom = bottom.a
end

local cases = {
  -- What cannot be stored, with its place.
  { put(("x"):rep(2000000)), "too_large: value has 2000005 bytes, the limit is 1048576" },
  { put(deep), "too_large: nested deeper than 64 levels (at a.a.a.a.a.a.a.a...)" },
  { put(cycle), "invalid: cannot store a table that contains itself (at self[1])" },
  { put { players = { {}, {}, { bag = print } } }, "invalid: cannot store a function (at players[3].bag)" },
  { put { 1, 2, a = 3 }, 'invalid: cannot store a table with mixed keys, [1] and ["a"]: mark it with stillpoint.map{}' },
  {
    put { 1, nil, 3 },
    "invalid: cannot store an array with a hole at [2]: fill it with stillpoint.null or mark it with stillpoint.map{}",
  },
  -- Keys, names and types.
  {
    function()
      return players:put("", 1)
    end,
    "invalid: the key is empty: use 1 to 512 bytes",
  },
  {
    function()
      return players:put(("k"):rep(513), 1)
    end,
    "invalid: the key has 513 bytes: use 1 to 512",
  },
  {
    function()
      return players:put({}, 1)
    end,
    raises = "key: a string expected, got a table",
  },
  {
    function()
      return players:put("1", 1, 7)
    end,
    raises = "options: a table expected, got a number",
  },
  {
    function()
      return store:collection "Player"
    end,
    raises = 'invalid collection name "Player": use 1 to 64 of a-z 0-9 _ . -',
  },
  {
    function()
      return store:collection("playr"):get "1"
    end,
    'invalid: unknown collection "playr": this server takes only those declared in its settings (collections, '
      .. "declared_only)",
  },
  -- Changes that do not fit the document.
  {
    function()
      return players:add("ann", "name", 1)
    end,
    "invalid: step 1 (add name): name is a string, not a number",
  },
  {
    function()
      return players:add("ann", "bag[", 1)
    end,
    'invalid: step 1: invalid path "bag[": a field or [number] expected at byte 4',
  },
  {
    function()
      return players:add("nobody", "gold", 1)
    end,
    "version_conflict: player/nobody: the record does not exist: patch with `create`, or put it first",
  },
  -- The way to the store.
  {
    function()
      return players:get("ann", { deadline = 1e-9 })
    end,
    "deadline_exceeded: no answer within 1ns: sent to " .. url .. ", no answer",
    "deadline_exceeded: no answer within 1ns: the deadline had passed before the operation was sent",
  },
  {
    function()
      return stillpoint.connect { "unix:./nowhere/stillpoint.sock", deadline = 0.2 }
    end,
    "unavailable: no server at unix:./nowhere/stillpoint.sock: No such file or directory (os error 2); start one with "
      .. "`stillpoint serve`",
  },
  {
    function()
      store:close()
      return players:get "ann"
    end,
    raises = "the store is closed",
  },
}

for i, case in ipairs(cases) do
  local returned, value, err = pcall(case[1])
  local got, expected
  if case.raises then
    got, expected = returned and "nothing raised" or tostring(value), case.raises
    -- A raised message begins with the place it is raised from.
    got = got:sub(-#expected)
  else
    got = returned and value == nil and tostring(err) or ("no error, but " .. tostring(value))
    expected = got == case[3] and case[3] or case[2]
  end
  if got ~= expected then
    error(("case %d:\n  got      %s\n  expected %s"):format(i, got, expected))
  end
end
print(#cases .. " kinds of bad input were refused as they should")
