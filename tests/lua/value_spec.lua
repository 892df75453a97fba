-- Values come back as they were stored: marks, null, 64-bit integers, extensions.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, test = spec.equal, spec.test
local array, map, null = stillpoint.array, stillpoint.map, stillpoint.null

local function round_trip(store, value)
  local values = store:collection "value"
  assert(values:put("v", value))
  return values:get "v"
end

test("plain values come back as they were", function(store)
  for _, value in ipairs {
    true,
    false,
    0,
    -1,
    2 ^ 53,
    -2 ^ 53,
    1.5,
    -1e300,
    math.huge,
    "",
    "text",
    "gr\195\188n",
    "\255\0binary",
    { 1, 2, { 3 } },
    { a = { b = { c = {} } } },
    { { name = "x" }, {} },
  } do
    equal(round_trip(store, value), value)
  end
  local nan = round_trip(store, 0 / 0)
  assert(nan ~= nan)
end)

test("integers and floats keep their kind where Lua tells them apart", function(store)
  if not math.type then
    spec.not_here "this Lua has one kind of number"
  end
  for _, value in ipairs { 1, 1.0, math.mininteger, math.maxinteger, 2.0 ^ 53 } do
    equal(math.type(round_trip(store, value)), math.type(value))
    equal(round_trip(store, value), value)
  end
end)

test("the marks of arrays and maps come back", function(store)
  local values = store:collection "value"
  assert(values:put("v", { empty = array(), plain = {} }))
  local value = values:get "v"
  table.insert(value.empty, 1)
  value.plain[1] = "now an array"
  assert(values:put("v", value))
  equal(values:get "v", { empty = { 1 }, plain = { "now an array" } })

  assert(values:put("v", array {}))
  assert(values:patch("v", { { "append", "", 1 } }))
  equal(values:get "v", { 1 })

  local mixed = map { [10] = "a", [20] = "b", name = "c", [true] = "d" }
  equal(round_trip(store, mixed), mixed)
  equal(getmetatable(round_trip(store, mixed)), getmetatable(mixed))
end)

test("null stands for nothing, and nothing else does", function(store)
  equal(round_trip(store, { null, 1, null }), { null, 1, null })
  equal(round_trip(store, { a = null }).a, null)
  assert(null ~= nil and null)
end)

test("64-bit integers are exact", function(store)
  for _, digits in ipairs {
    "0",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
  } do
    local value = stillpoint.int64(digits)
    local back = round_trip(store, { id = value }).id
    assert(back == value, digits)
    equal((tostring(back):gsub("U?LL$", "")), digits)
  end
  equal(stillpoint.int64(5), 5)
end)

test("extensions come back", function(store)
  local value = round_trip(store, stillpoint.ext(7, "\0\1\2"))
  equal({ value.type, value.data }, { 7, "\0\1\2" })
  equal(getmetatable(value), getmetatable(stillpoint.ext(1, "")))
end)

test("encode and decode are inverse, and say what is wrong", function()
  local bytes = assert(stillpoint.encode { a = { 1, "x", null } })
  equal(stillpoint.decode(bytes), { a = { 1, "x", null } })
  local value, message = stillpoint.decode "\193"
  equal({ value, type(message) }, { nil, "string" })
  value, message = stillpoint.decode(bytes .. "x")
  equal({ value, type(message) }, { nil, "string" })
end)

spec.finish()
