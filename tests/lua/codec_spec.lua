-- The codec: MessagePack vectors in both directions for every type and width, and a table of what is refused and how.
-- Runs under every Lua version with the module as it ships.

local core = require "stillpoint_core"

local has_integers = math.type ~= nil
local is_jit = rawget(_G, "jit") ~= nil

local function hex(bytes)
    return (bytes:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
    end))
end

local function unhex(text)
    return (text:gsub("%s", ""):gsub("%x%x", function(digits)
        return string.char(tonumber(digits, 16))
    end))
end

local function array(t)
    return setmetatable(t, core.array_mt)
end
local function map(t)
    return setmetatable(t, core.map_mt)
end
local function ext(kind, data)
    return setmetatable({ type = kind, data = data }, core.ext_mt)
end
local function big(digits)
    return assert(core.int64(digits))
end

-- What a value is, exactly: its kind, its marks, its contents.
local function describe(value)
    if value == core.null then
        return "null"
    elseif type(value) == "number" then
        if has_integers then
            return math.type(value) .. " " .. ("%.17g"):format(value)
        end
        return "number " .. ("%.17g"):format(value) .. (value == 0 and 1 / value < 0 and " negative zero" or "")
    elseif type(value) == "string" then
        return "string " .. hex(value)
    elseif type(value) ~= "table" then
        return type(value) .. " " .. tostring(value)
    end
    local mt = getmetatable(value)
    if mt == core.int64_mt then
        return "int64 " .. tostring(value)
    end
    local name = mt == nil and "plain"
        or mt == core.array_mt and "array"
        or mt == core.map_mt and "map"
        or mt == core.ext_mt and "ext"
        or "unknown"
    local entries = {}
    for k, v in pairs(value) do
        entries[#entries + 1] = describe(k) .. "=" .. describe(v)
    end
    table.sort(entries)
    return name .. "{" .. table.concat(entries, ",") .. "}"
end

local function equal(got, expected, what)
    if got ~= expected then
        error(("%s:\n  got      %s\n  expected %s"):format(what, tostring(got), tostring(expected)), 2)
    end
end

local count = 0

-- Both directions: the value is written so, and these bytes are read as that.
local function both(value, bytes)
    count = count + 1
    local encoded, why = core.encode(value)
    equal(encoded and hex(encoded) or why, (bytes:gsub("%s", "")), "encode " .. describe(value))
    local decoded, problem = core.decode(unhex(bytes))
    equal(decoded ~= nil and describe(decoded) or problem, describe(value), "decode " .. bytes)
end

-- These bytes are read as that, though it would be written otherwise.
local function reads(bytes, value)
    count = count + 1
    local decoded, problem = core.decode(unhex(bytes))
    equal(decoded ~= nil and describe(decoded) or problem, describe(value), "decode " .. bytes)
end

-- The value is written so, though these bytes are read as something else.
local function writes(value, bytes)
    count = count + 1
    local encoded, why = core.encode(value)
    equal(encoded and hex(encoded) or why, (bytes:gsub("%s", "")), "encode " .. describe(value))
end

local function refuses(message, ...)
    count = count + 1
    local encoded, why = core.encode(...)
    equal(encoded and hex(encoded), nil, "encoded in spite of: " .. message)
    equal(why, message, "refusal")
end

local function malformed(bytes, message)
    count = count + 1
    local decoded, why = core.decode(unhex(bytes))
    equal(decoded, nil, "decoded " .. bytes)
    equal(why, "not a MessagePack value: " .. message, "decode " .. bytes)
end

-- nil, booleans
both(core.null, "c0")
both(false, "c2")
both(true, "c3")

-- Integers: every form at both its ends.
both(0, "00")
both(1, "01")
both(127, "7f")
both(128, "cc80")
both(255, "ccff")
both(256, "cd0100")
both(65535, "cdffff")
both(65536, "ce00010000")
both(4294967295, "ceffffffff")
both(4294967296, "cf0000000100000000")
both(9007199254740991, "cf001fffffffffffff")
both(9007199254740992, "cf0020000000000000")
both(-1, "ff")
both(-32, "e0")
both(-33, "d0df")
both(-128, "d080")
both(-129, "d1ff7f")
both(-32768, "d18000")
both(-32769, "d2ffff7fff")
both(-2147483648, "d280000000")
both(-2147483649, "d3ffffffff7fffffff")
both(-9007199254740991, "d3ffe0000000000001")
both(-9007199254740992, "d3ffe0000000000000")

-- Beyond what a float holds.
both(big "9007199254740993", "cf0020000000000001")
both(big "9223372036854775807", "cf7fffffffffffffff")
both(big "9223372036854775808", "cf8000000000000000")
both(big "18446744073709551615", "cfffffffffffffffff")
both(big "-9007199254740993", "d3ffdfffffffffffff")
both(big "-9223372036854775808", "d38000000000000000")
both({ id = big "9007199254740993" }, "81 a26964 cf0020000000000001")

-- Integers in wider forms than they need.
reads("cc01", 1)
reads("cd0001", 1)
reads("ce00000001", 1)
reads("cf0000000000000001", 1)
reads("d001", 1)
reads("d0ff", -1)
reads("d1ffff", -1)
reads("d2ffffffff", -1)
reads("d3ffffffffffffffff", -1)
reads("d30000000000000001", 1)

-- Floats
both(1.5, "cb3ff8000000000000")
both(-0.5, "cbbfe0000000000000")
both(math.huge, "cb7ff0000000000000")
both(-math.huge, "cbfff0000000000000")
both(2 ^ 63 * 4, "cb4400000000000000")
both(5e-324, "cb0000000000000001")
local negative_zero = core.decode(unhex "cb8000000000000000")
equal(1 / negative_zero, -math.huge, "negative zero is kept")
writes(negative_zero, "cb8000000000000000")
reads("ca3fc00000", 1.5)
reads("caff800000", -math.huge)
local nan = core.decode(unhex "cb7ff8000000000000")
assert(nan ~= nan, "NaN is a value")
equal(#assert(core.encode(nan)), 9, "NaN is written")
if has_integers then
    both(1.0, "cb3ff0000000000000")
    both(2.0 ^ 53, "cb4340000000000000")
else
    writes(1.0, "01")
    writes(2 ^ 53 + 2, "cb4340000000000001")
end

-- Strings: UTF-8 is str, all else bin; the widths.
both("", "a0")
both("a", "a161")
both("h\195\169", "a368c3a9")
both(("x"):rep(31), "bf" .. ("78"):rep(31))
both(("x"):rep(32), "d920" .. ("78"):rep(32))
both(("x"):rep(255), "d9ff" .. ("78"):rep(255))
both(("x"):rep(256), "da0100" .. ("78"):rep(256))
both(("x"):rep(65535), "daffff" .. ("78"):rep(65535))
both(("x"):rep(65536), "db00010000" .. ("78"):rep(65536))
both("\0", "a100")
both("\255", "c401ff")
both("\192\128", "c402c080")
both("\237\160\128", "c403eda080")
both("a\200", "c40261c8")
both(("\255"):rep(255), "c4ff" .. ("ff"):rep(255))
both(("\255"):rep(256), "c50100" .. ("ff"):rep(256))
both(("\255"):rep(65535), "c5ffff" .. ("ff"):rep(65535))
both(("\255"):rep(65536), "c600010000" .. ("ff"):rep(65536))
reads("c40161", "a")
reads("d90161", "a")
reads("da000161", "a")
reads("db0000000161", "a")
reads("c5000161", "a")
reads("c60000000161", "a")

-- Arrays
local function ones(n)
    local t = {}
    for i = 1, n do
        t[i] = 1
    end
    return t
end
both(array {}, "90")
both({ 1 }, "9101")
both({ 1, "a", true }, "9301a161c3")
both({ core.null, 1, core.null }, "93c001c0")
both({ { { 1 } } }, "919191 01")
both(ones(15), "9f" .. ("01"):rep(15))
both(ones(16), "dc0010" .. ("01"):rep(16))
both(ones(65535), "dcffff" .. ("01"):rep(65535))
both(ones(65536), "dd00010000" .. ("01"):rep(65536))
writes(array { 1, 2 }, "920102")
reads("dc0000", array {})
reads("dd00000000", array {})
reads("dd0000000101", { 1 })

-- Arrays filled in other orders, so that Lua keeps them elsewhere.
local backwards = {}
for i = 40, 1, -1 do
    backwards[i] = i
end
equal(hex(core.encode(backwards)):sub(1, 12), "dc0028010203", "an array filled backwards")
local emptied = { 1, 2, 3, 4, x = 1 }
emptied.x, emptied[4] = nil, nil
writes(emptied, "93010203")

-- Maps
local function letters(n)
    local t = {}
    for i = 1, n do
        t["k" .. i] = i
    end
    return t
end
both({}, "80")
both({ a = 1 }, "81a16101")
both({ a = { b = array {} } }, "81a161 81a162 90")
writes(map {}, "80")
writes(map { a = 1 }, "81a16101")
both(map { [1] = "a" }, "8101a161")
both(map { [-1] = "a" }, "81ffa161")
both(map { [5] = true }, "8105c3")
both(map { [1.5] = true }, "81cb3ff8000000000000c3")
both(map { [true] = false }, "81c3c2")
reads("81ca3fc0000001", map { [1.5] = 1 })
reads("81c40161 01", { a = 1 })
reads("81cc0101", map { [1] = 1 })
reads("de0001a16101", { a = 1 })
reads("df00000001a16101", { a = 1 })
reads("81d90161 01", { a = 1 })
for _, n in ipairs { 15, 16, 17, 65535, 65536, 65537 } do
    local encoded = assert(core.encode(letters(n)))
    local header = n < 16 and ("%02x"):format(0x80 + n) or n < 65536 and ("de%04x"):format(n) or ("df%08x"):format(n)
    equal(hex(encoded:sub(1, #header / 2)), header, "header of a map of " .. n)
    equal(describe(core.decode(encoded)), describe(letters(n)), "a map of " .. n)
    equal(hex(core.encode(map(letters(n))):sub(1, #header / 2)), header, "header of a marked map of " .. n)
end
local mixed = map { [1] = "one", name = "n", [true] = 2.5, [-7] = { 1 } }
equal(describe(core.decode(core.encode(mixed))), describe(mixed), "a map of mixed keys")
local by_id = core.decode(unhex "81 cfffffffffffffffff 01")
equal(describe(by_id):match "^%a+", "map", "a map by a 64-bit integer")
equal(hex(core.encode(by_id)), "81cfffffffffffffffff01", "a map by a 64-bit integer")

-- Extension values
both(ext(1, ""), "c70001")
both(ext(1, "a"), "d40161")
both(ext(-1, "ab"), "d5ff6162")
both(ext(5, "abc"), "c703056162 63")
both(ext(5, "abcd"), "d60561626364")
both(ext(127, ("x"):rep(8)), "d77f" .. ("78"):rep(8))
both(ext(-128, ("x"):rep(16)), "d880" .. ("78"):rep(16))
both(ext(2, ("x"):rep(255)), "c7ff02" .. ("78"):rep(255))
both(ext(2, ("x"):rep(256)), "c8010002" .. ("78"):rep(256))
both(ext(2, ("x"):rep(65536)), "c90001000002" .. ("78"):rep(65536))
reads("c7010161", ext(1, "a"))
reads("c800010161", ext(1, "a"))
reads("c9000000010161", ext(1, "a"))

-- What cannot be stored.
local function f() end
local loop = { name = "x" }
loop.children = { { parent = loop } }
local deep = {}
local bottom = deep
for _ = 1, 64 do
    bottom.a = {}
    bottom = bottom.a
end
local function nested(levels)
    local t = array {}
    for _ = 2, levels do
        t = { t }
    end
    return t
end

refuses("cannot store a function", f)
refuses("cannot store a function (at a)", { a = f })
refuses("cannot store a function (at players[3].bag)", { players = { {}, {}, { bag = f } } })
refuses("cannot store a function (at [1][2])", { { 1, f } })
refuses('cannot store a function (at x["a b"].y)', { x = { ["a b"] = { y = f } } })
refuses('cannot store a function (at ["\\255"])', { ["\255"] = f })
refuses("cannot store a function (at [true])", map { [true] = f })
refuses("cannot store a function (at [-3].x)", map { [-3] = { x = f } })
refuses("cannot store a coroutine (at co)", { co = coroutine.create(f) })
refuses("cannot store a userdata (at file)", { file = io.stdout })
refuses("cannot store nil: use stillpoint.null", nil)
refuses("cannot store a table that contains itself (at children[1].parent)", loop)
refuses("nested deeper than 64 levels (at a.a.a.a.a.a.a.a...)", deep)
refuses("nested deeper than 3 levels (at [1][1][1])", nested(4), 100, 3)
refuses("nested deeper than 0 levels", {}, 100, 0)
refuses("value has 102 bytes, the limit is 50", ("x"):rep(100), 50)
refuses("value has 12 bytes, the limit is 11", { a = "12345678" }, 11)
refuses("cannot store a table with mixed keys, [1] and [\"x\"]: mark it with stillpoint.map{}", { 1, 2, x = 3 })
refuses(
    "cannot store a table with mixed keys, [1] and [\"x\"]: mark it with stillpoint.map{} (at a)",
    { a = { [1] = 1, x = 3 } }
)
refuses(
    "cannot store an array with a hole at [3]: fill it with stillpoint.null or mark it with stillpoint.map{} (at list)",
    { list = { 1, 2, nil, 4 } }
)
refuses(
    "cannot store an array with a hole at [1]: fill it with stillpoint.null or mark it with stillpoint.map{}",
    { [2] = 1 }
)
refuses(
    "cannot store an array with a hole at [2]: fill it with stillpoint.null or mark it with stillpoint.map{}",
    array { [1] = 1, [1000000] = 1 }
)
refuses("cannot store a table with the key [0]: mark it with stillpoint.map{}", { [0] = 1 })
refuses("cannot store a table with the key [-1]: mark it with stillpoint.map{} (at a)", { a = { [-1] = 1 } })
refuses("cannot store a table with the key [1.5]: mark it with stillpoint.map{}", { [1.5] = 1 })
refuses("cannot store a table with the key [true]: mark it with stillpoint.map{}", { [true] = 1 })
refuses("cannot store a table with a function as a key", { [f] = 1 })
refuses("cannot store a table with a table as a key (at a)", { a = { [{}] = 1 } })
refuses("cannot store a map with a table as a key", map { [{}] = 1 })
refuses("cannot store a map with a function as a key", map { [f] = 1 })
refuses('cannot store an array with the key ["x"]: its keys are 1..n', array { x = 1 })
refuses("cannot store an array with the key [0]: its keys are 1..n", array { [0] = 1 })
refuses("cannot store a table with the metatable: store its plain data (at a)", { a = setmetatable({}, {}) })
refuses(
    'cannot store a table with the metatable "Player": store its plain data (at a[1])',
    { a = { setmetatable({}, { __name = "Player" }) } }
)
local bad_ext = "an extension value is { type = -128..127, data = string }"
refuses(bad_ext, ext(128, ""))
refuses(bad_ext, ext(1, 5))
refuses(bad_ext, ext(1.5, ""))
refuses(bad_ext .. " (at x)", { x = ext(nil, "") })
refuses(bad_ext, setmetatable({ type = 1, data = "", more = 1 }, core.ext_mt))
local bad_int64 = "a 64-bit integer is { hi = 0..2^32-1, lo = 0..2^32-1, unsigned = boolean }"
refuses(bad_int64 .. " (at n)", { n = setmetatable({ hi = -1, lo = 0, unsigned = false }, core.int64_mt) })
refuses(bad_int64, setmetatable({ hi = 1 }, core.int64_mt))
refuses(bad_int64, setmetatable({ hi = 1, lo = 2, unsigned = false, x = 1 }, core.int64_mt))
if is_jit then
    local ok, ffi = pcall(require, "ffi")
    if ok then
        refuses("cannot store a cdata that is not a 64-bit integer (at a)", { a = ffi.new "int[2]" })
        equal(hex(core.encode(ffi.new("int64_t", -5))), "fb", "an int64_t")
        equal(hex(core.encode(ffi.new("uint64_t", 5))), "05", "a uint64_t")
    end
end

-- The limits themselves are allowed, and a shared table that is no cycle.
assert(core.encode(nested(64)))
assert(core.encode(nested(200), 1000, 200))
assert(describe(core.decode(core.encode(nested(512), 1000, 512))) == describe(nested(512)))
assert(core.encode(("x"):rep(98), 100))
local shared = { 1 }
both({ shared, shared }, "92 9101 9101")

-- One table contained exponentially often is stopped, not written.
local bomb = { "boom" }
for _ = 1, 60 do
    bomb = { bomb, bomb }
end
refuses("value has more than 800000 bytes, the limit is 100000", bomb, 100000)

-- A refusal leaves nothing behind: the next value is written as ever.
both({ a = 1 }, "81a16101")

-- What is not a value.
malformed("", "it ends early at byte 0")
malformed("c1", "the reserved type 0xc1 at byte 1")
malformed("0101", "more bytes than the value has at byte 1")
malformed("92 01", "it ends early at byte 1")
malformed("81 a161", "it ends early at byte 3")
malformed("a5 61", "it ends early at byte 1")
malformed("cd 01", "it ends early at byte 1")
malformed("ddffffffff", "it ends early at byte 5")
malformed("dfffffffff 00", "it ends early at byte 5")
malformed("81 c0 01", "a key that is not a scalar at byte 1")
malformed("81 90 01", "a key that is not a scalar at byte 1")
malformed("81 cb7ff8000000000000 01", "a key that is not a number (NaN) at byte 10")
malformed("d5 01 61", "it ends early at byte 2")
malformed(("91"):rep(513) .. "90", "nesting deeper than 512 levels at byte 513")
for length = 0, 40 do
    local whole = core.encode { a = { 1, 2.5, "text", core.null }, b = ext(3, "abc"), [("k"):rep(3)] = { x = false } }
    if length < #whole then
        assert(core.decode(whole:sub(1, length)) == nil)
    end
end

-- Any bytes at all: an answer, never a crash.
local seed = 42
local function random()
    seed = (seed * 16807) % 2147483647
    return seed
end
for _ = 1, 20000 do
    local bytes = {}
    for i = 1, random() % 24 do
        bytes[i] = string.char(random() % 256)
    end
    local value = core.decode(table.concat(bytes))
    if value ~= nil then
        local again = core.encode(value)
        if again then
            equal(describe(core.decode(again)), describe(value), "a second round trip of " .. hex(table.concat(bytes)))
        end
    end
end

-- Metamethods are never run.
local function never()
    error "a metamethod was run"
end
local traps = { __index = never, __newindex = never, __len = never, __pairs = never, __eq = never, __call = never }
local saved = {}
for name, trap in pairs(traps) do
    saved[name] = core.map_mt[name]
    core.map_mt[name] = trap
end
local ok, trapped = pcall(function()
    return core.encode(rawset(setmetatable({}, core.map_mt), 1, 2)), core.decode(unhex "810102")
end)
for name in pairs(traps) do
    core.map_mt[name] = saved[name]
end
assert(ok, trapped)

-- 64-bit integers
equal(tostring(big "18446744073709551615"):gsub("ULL$", ""), "18446744073709551615", "tostring of 2^64-1")
equal(tostring(big "-9223372036854775808"):gsub("LL$", ""), "-9223372036854775808", "tostring of -2^63")
assert(big "9223372036854775808" == big "9223372036854775808")
assert(big "9223372036854775808" ~= big "9223372036854775809")
assert(big "9223372036854775808" < big "9223372036854775809")
assert(big "18446744073709551615" >= big "18446744073709551615")
local less = big "18446744073709551615" < big "9223372036854775808"
equal(less, false, "the largest is not less")
equal(core.int64(42), 42, "a small one is a number")
equal(core.int64 "-42", -42, "a small one is a number")
for _, bad in ipairs { "", "x", "1.5", "18446744073709551616", "-9223372036854775809", 1.5, 2 ^ 64 } do
    local value, why = core.int64(bad)
    equal(value, nil, "core.int64 of " .. tostring(bad))
    equal(why, "not an integer from -2^63 to 2^64-1", "core.int64 of " .. tostring(bad))
end

-- Misuse raises.
local raised, why = pcall(core.decode, 5)
assert(not raised and why == "bad argument #1 to 'decode' (string expected)", why)
raised, why = pcall(core.encode, 1, "x")
assert(not raised and why == "bad argument #2 to 'encode' (max_bytes is a whole number)", why)

-- From within coroutines, with little stack left, and while a finalizer encodes, too.
local inside = coroutine.wrap(function()
    return core.encode(nested(64))
end)
equal(inside(), core.encode(nested(64)), "within a coroutine")
local finalized = 0
local function with_finalizer()
    local function gc()
        finalized = finalized + 1
        core.encode { nested(30), "from a finalizer" }
    end
    if rawget(_G, "newproxy") then
        getmetatable(newproxy(true)).__gc = gc
    else
        setmetatable({}, { __gc = gc })
    end
end
for i = 1, 2000 do
    with_finalizer()
    local bytes = core.encode { i = i, text = ("t"):rep(i % 50), list = { i, i + 1 } }
    local back = core.decode(bytes)
    assert(back.i == i and #back.text == i % 50 and back.list[2] == i + 1)
end
collectgarbage()
assert(finalized > 0)

print(("codec: %d vectors under %s"):format(count, core.lua_version))
