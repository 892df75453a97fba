-- Paths: `"bag.items[2].gold"`, or `{ "bag", "items", 2, "gold" }`. Arrays count from 1; -1 is the last.

local failure = require "stillpoint.failure"

local path = {}

local function bad(text, why)
  return nil, failure.new("invalid", ("invalid path %q: %s"):format(text, why))
end

local function parse_text(text)
  local segments, at = {}, 1
  while at <= #text do
    local number, after = text:match("^%[(%-?%d+)%]()", at)
    if number then
      segments[#segments + 1] = tonumber(number)
    else
      local field
      field, after = text:match("^([^.%[%]]+)()", at)
      if not field then
        return bad(text, "a field or [number] expected at byte " .. at)
      end
      segments[#segments + 1] = field
    end
    local separator = text:sub(after, after)
    if separator == "." then
      after = after + 1
      if after > #text then
        return bad(text, "it ends with a dot")
      end
    elseif separator ~= "" and separator ~= "[" then
      return bad(text, "'.' or '[' expected at byte " .. after)
    end
    at = after
  end
  return segments
end

local function check_segments(segments)
  for i, segment in ipairs(segments) do
    local is_whole = type(segment) == "number" and segment % 1 == 0
    if type(segment) ~= "string" and not is_whole then
      local message = ("segment %d of the path is a %s: use strings and whole numbers"):format(i, type(segment))
      return nil, failure.new("invalid", message)
    end
  end
  return segments
end

---@param given string|any[]
---@return any[]|nil segments
---@return stillpoint.Error|nil err
function path.parse(given)
  if type(given) == "string" then
    return parse_text(given)
  elseif type(given) == "table" then
    return check_segments(given)
  end
  return nil, failure.new("invalid", "a path is a string or a table, got a " .. type(given))
end

---How a message names the place that so many segments lead to.
---@param segments any[]
---@param depth integer
---@return string
function path.name(segments, depth)
  local name = ""
  for i = 1, depth do
    local segment = segments[i]
    if type(segment) == "number" then
      name = ("%s[%d]"):format(name, segment)
    elseif segment:find "^[%a_][%w_]*$" then
      name = name .. (i > 1 and "." or "") .. segment
    else
      name = ("%s[%q]"):format(name, segment)
    end
  end
  return depth == 0 and "the document" or name
end

return path
