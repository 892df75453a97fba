-- What kind a value is, whether two are equal, which is less: as the store sees values.

local core = require "stillpoint_core"
local number = require "stillpoint.document.number"

local compare = {}

local SCALARS = { boolean = "a boolean", string = "a string", cdata = "an integer", userdata = "nil" }

---@param value any As decoded.
---@return string # "a map", "an array", "an integer" ...
function compare.kind(value)
  local what = type(value)
  if what == "number" then
    return number.is_integer(value) and "an integer" or "a float"
  elseif what ~= "table" then
    return SCALARS[what] or what
  end
  local mt = getmetatable(value)
  if mt == core.ext_mt then
    return "an extension"
  elseif mt == core.int64_mt then
    return "an integer"
  end
  local is_array = mt == core.array_mt or mt ~= core.map_mt and value[1] ~= nil
  return is_array and "an array" or "a map"
end

local function is_number(value)
  local kind = compare.kind(value)
  return kind == "an integer" or kind == "a float"
end

---Numbers by value, containers by content.
---@param a any
---@param b any
---@return boolean
function compare.equal(a, b)
  if a == b or (a ~= a and b ~= b) then
    return true
  end
  if is_number(a) and is_number(b) then
    return number.compare(a, b) == 0
  elseif type(a) ~= "table" or type(b) ~= "table" or compare.kind(a) ~= compare.kind(b) then
    return false
  end
  for key, item in pairs(a) do
    if b[key] == nil or not compare.equal(item, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

-- The order of two values, as `number.compare` tells it; only numbers with numbers and strings with strings have one.
local function order(a, b)
  if is_number(a) and is_number(b) then
    return number.compare(a, b)
  elseif type(a) == "string" and type(b) == "string" then
    return a < b and -1 or a > b and 1 or 0
  end
end

local HOLDS = {
  ["=="] = compare.equal,
  ["~="] = function(a, b)
    return not compare.equal(a, b)
  end,
  ["<"] = function(a, b)
    return order(a, b) == -1
  end,
  ["<="] = function(a, b)
    return (order(a, b) or 1) < 1
  end,
  [">"] = function(a, b)
    return order(a, b) == 1
  end,
  [">="] = function(a, b)
    return (order(a, b) or -1) > -1
  end,
  exists = function()
    return true
  end,
  missing = function()
    return false
  end,
}

---Whether a place compares with a value; a missing one (`found` is nil) only by `~=` and `missing`.
---@param found any
---@param op string
---@param value any
---@return boolean|nil holds nil: there is no such comparison.
function compare.holds(found, op, value)
  local test = HOLDS[op]
  if not test then
    return nil
  end
  if found == nil then
    return op == "~=" or op == "missing"
  end
  return test(found, value)
end

return compare
