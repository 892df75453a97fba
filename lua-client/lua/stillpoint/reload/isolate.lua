-- Calls code of the program so that nothing it does gets past the call: what it raises becomes a *failure*, with the
-- place and the traceback, and it cannot yield.
--
-- A yield in the middle of a reload would let the rest of the program see half of it. `string.gsub` calls its function
-- across a C boundary, which no Lua version lets a coroutine yield over; `coroutine.running` stays the caller's, so that
-- libraries that look whether they may yield see that they may not, and block.

local program = require "stillpoint.reload.program"

-- A program may change what strings have as methods, and the chunk that does it may fail.
local find, gmatch, gsub, match = string.find, string.gmatch, string.gsub, string.match
local format, sub = string.format, string.sub
local traceback = debug and debug.traceback
local getinfo = debug and debug.getinfo

local isolate = {}

---@class stillpoint.reload.Failure
---@field message string
---@field file string|nil
---@field line integer|nil
---@field traceback string|nil
---@field unit string|nil
---@field phase string|nil

-- The innermost function of the program on the stack.
local function place_on_stack()
  if not getinfo then
    return nil
  end
  for level = 3, 100 do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    end
    local path, generation = program.path_of(info.source)
    if generation and info.currentline > 0 then
      return path, info.currentline, generation
    end
  end
end

-- Lines of the kit and what it calls with say nothing to whoever looks for the error.
local function trimmed(text)
  local lines = {}
  for line in gmatch(text, "[^\n]+") do
    if not find(line, "stillpoint/reload/", 1, true) and not find(line, "in function '?<?[%w%.]*[xp]+call") then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n")
end

---Where a message says that it comes from.
---@param message string
---@return string|nil file Without the generation.
---@return integer|nil line
function isolate.place(message)
  local file, line = match(message, "^([^\n]-):(%d+):")
  -- A long path is cut in messages, but not on the stack.
  if file and sub(file, 1, 3) ~= "..." then
    return (gsub(file, "#%d+$", "")), tonumber(line)
  end
  return nil
end

-- `require` blames whoever called it, and that is the kit, which stands in between: the program's own line is meant.
local function blamed(message)
  -- The end of a long path is what a message has of it.
  local file = match(message, "^([^\n]-):%d+: ")
  if file and find(file, "stillpoint/reload/", 1, true) then
    local path, line, generation = place_on_stack()
    if path then
      return format("%s#%d:%d: %s", path, generation, line, match(message, "^[^\n]-:%d+: (.*)$"))
    end
  end
  return message
end

---Bytes of a message that a failure has; what is raised on stays whole.
local MESSAGE_MAX = 4000

local function failure_of(raised)
  local message
  if type(raised) == "string" or type(raised) == "number" then
    message = blamed(tostring(raised))
    raised = message
  else
    local ok, text = pcall(tostring, raised)
    message = ok and type(text) == "string" and text or format("a %s was raised", type(raised))
  end
  if find(message, "attempt to yield") then
    message = message .. ": what runs in a reload, and a chunk that is loaded, must not yield"
    raised = message
  end
  if #message > MESSAGE_MAX then
    message = format("%s... (%d bytes)", sub(message, 1, MESSAGE_MAX), #message)
  end
  local file, line = isolate.place(message)
  if not file then
    file, line = place_on_stack()
  end
  return {
    message = message,
    file = file,
    line = line,
    traceback = traceback and trimmed(traceback(message, 3)) or message,
    raised = raised,
  }
end

local running = coroutine.running

-- The coroutine in which a call is under way, "main" for the main one: within it there is a C boundary already, and the
-- levels of C calls are few.
local inside

---@param fn function
---@return boolean ok
---@return any value First result of `fn`, or the failure.
function isolate.call(fn, ...)
  local a, b = ...
  local value
  local function run()
    value = fn(a, b)
  end
  local outer, here = inside, running() or "main"
  inside = here
  local ok, failure = xpcall(outer == here and run or function()
    gsub("x", "x", run)
  end, failure_of)
  inside = outer
  if not ok then
    if type(failure) ~= "table" then
      -- The handler itself failed, as it may when the stack overflows.
      failure = { message = tostring(failure), raised = failure }
    end
    return false, failure
  end
  return true, value
end

return isolate
