-- How a thing that a walk met can be named: `_G.timers[14].fn`, `package.loaded["game.mail"].queue`,
-- `upvalue cache of game/shop.lua:12`, `coroutine at game/battle.lua:40 local fd`.
--
-- The walk has noted who led to each object; by what, is searched for there, when a name is wanted. What hangs on a
-- function's upvalue or a coroutine's local is named from there: a line of a file says more than the way to the function.

local program = require "stillpoint.reload.program"

local debug = debug or {}
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local metatable_of = debug.getmetatable or getmetatable

local trail = {}

---Objects from a root; what lies between is left out.
local DEPTH_MAX = 16

---Bytes of a name, and of one key in it; longer ones lose their middle.
local LENGTH_MAX = 200
local KEY_MAX = 40

---Entries of a table that are searched for an object. The walk notes the keys of those that come later.
local SEARCH_MAX = 1000

---Frames of a coroutine that are searched.
local FRAMES_MAX = 50

local function shorten(text, max)
  if #text <= max then
    return text
  end
  local head = math.floor((max - 3) * 0.6)
  return text:sub(1, head) .. "..." .. text:sub(head + 4 - max)
end

---A line of a file, as people write it: without the generation.
---@param source string The name of a chunk.
---@param line integer
---@return string
function trail.position(source, line)
  if source:sub(1, 1) == "=" then
    return source == "=[C]" and "a C function" or source:sub(2)
  elseif source:sub(1, 1) ~= "@" then
    return ("[string %q]:%d"):format(shorten(source:match "^[^\n]*", KEY_MAX), line)
  end
  return ("%s:%d"):format(program.path_of(source), line)
end

---Where a function is written.
---@param f function
---@return string|nil # nil for one in C.
function trail.written(f)
  local info = getinfo and getinfo(f, "S")
  if not info or info.what == "C" then
    return nil
  end
  return trail.position(info.source, info.linedefined)
end

local function index(key)
  local kind = type(key)
  if kind == "string" then
    if key:match "^[%a_][%w_]*$" and #key <= KEY_MAX then
      return "." .. key
    end
    return ("[%q]"):format(shorten(key, KEY_MAX)):gsub("\\\n", "\\n")
  elseif kind == "number" or kind == "boolean" then
    return ("[%s]"):format(tostring(key))
  end
  return ("[a %s]"):format(kind)
end

---What holds something in a frame.
---@param how string "local" or "frame"
---@param key string|nil
---@param where string
---@return string
function trail.in_frame(how, key, where)
  -- Lua 5.1 to 5.3 write (*vararg), 5.4 (vararg).
  return how == "local" and ("%s local %s"):format(where, (key:gsub("^%(%*", "("))) or where
end

local function in_table(t, object)
  if rawequal(metatable_of(t), object) then
    return "metatable"
  end
  local count = 0
  for key, value in next, t do
    if rawequal(value, object) then
      return "value", key
    elseif rawequal(key, object) then
      return "key"
    end
    count = count + 1
    if count > SEARCH_MAX then
      break
    end
  end
  return nil
end

local function in_upvalues(f, object)
  local i = 1
  repeat
    local name, value = getupvalue(f, i)
    if name and rawequal(value, object) then
      return "upvalue", name
    end
    i = i + 1
  until not name
  return "environment"
end

local function in_coroutine(co, object)
  for level = 0, FRAMES_MAX do
    local info = getinfo(co, level, "Slf")
    if not info then
      return nil
    end
    local where = trail.position(info.source, info.currentline)
    if rawequal(info.func, object) then
      return "frame", nil, where
    end
    for step = 1, -1, -2 do
      local i = step
      repeat
        local name, value = getlocal(co, level, i)
        if name and rawequal(value, object) then
          return "local", name, where
        end
        i = i + step
      until not name
    end
  end
  return nil
end

local SEARCH = {
  ["table"] = in_table,
  ["function"] = in_upvalues,
  ["thread"] = in_coroutine,
  ["userdata"] = function(object, held)
    return rawequal(metatable_of(object), held) and "metatable" or "user value"
  end,
}

local name_of

-- The name of what `parent` holds.
local function join(walk, parent, how, key, where, depth)
  if how == "local" or how == "frame" then
    return "coroutine at " .. trail.in_frame(how, key, where)
  end
  local written = type(parent) == "function" and trail.written(parent)
  local holder = written or name_of(walk, parent, depth + 1)
  if how == "upvalue" then
    return ("upvalue %s of %s"):format(key == "" and "(in C)" or key, holder)
  elseif how == "value" then
    if holder:find("^upvalue ") or holder:find "^coroutine " or holder:find "^the " then
      holder = ("(%s)"):format(holder)
    end
    return holder .. index(key)
  elseif how == "metatable" then
    return ("getmetatable(%s)"):format(holder)
  elseif how == "key" then
    return ("(a key of %s)"):format(holder)
  end
  return ("(%s of %s)"):format(how or "something", holder)
end

function name_of(walk, object, depth)
  local root = walk.roots[object]
  local parent = walk.parents:get(object)
  if root then
    return root
  elseif parent == nil or parent == true or depth > DEPTH_MAX then
    return parent == nil and "(something that is gone)" or "(...)"
  end
  local noted = walk.keys:get(object)
  if parent == walk.stack then
    return "the running stack at " .. noted
  elseif noted ~= nil then
    return join(walk, parent, "value", noted, nil, depth)
  end
  local how, key, where = SEARCH[type(parent)](parent, object)
  return join(walk, parent, how, key, where, depth)
end

---The name of an object that the walk met.
---@param walk stillpoint.reload.Walk
---@param object any
---@return string
function trail.name(walk, object)
  return shorten(name_of(walk, object, 1), LENGTH_MAX)
end

---The name of what `parent` holds: `how` and `key` (and `where`, in a frame) as the walk tells them.
---@param walk stillpoint.reload.Walk
---@param parent any
---@param how string
---@param key any
---@param where string|nil
---@return string
function trail.path(walk, parent, how, key, where)
  if parent == walk.stack then
    return "the running stack at " .. trail.in_frame(how, key, where)
  end
  return shorten(join(walk, parent, how, key, where, 1), LENGTH_MAX)
end

---The name of a frame.
---@param walk stillpoint.reload.Walk
---@param parent any
---@param info table
---@return string
function trail.frame(walk, parent, info)
  local where = trail.position(info.source, info.currentline)
  if parent == walk.stack then
    return "the running stack at " .. where
  end
  return shorten(("coroutine at %s, held by %s"):format(where, name_of(walk, parent, 1)), LENGTH_MAX)
end

return trail
