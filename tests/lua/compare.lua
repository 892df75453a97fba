-- What the runners of the specs share: values compared by content, and shown.

local compare = {}

local function show(value, depth)
  depth = depth or 0
  if type(value) == "string" then
    return ("%q"):format(value)
  elseif type(value) ~= "table" or depth > 6 or getmetatable(value) and getmetatable(value).__tostring then
    return tostring(value)
  end
  local keys, parts = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for i, key in ipairs(keys) do
    parts[i] = ("[%s]=%s"):format(show(key, depth + 1), show(value[key], depth + 1))
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if rawequal(a, b) or type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
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

---@param actual any
---@param expected any Tables are compared by content.
---@param what? string
---@param level? integer Whose line the error names, as `error` counts it; the caller's unless given.
function compare.equal(actual, expected, what, level)
  if not same(actual, expected) then
    local message = ("%sexpected %s, got %s"):format(what and what .. ": " or "", show(expected), show(actual))
    error(message, (level or 1) + 1)
  end
end

compare.show = show

return compare
