-- Values that plain Lua cannot say: marks for tables, null, 64-bit integers, extensions.
--
-- A table with the keys 1 to n is stored as an array, one with string keys as a map, an empty one as a map. What is
-- neither (holes, mixed keys, functions, cycles) is refused, with the path to it. An empty array and a map with other
-- than string keys need a mark; reading them gives it back.

local check = require "stillpoint.check"
local core = require "stillpoint_core"

local value = {}

core.array_mt.__name = "stillpoint.array"
core.map_mt.__name = "stillpoint.map"
core.ext_mt.__name = "stillpoint.ext"
core.int64_mt.__name = "stillpoint.int64"

---Stands for nothing where nil cannot: as an array's element, a map's value, a record. Equals `cjson.null`.
value.null = core.null

local function mark(items, mt, what)
  if items == nil then
    return setmetatable({}, mt)
  end
  check.type("table", items, what, 4)
  local before = getmetatable(items)
  if before ~= nil and before ~= core.array_mt and before ~= core.map_mt then
    error(what .. ": the table has a metatable of its own", 3)
  end
  return setmetatable(items, mt)
end

---Marks a table as an array, which matters if it is empty. The table itself, not a copy.
---@generic T: table
---@param items? T
---@return T
function value.array(items)
  local marked = mark(items, core.array_mt, "array")
  return marked
end

---Marks a table as a map, which matters if its keys are not all strings: `stillpoint.map { [10] = "a", [20] = "b" }`.
---@generic T: table
---@param items? T
---@return T
function value.map(items)
  local marked = mark(items, core.map_mt, "map")
  return marked
end

---A 64-bit integer, exact in every Lua: a number where that holds it, else an int64 cdata (LuaJIT) or a table with
---`tostring`, `==`, `<` and `<=`.
---@param number string|number Decimal, -2^63 to 2^64-1.
---@return any
function value.int64(number)
  local ok, integer = pcall(core.int64, number)
  if not ok or integer == nil then
    error(("int64: a whole number from -2^63 to 2^64-1 expected, got %s"):format(tostring(number)), 2)
  end
  return integer
end

---An extension value of MessagePack.
---@param type_code integer -128 to 127; those below 0 are MessagePack's own.
---@param data string
---@return {type: integer, data: string}
function value.ext(type_code, data)
  if type(type_code) ~= "number" or type_code % 1 ~= 0 or type_code < -128 or type_code > 127 then
    error(("ext: a type from -128 to 127 expected, got %s"):format(tostring(type_code)), 2)
  end
  check.type("string", data, "ext data", 3)
  return setmetatable({ type = type_code, data = data }, core.ext_mt)
end

---Encodes a value as the store keeps it: MessagePack.
---@param any any
---@return string|nil bytes
---@return string|nil message With the path to what cannot be stored.
function value.encode(any)
  local bytes, message = core.encode(any)
  return bytes, message
end

---@param bytes string
---@return any value nil: `bytes` is not one MessagePack value.
---@return string|nil message
function value.decode(bytes)
  check.type("string", bytes, "bytes", 3)
  return core.decode(bytes)
end

return value
