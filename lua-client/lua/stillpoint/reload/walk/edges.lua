-- What functions, coroutines and userdata hold, as far as `debug` shows it. Each is told to the walk as
-- `walk:meet(object, kind, parent, how, key, where)`.

local trail = require "stillpoint.reload.walk.trail"

local debug = debug or {}
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local getuservalue, getfenv = debug.getuservalue, debug.getfenv
local type = type

local edges = {}

---What of `debug` a host took away: what it would have shown stays unseen.
---@type string[]
edges.blind = {}
for _, name in ipairs { "getinfo", "getlocal", "getmetatable", "getregistry", "getupvalue" } do
  if not debug[name] then
    edges.blind[#edges.blind + 1] = "debug." .. name
  end
end

---What one walks to; everything else holds nothing.
edges.REFERENCE = { ["table"] = true, ["function"] = true, ["thread"] = true, ["userdata"] = true }

local REFERENCE = edges.REFERENCE

---Frames of one coroutine; finding the n-th costs n.
local FRAMES_MAX = 2000

-- What the names of the kit's own chunks begin with.
local kit = getinfo and getinfo(1, "S").source:match "^(@.*)walk[/\\]edges%.lua$"

---Whether a chunk is the kit's own.
---@param source string Its name.
---@return boolean
function edges.is_kit(source)
  return kit ~= nil and source:sub(1, #kit) == kit
end

---Without `debug`, a protected metatable stays out of sight.
---@param value any
---@return table|nil
edges.metatable = debug.getmetatable
  or function(value)
    local mt = getmetatable(value)
    return type(mt) == "table" and mt or nil
  end

---@param walk stillpoint.reload.Walk
---@param f function
function edges.of_function(walk, f)
  local i, name, value = 0, nil, nil
  repeat
    i = i + 1
    if getupvalue then
      name, value = getupvalue(f, i)
    end
    local kind = type(value)
    if name and REFERENCE[kind] then
      walk:meet(value, kind, f, "upvalue", name)
    end
  until not name
  local env = getfenv and getfenv(f)
  if env then
    walk:meet(env, "table", f, "environment")
  end
end

-- Locals, temporaries and varargs of a frame. Levels count from this function's caller's caller.
local function of_frame(walk, co, level, parent, where)
  for step = 1, -1, -2 do
    local i = 0
    repeat
      i = i + step
      local name, value
      if co then
        name, value = getlocal(co, level, i)
      else
        name, value = getlocal(level, i)
      end
      local kind = type(value)
      if name and REFERENCE[kind] then
        walk:meet(value, kind, parent, "local", name, where)
      end
    until not name
  end
end

---All frames of a coroutine, or, without one, of the stack that runs now.
---@param walk stillpoint.reload.Walk
---@param co thread|nil
---@param parent any Who holds the frames.
function edges.of_stack(walk, co, parent)
  if not (getinfo and getlocal) then
    return
  end
  for level = co and 0 or 1, FRAMES_MAX do
    local info
    if co then
      info = getinfo(co, level, "Slf")
    else
      info = getinfo(level, "Slf")
    end
    if not info then
      return
    end
    -- Those of the kit are of no interest.
    if not edges.is_kit(info.source) then
      local where = trail.position(info.source, info.currentline)
      if walk.frame then
        walk.frame(info, parent)
      end
      if info.func then
        walk:meet(info.func, "function", parent, "frame", nil, where)
      end
      of_frame(walk, co, co and level or level + 1, parent, where)
    end
  end
  walk.missed = walk.missed + 1
end

---@param walk stillpoint.reload.Walk
---@param object userdata
function edges.of_userdata(walk, object)
  local mt = edges.metatable(object)
  if mt then
    walk:meet(mt, "table", object, "metatable")
  end
  local n, value, more = 0, nil, nil
  repeat
    n = n + 1
    if getuservalue then
      value, more = getuservalue(object, n)
    end
    local kind = type(value)
    if REFERENCE[kind] then
      walk:meet(value, kind, object, "user value")
    end
  until not more
  local env = getfenv and getfenv(object)
  if env then
    walk:meet(env, "table", object, "environment")
  end
end

return edges
