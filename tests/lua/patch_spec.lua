-- What each step of a patch does to a document, and what it refuses.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, test = spec.equal, spec.test
local array, map, null = stillpoint.array, stillpoint.map, stillpoint.null

local function bytes(value)
  return assert(stillpoint.encode(value))
end

-- Documents with at most one string key per map: then equal documents are equal bytes, marks and all.
test("each step does what it says", function(store)
  local docs = store:collection "doc"
  for i, case in ipairs {
    -- document, step, document after, result
    { {}, { "set", "a", 1 }, { a = 1 }, null },
    { {}, { "set", "", { 1, 2 } }, { 1, 2 }, null },
    { {}, { "set", {}, "text" }, "text", null },
    { { a = 1 }, { "set", "a", { b = array {} } }, { a = { b = array {} } }, null },
    { {}, { "set", "a.b.c", 1 }, { a = { b = { c = 1 } } }, null },
    { { a = { 1, 2 } }, { "set", "a[2]", "x" }, { a = { 1, "x" } }, null },
    { { a = { 1, 2 } }, { "set", "a[-2]", "x" }, { a = { "x", 2 } }, null },
    { { a = { 1, 2 } }, { "set", "a[3]", 3 }, { a = { 1, 2, 3 } }, null },
    { array {}, { "set", "[1]", 1 }, { 1 }, null },
    { { { 1 } }, { "set", "[1][1]", 2 }, { { 2 } }, null },
    { {}, { "set", "[7]", 1 }, map { [7] = 1 }, null },
    { map { [7] = 1 }, { "set", "[7]", 2 }, map { [7] = 2 }, null },
    { {}, { "set", { "a.b" }, 1 }, { ["a.b"] = 1 }, null },
    { { a = 1 }, { "unset", "a" }, {}, true },
    { { a = { b = 1 } }, { "unset", "a.b" }, { a = {} }, true },
    { { a = 1 }, { "unset", "b" }, { a = 1 }, false },
    { { a = 1 }, { "unset", "b.c" }, { a = 1 }, false },
    { { a = 1 }, { "add", "a", 2 }, { a = 3 }, 3 },
    { { a = 1 }, { "add", "a", -2 }, { a = -1 }, -1 },
    { { a = 1 }, { "add", "a", 0.5 }, { a = 1.5 }, 1.5 },
    { {}, { "add", "a.b", 2 }, { a = { b = 2 } }, 2 },
    { 5, { "add", "", 1 }, 6, 6 },
    { { a = { 1, 2 } }, { "add", "a[-1]", 1 }, { a = { 1, 3 } }, 3 },
    { { a = 9 }, { "add", "a", 1, { min = 0, max = 10 } }, { a = 10 }, 10 },
    { {}, { "append", "a", 1, "x" }, { a = { 1, "x" } }, 2 },
    { { a = array {} }, { "append", "a", { 1 } }, { a = { { 1 } } }, 1 },
    { {}, { "append", "a" }, { a = array {} }, 0 },
    { { 1 }, { "append", "", null }, { 1, null }, 2 },
    { { a = { 1, 2, 3 } }, { "remove_at", "a", 1 }, { a = { 2, 3 } }, 1 },
    { { a = { 1, 2, 3 } }, { "remove_at", "a", -1 }, { a = { 1, 2 } }, 3 },
    { { a = { 1 } }, { "remove_at", "a", 1 }, { a = array {} }, 1 },
    { { a = { 1 } }, { "insert", "a", 2 }, { a = { 1, 2 } }, true },
    { { a = { 1 } }, { "insert", "a", 1.0 }, { a = { 1 } }, false },
    { { a = { { b = 1 } } }, { "insert", "a", { b = 1 } }, { a = { { b = 1 } } }, false },
    { {}, { "insert", "a", "x" }, { a = { "x" } }, true },
    { { a = { 1, 2, 1 } }, { "remove", "a", 1 }, { a = { 2, 1 } }, true },
    { { a = { 1 } }, { "remove", "a", 2 }, { a = { 1 } }, false },
    { { a = { "x" } }, { "remove", "a", "x" }, { a = array {} }, true },
    { {}, { "remove", "a", 1 }, {}, false },
  } do
    local before, step, after, result = case[1], case[2], case[3], case[4]
    local name = ("case %d, %s %s"):format(i, step[1], tostring(step[2]))
    assert(docs:put("d", before))
    local rev, err, results = docs:patch("d", { step })
    if not rev then
      error(name .. ": " .. tostring(err))
    end
    equal(bytes(docs:get "d"), bytes(after), name)
    equal(results, { result }, name)
  end
end)

