-- Patches: changes of places within a decoded document, with the meaning that op.proto gives to them.

local compare = require "stillpoint.document.compare"
local core = require "stillpoint_core"
local failure = require "stillpoint.failure"
local number = require "stillpoint.document.number"
local path = require "stillpoint.document.path"

local document = {}

local kind = compare.kind

---What a step finds.
---@class stillpoint.document.Place
---@field box stillpoint.document.Box
---@field container table What it stands in.
---@field key any Where in it.
---@field value any nil: it is missing.
---@field is_map boolean|nil The container is a map; false: an array; nil: the place is the document.
---@field depth integer How many segments lead to it; fewer than all if it is missing.

local function invalid(message, ...)
  error(failure.new("invalid", message:format(...)), 0)
end

local function no_position(segments, depth, position, count)
  local name = path.name(segments, depth)
  return ("%s has no element %d: it has %d, numbered from 1"):format(name, position, count)
end

-- The position that a number selects; it may be the one after the last.
local function position_of(given, count)
  local position = given < 0 and count + given + 1 or given
  return position >= 1 and position <= count + 1 and position or nil
end

-- Follows a path; answers with a place, or nil and why it cannot be followed.
local function follow(box, segments)
  local place = { box = box, container = box, key = "value", value = box.value, depth = 0 }
  for depth, segment in ipairs(segments) do
    local value = place.value
    local what = kind(value)
    place.depth = depth
    if what == "a map" then
      place.container, place.key, place.is_map = value, segment, true
    elseif what == "an array" and type(segment) == "number" then
      local position = position_of(segment, #value)
      if not position then
        return nil, no_position(segments, depth - 1, segment, #value)
      end
      place.container, place.key, place.is_map = value, position, false
    else
      local places = type(segment) == "string" and "only a map has fields"
        or "only an array or a map has numbered places"
      return nil, ("%s is %s; %s"):format(path.name(segments, depth - 1), what, places)
    end
    place.value = value[place.key]
    if place.value == nil then
      return place
    end
  end
  return place
end

local function find(box, segments)
  local place, why = follow(box, segments)
  if not place then
    invalid("%s", why)
  end
  return place
end

local function explain_missing(place, segments)
  if place.is_map == false then
    return no_position(segments, place.depth - 1, segments[place.depth], #place.container)
  end
  return path.name(segments, place.depth) .. " does not exist"
end

---Levels of nesting at most, as for the core. What the store allows is checked when the whole is written.
document.NESTING_MAX = 512

-- What a step brings in is copied, so that nobody shares it with the document.
local function copy(box, value)
  local what = type(value)
  if what == "number" or what == "boolean" then
    box.bytes = box.bytes + 9
    return value
  elseif what == "string" then
    box.bytes = box.bytes + #value
    return value
  end
  local bytes, message = core.encode(value, nil, document.NESTING_MAX)
  if not bytes then
    error(failure.unfit(message), 0)
  end
  box.bytes = box.bytes + #bytes
  return core.decode(bytes)
end

-- All changes go through these two, which note how to take them back.

local function assign(box, container, key, value)
  local n = #box.journal
  box.journal[n + 1] = { container, key, container[key], getmetatable(container) }
  container[key] = value
end

local function take_out(box, array, position)
  local mt = getmetatable(array)
  local element = table.remove(array, position)
  box.journal[#box.journal + 1] = { array, position, element, mt, taken = true }
  if #array == 0 then
    setmetatable(array, core.array_mt)
  end
  return element
end

local function take_back(box)
  for i = #box.journal, 1, -1 do
    local entry = box.journal[i]
    local container, key, before = entry[1], entry[2], entry[3]
    if entry.taken then
      table.insert(container, key, before)
    else
      container[key] = before
    end
    if container ~= box then
      setmetatable(container, entry[4])
    end
  end
end

local function enter(box, map, key, value)
  assign(box, map, key, value)
  if type(key) == "number" then
    setmetatable(map, core.map_mt)
  end
end

-- Makes a value stand at a place, with the maps on the way.
local function put(place, segments, value)
  for i = #segments, place.depth + 1, -1 do
    local map = { [segments[i]] = value }
    value = type(segments[i]) == "number" and setmetatable(map, core.map_mt) or map
  end
  if place.is_map then
    enter(place.box, place.container, place.key, value)
  else
    assign(place.box, place.container, place.key, value)
  end
end

local function array_at(place, segments)
  local what = kind(place.value)
  if what ~= "an array" then
    invalid("%s is %s, not an array", path.name(segments, #segments), what)
  end
  return place.value
end

local function position_of_equal(array, value)
  for i, element in ipairs(array) do
    if compare.equal(element, value) then
      return i
    end
  end
end

local function sum_of(old, delta)
  local sum, why = number.sum(old, delta)
  if sum == nil then
    invalid("adding %s to %s: %s", number.text(delta), number.text(old), why)
  end
  return sum
end

local function check_bound(name, side, bound, beyond, delta, sum)
  if number.compare(sum, bound) == beyond then
    local message = ("adding %s would make it %s, %s its %s of %s"):format(
      number.text(delta),
      number.text(sum),
      side,
      name,
      number.text(bound)
    )
    error(failure.new("bound_violation", message), 0)
  end
end

local function check_number(what, value)
  local found = kind(value)
  if value ~= value then
    invalid("%s is NaN", what)
  elseif found ~= "an integer" and found ~= "a float" then
    invalid("%s is %s, not a number", what, found)
  end
end

-- What each step does, by its name; answers with its result.
local steps = {}

function steps.set(box, segments, step)
  local value = copy(box, step[3])
  put(find(box, segments), segments, value)
  return core.null
end

function steps.unset(box, segments)
  local place = find(box, segments)
  if place.value == nil then
    if not place.is_map then
      invalid("%s", explain_missing(place, segments))
    end
    return false
  elseif place.is_map == nil then
    invalid "the document cannot be unset: delete the record"
  elseif not place.is_map then
    invalid "an array's elements are removed with remove_at"
  end
  assign(box, place.container, place.key, nil)
  return true
end

function steps.add(box, segments, step)
  local place = find(box, segments)
  local old, delta, bounds = place.value, step[3], step[4] or {}
  if old == nil then
    old = 0
  else
    local found = kind(old)
    if found ~= "an integer" and found ~= "a float" then
      invalid("%s is %s, not a number", path.name(segments, #segments), found)
    end
  end
  check_number("delta", delta)
  local sum = sum_of(old, delta)
  if bounds.min ~= nil then
    check_number("min", bounds.min)
    check_bound("min", "below", bounds.min, -1, delta, sum)
  end
  if bounds.max ~= nil then
    check_number("max", bounds.max)
    check_bound("max", "above", bounds.max, 1, delta, sum)
  end
  put(place, segments, sum)
  return sum
end

function steps.append(box, segments, step)
  local place = find(box, segments)
  local array
  if place.value == nil then
    array = setmetatable({}, core.array_mt)
    put(place, segments, array)
  else
    array = array_at(place, segments)
  end
  for i = 3, #step do
    assign(box, array, #array + 1, copy(box, step[i]))
  end
  return #array
end

function steps.remove_at(box, segments, step)
  if type(step[3]) ~= "number" or step[3] % 1 ~= 0 then
    invalid "the position is a whole number: 1 is the first, -1 the last"
  end
  local place = find(box, segments)
  if place.value == nil then
    invalid("%s", explain_missing(place, segments))
  end
  local array, given = array_at(place, segments), step[3]
  local position = position_of(given, #array)
  if not position or position > #array then
    invalid("%s", no_position(segments, #segments, given, #array))
  end
  return take_out(box, array, position)
end

function steps.insert(box, segments, step)
  local place, value = find(box, segments), copy(box, step[3])
  if place.value == nil then
    put(place, segments, { value })
    return true
  end
  local array = array_at(place, segments)
  if position_of_equal(array, value) then
    return false
  end
  assign(box, array, #array + 1, value)
  return true
end

function steps.remove(box, segments, step)
  local place, value = find(box, segments), copy(box, step[3])
  if place.value == nil then
    if not place.is_map then
      invalid("%s", explain_missing(place, segments))
    end
    return false
  end
  local array = array_at(place, segments)
  local position = position_of_equal(array, value)
  if not position then
    return false
  end
  take_out(box, array, position)
  return true
end

local function run_step(box, i, step)
  local verb = type(step) == "table" and step[1]
  local run = steps[verb]
  if not run then
    invalid("step %d: unknown step %q", i, tostring(verb))
  end
  local segments, err = path.parse(step[2])
  if not segments then
    invalid("step %d (%s): %s", i, verb, err.message)
  end
  local ok, result = pcall(run, box, segments, step)
  if not ok then
    if type(result) == "table" and result.reason then
      local title = ("step %d (%s %s): "):format(i, verb, path.name(segments, #segments))
      result = failure.new(result.reason, title .. result.message)
    end
    error(result, 0)
  end
  return result
end

---A document that is being changed.
---@class stillpoint.document.Box
---@field value any
---@field journal any[][] What was where before each change: container, key, value, metatable.
---@field bytes integer About how much the patch brought in.

---Does all steps of a patch on a document, in place, or none.
---@param value any The document; is changed.
---@param patch any[][]
---@return boolean ok
---@return any value The document after the patch; or the error.
---@return any[]|nil results One per step.
---@return stillpoint.document.Box|nil box For `undo`, before anything else changes the document.
function document.patch(value, patch)
  local box, results = { value = value, journal = {}, bytes = 0 }, {}
  local ok, err = pcall(function()
    for i, step in ipairs(patch) do
      results[i] = run_step(box, i, step)
    end
  end)
  if ok then
    return true, box.value, results, box
  end
  take_back(box)
  if type(err) ~= "table" then
    error(err, 0)
  end
  return false, err
end

---Takes a patch back.
---@param box stillpoint.document.Box
---@return any value The document as it was.
function document.undo(box)
  take_back(box)
  return box.value
end

---The value at a place; nil: it is missing, or cannot be reached.
---@param value any The document.
---@param segments any[]
---@return any
function document.at(value, segments)
  local place = follow({ value = value }, segments)
  if place and place.depth == #segments then
    return place.value
  end
end

return document
