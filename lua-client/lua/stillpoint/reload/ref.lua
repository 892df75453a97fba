-- `reload.ref`: a function to hand out to timers, sockets and other programs' tables, that never gets old.
--
--     timer.every(1, reload.ref(M, "tick"))
--
-- It is the same function for the same table and name, and calls what stands there at the time of the call. The tables
-- here are weak on both sides: a ref keeps its table alive, nothing else does.

local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

---@class stillpoint.reload.RefCell What all refs of one table share.
---@field target table
---@field refs table<any, function> By name; weak.
---@field gone table<any, integer> Names that led nowhere after a reload, and since which generation.

---@type table<table, stillpoint.reload.RefCell>
local cells = setmetatable({}, { __mode = "kv" })

-- All refs there are.
local known = setmetatable({}, { __mode = "k" })

local function missing(cell, name)
  local since = cell.gone[name]
  local what = declared.name_of(cell.target, name)
  if since then
    error(("%s is gone since generation %d, but a reload.ref to it was called"):format(what, since), 3)
  end
  error(("there is no %s in generation %d, but a reload.ref to it was called"):format(what, program.generation), 3)
end

local function trampoline(cell, name)
  return function(...)
    local fn = cell.target[name]
    if fn == nil then
      missing(cell, name)
    end
    return fn(...)
  end
end

local ref = {}

---@param t table
---@param name any The function may come later: it is looked for when the ref is called.
---@return function
function ref.ref(t, name)
  declared.check("table", t, "table")
  if name == nil then
    error("name: the name of a function expected, got nil", 2)
  end
  local cell = cells[t]
  if not cell then
    cell = { target = t, refs = setmetatable({}, { __mode = "v" }), gone = {} }
    cells[t] = cell
  end
  local fn = cell.refs[name]
  if not fn then
    fn = trampoline(cell, name)
    cell.refs[name] = fn
    known[fn] = true
  end
  return fn
end

program.declare {
  kind = "ref",
  finish = function(tx)
    for _, cell in next, cells do
      local gone = {}
      for name in next, cell.refs do
        local found, fn = pcall(function()
          return cell.target[name]
        end)
        if not found or fn == nil then
          gone[name] = cell.gone[name] or tx.to
        end
      end
      program.save(cell)
      cell.gone = gone
    end
  end,
  owns = function(value)
    return known[value] == true
  end,
}

return ref