test("each step refuses what it cannot do, and says where", function(store)
  local docs = store:collection "doc"
  for _, case in ipairs {
    { { a = 1 }, { "set", "a.b", 1 }, "step 1 (set a.b): a is an integer; only a map has fields" },
    { { a = { 1 } }, { "set", "a.b", 1 }, "step 1 (set a.b): a is an array; only a map has fields" },
    {
      { a = "x" },
      { "set", "a[1]", 1 },
      "step 1 (set a[1]): a is a string; only an array or a map has numbered places",
    },
    { { a = { 1 } }, { "set", "a[3]", 1 }, "step 1 (set a[3]): a has no element 3: it has 1, numbered from 1" },
    { { a = { 1 } }, { "set", "a[0]", 1 }, "step 1 (set a[0]): a has no element 0: it has 1, numbered from 1" },
    { { a = 1 }, { "unset", "" }, "step 1 (unset the document): the document cannot be unset: delete the record" },
    { { a = { 1 } }, { "unset", "a[1]" }, "step 1 (unset a[1]): an array's elements are removed with remove_at" },
    { { a = "x" }, { "add", "a", 1 }, "step 1 (add a): a is a string, not a number" },
    {
      { a = 1 },
      { "add", "a", 1, { min = 0, max = 1 } },
      "step 1 (add a): adding 1 would make it 2, above its max of 1",
    },
    { { a = 1 }, { "append", "a", 1 }, "step 1 (append a): a is an integer, not an array" },
    { { a = {} }, { "append", "a", 1 }, "step 1 (append a): a is a map, not an array" },
    {
      { a = { 1 } },
      { "remove_at", "a", 2 },
      "step 1 (remove_at a): a has no element 2: it has 1, numbered from 1",
    },
    { {}, { "remove_at", "a", 1 }, "step 1 (remove_at a): a does not exist" },
    { { a = 1 }, { "insert", "a", 1 }, "step 1 (insert a): a is an integer, not an array" },
  } do
    local before, step, message = case[1], case[2], case[3]
    assert(docs:put("d", before))
    local rev, err = docs:patch("d", { step })
    equal(rev, nil, message)
    -- The contract calls the two set steps by longer names than Lua does.
    equal(err.message:gsub("set_insert", "insert"):gsub("set_remove", "remove"), message)
    equal(err.reason, message:find "above" and "bound_violation" or "invalid", message)
    equal(bytes(docs:get "d"), bytes(before), message)
  end
end)

test("a malformed step or path is refused", function(store)
  local docs = store:collection "doc"
  assert(docs:put("d", { a = { 1 } }))
  for _, step in ipairs {
    { "grow", "a", 1 },
    { "set", "a..b", 1 },
    { "set", "a[", 1 },
    { "set", "a[x]", 1 },
    { "set", ".a", 1 },
    { "set", "a.", 1 },
    { "set", { "a", {} }, 1 },
    { "set", 5, 1 },
    { "add", "b", "five" },
    { "add", "b" },
    { "remove_at", "a", 1.5 },
    { "remove_at", "a" },
    {},
  } do
    local rev, err = docs:patch("d", { step })
    local name = ("%s %s"):format(tostring(step[1]), tostring(step[2]))
    equal({ rev, err and err.reason }, { nil, "invalid" }, name)
  end
  equal(docs:read("d").version, 1)
end)

spec.finish()
