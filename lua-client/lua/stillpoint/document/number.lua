-- Numbers as the store sees them: integers to 64 bits stay integers, whatever this Lua has to hold them with; floats
-- and integers compare by value.
--
-- What two Lua numbers cannot do exactly is done on halves: `hi * 2^32 + lo`, which a double holds each.

local core = require "stillpoint_core"

local number = {}

local TWO_32 = 4294967296

---Integers up to here are exact in a Lua that has only floats.
local EXACT_MAX = 2 ^ 53

local math_type = math.type

---The halves of a whole number; of a float, of its whole part.
---@return number hi From -2^31 up.
---@return number lo 0 to 2^32-1
local function halves(value)
  local hi, lo
  if type(value) == "table" then
    hi, lo = value.hi, value.lo
    return not value.unsigned and hi >= TWO_32 / 2 and hi - TWO_32 or hi, lo
  elseif type(value) == "number" then
    if not (math_type and math_type(value) == "integer") then
      value = math.floor(value)
    end
    lo = value % TWO_32
    return (value - lo) / TWO_32, lo
  end
  -- A cdata divides towards zero.
  hi, lo = tonumber(value / TWO_32), tonumber(value % TWO_32)
  if lo < 0 then
    return hi - 1, lo + TWO_32
  end
  return hi, lo
end

local whole = math.tointeger or function(half)
  return half
end

-- In the form that this Lua has for it; nil: it does not fit into 64 bits.
local function from_halves(hi, lo)
  if lo >= TWO_32 then
    hi, lo = hi + 1, lo - TWO_32
  end
  if hi < -TWO_32 / 2 or hi >= TWO_32 then
    return nil
  end
  local bits = { hi = whole(hi < 0 and hi + TWO_32 or hi), lo = whole(lo), unsigned = hi >= TWO_32 / 2 }
  return (core.int64(setmetatable(bits, core.int64_mt)))
end

---Whether a number counts as an integer.
---@param value any A number of any form.
---@return boolean
function number.is_integer(value)
  if type(value) ~= "number" then
    return true
  elseif math_type then
    return math_type(value) == "integer"
  end
  return value % 1 == 0 and value >= -EXACT_MAX and value <= EXACT_MAX
end

local function to_float(value)
  if type(value) ~= "table" then
    return tonumber(value)
  end
  local hi, lo = halves(value)
  return hi * TWO_32 + lo
end

---@param a any A number of any form.
---@param b any
---@return any sum nil: there is none.
---@return string|nil why
function number.sum(a, b)
  if number.is_integer(a) and number.is_integer(b) then
    if type(a) == "number" and type(b) == "number" then
      local sum = a + b
      local exact
      if math_type then
        exact = (a >= 0) ~= (b >= 0) or (sum >= 0) == (a >= 0)
      else
        exact = sum > -EXACT_MAX and sum < EXACT_MAX
      end
      if exact then
        return sum
      end
    end
    local a_hi, a_lo = halves(a)
    local b_hi, b_lo = halves(b)
    local sum = from_halves(a_hi + b_hi, a_lo + b_lo)
    return sum, sum == nil and "the sum does not fit into 64 bits" or nil
  end
  local sum = to_float(a) + to_float(b)
  if sum ~= sum or sum == math.huge or sum == -math.huge then
    return nil, "the sum is not a finite number"
  end
  return sum
end

---Compares by value.
---@param a any A number of any form.
---@param b any
---@return integer|nil # -1, 0, 1; nil: one of them is NaN.
function number.compare(a, b)
  if a ~= a or b ~= b then
    return nil
  elseif type(a) == "number" and type(b) == "number" then
    return a < b and -1 or a > b and 1 or 0
  end
  local a_float, b_float = to_float(a), to_float(b)
  if a_float ~= b_float then
    -- Rounding keeps the order of what it leaves different.
    return a_float < b_float and -1 or 1
  elseif a_float == math.huge or a_float == -math.huge then
    return 0
  end
  -- Equal as floats, so both are whole: the one that is no float is, and they are far beyond 1.
  local a_hi, a_lo = halves(a)
  local b_hi, b_lo = halves(b)
  if a_hi ~= b_hi then
    return a_hi < b_hi and -1 or 1
  end
  return a_lo < b_lo and -1 or a_lo > b_lo and 1 or 0
end

---As messages show it.
---@param value any A number of any form.
---@return string
function number.text(value)
  if not math_type and type(value) == "number" and number.is_integer(value) then
    return ("%.0f"):format(value)
  end
  return (tostring(value):gsub("U?LL$", ""))
end

return number
