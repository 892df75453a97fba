-- What differs between two documents, place by place.
--
-- Maps are compared key by key. Arrays are compared from both ends: what is alike there is left out, what remains is
-- compared element by element. That finds an element added, inserted or removed; several at once in different places
-- may show as more changes than were made.

local compare = require "stillpoint.document.compare"
local path = require "stillpoint.document.path"

local diff = {}

---@class stillpoint.Change
---@field path string Like `bag.items[2].gold`; "" is the whole value.
---@field before any nil: there was nothing.
---@field after any nil: there is nothing.

local differ

local function in_order(a, b)
  local left, right = tostring(a), tostring(b)
  return left < right or left == right and type(a) < type(b)
end

local function keys_of(before, after)
  local keys = {}
  for key in pairs(before) do
    keys[#keys + 1] = key
  end
  for key in pairs(after) do
    if before[key] == nil then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, in_order)
  return keys
end

local function differ_in_maps(segments, before, after, found)
  for _, key in ipairs(keys_of(before, after)) do
    segments[#segments + 1] = type(key) == "number" and key or tostring(key)
    differ(segments, before[key], after[key], found)
    segments[#segments] = nil
  end
end

local function differ_in_arrays(segments, before, after, found)
  local first, last_before, last_after = 1, #before, #after
  while first <= math.min(last_before, last_after) and compare.equal(before[first], after[first]) do
    first = first + 1
  end
  while math.min(last_before, last_after) >= first and compare.equal(before[last_before], after[last_after]) do
    last_before, last_after = last_before - 1, last_after - 1
  end
  for i = first, math.max(last_before, last_after) do
    local old, new
    if i <= last_before then
      old = before[i]
    end
    if i <= last_after then
      new = after[i]
    end
    segments[#segments + 1] = i
    differ(segments, old, new, found)
    segments[#segments] = nil
  end
end

function differ(segments, before, after, found)
  local kind = before ~= nil and after ~= nil and compare.kind(before)
  if kind and kind == compare.kind(after) then
    if kind == "a map" then
      return differ_in_maps(segments, before, after, found)
    elseif kind == "an array" then
      return differ_in_arrays(segments, before, after, found)
    end
  end
  local are_same = before == nil and after == nil or kind and compare.equal(before, after)
  if not are_same then
    local name = #segments > 0 and path.name(segments, #segments) or ""
    found[#found + 1] = { path = name, before = before, after = after }
  end
end

---@param before any As decoded; nil: there was nothing.
---@param after any The same.
---@return stillpoint.Change[]
function diff.changes(before, after)
  local found = {}
  differ({}, before, after, found)
  return found
end

return diff
