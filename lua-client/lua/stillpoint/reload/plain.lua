-- Plain units: files that return a table and use none of the declarations.
--
-- The table of the first generation stays the one that everybody has: it is emptied and gets what the new chunk put in
-- the table it returned. The chunk's functions still refer to their own table; those references are replaced by the old
-- one (*unified*), so that no function works on a copy that nobody else sees. Whoever holds the new table nevertheless,
-- a host written in C, say, holds a table that passes everything on to the old one.

local baseline = require "stillpoint.reload.baseline"
local image = require "stillpoint.reload.image"
local program = require "stillpoint.reload.program"

local getupvalue = debug and debug.getupvalue
local setupvalue = debug and debug.setupvalue
local getmeta, setmeta = image.getmeta, image.setmeta

local plain = { baseline = baseline.take }

-- Replaces references in all that the new chunks made and that can be reached from the values in `queue`.
---@param map table<table, table>
---@param queue any[]
---@param is_old fun(t: table): any Tables that were there before, and are not entered.
local function unify(map, queue, is_old)
  local seen = {}
  local function add(value)
    local kind = type(value)
    if (kind == "table" or kind == "function") and not seen[value] and not map[value] then
      seen[value] = true
      if kind == "function" or not is_old(value) then
        queue[#queue + 1] = value
      end
    end
  end

  local function enter_table(t)
    local keys = {}
    for key, value in next, t do
      if map[value] then
        rawset(t, key, map[value])
      end
      if map[key] then
        keys[#keys + 1] = key
      end
      add(key)
      add(value)
    end
    for _, key in ipairs(keys) do
      local value = rawget(t, key)
      rawset(t, key, nil)
      rawset(t, map[key], value)
    end
    local meta = getmeta(t)
    if map[meta] then
      setmeta(t, map[meta])
    end
    add(meta)
  end

  local function enter_function(f)
    local _, generation = program.chunk_of(f)
    if not getupvalue or not setupvalue or generation ~= program.generation_now() then
      return
    end
    local i = 1
    while true do
      local name, value = getupvalue(f, i)
      if not name or name == "" then
        return
      end
      if map[value] then
        setupvalue(f, i, map[value])
      end
      add(value)
      i = i + 1
    end
  end

  while #queue > 0 do
    local value = table.remove(queue)
    if type(value) == "table" then
      enter_table(value)
    elseif type(value) == "function" then
      enter_function(value)
    end
  end
end

-- Objects that have the table for a metatable find their methods in the other.
local function pass_on(from, to)
  local is_class = rawget(from, "__index") ~= nil
  image.clear(from)
  if is_class then
    rawset(from, "__index", to)
  end
  setmeta(from, { __index = to, __newindex = to })
end

-- A chunk that fills the table it finds, say a global: what functions it did not set again are gone from its text.
local function drop_older(unit, t)
  for key, value in next, t do
    if type(value) == "function" then
      local name, generation = program.chunk_of(value)
      if name == unit.name and generation ~= unit.generation then
        rawset(t, key, nil)
      end
    end
  end
end

---The values of package.loaded, as a set.
---@return table<any, true>
function plain.loaded_values()
  local values = {}
  for _, value in next, package.loaded do
    values[value] = true
  end
  return values
end

-- Which kind of declaration a table is of.
local function declared_as(t)
  for _, kind in ipairs(program.kinds) do
    if kind.owns and kind.owns(t) then
      return kind.kind
    end
  end
  return nil
end

---Whether a unit only gives a table on, that is not its to be emptied: it was loaded before its chunk ran (`there`), or is
---what another one gives.
---@param unit stillpoint.reload.Unit
---@param t table
---@param there table<any, true>
---@return boolean
function plain.is_given_on(unit, t, there)
  if there[t] then
    return true
  end
  for name in next, unit.deps do
    if rawequal(package.loaded[name], t) then
      return true
    end
  end
  for name, other in next, program.units do
    if name ~= unit.name and rawequal(other.value, t) then
      return true
    end
  end
  return false
end

-- Has the unit's own table take the place of the one that the chunk returned.
local function refill(own, value)
  image.clear(own)
  for key, field in next, value do
    rawset(own, key, field)
  end
  setmeta(own, getmeta(value))
  local tx = program.transaction
  local images = tx and tx.images.at
  local loaded = plain.loaded_values()
  unify({ [value] = own }, { own }, function(t)
    return loaded[t] or images and images[t]
  end)
  pass_on(value, own)
  if tx then
    tx.replaced[value] = own
  end
end

---What the unit's value is to be, now that its chunk has returned a table.
---@param unit stillpoint.reload.Unit
---@param was any The value it had before.
---@param value table
---@param there table<any, true> What was loaded before the chunk ran.
---@return table
function plain.replace(unit, was, value, there)
  if rawequal(was, value) then
    program.save(value)
    drop_older(unit, value)
    return value
  end
  local own = unit.own
  if declared_as(value) or plain.is_given_on(unit, value, there) then
    if own and not rawequal(own, value) then
      program.save(own)
      pass_on(own, value)
    end
    return value
  end
  -- A class that is one by hand again: its objects are to get the new methods.
  own = own or declared_as(was) == "class" and was or value
  unit.own = own
  if not rawequal(own, value) then
    program.save(own)
    refill(own, value)
  end
  return own
end

---What units put elsewhere, in a table of another unit or in a global, while the reload ran.
---@param tx stillpoint.reload.Transaction
function plain.unify(tx)
  local map, images = tx.replaced, tx.images
  if next(map) == nil then
    return
  end
  local queue, moved = {}, {}
  images:each_change(function(t, key, _, new)
    if map[new] then
      rawset(t, key, map[new])
    end
    if map[key] and new ~= nil then
      moved[#moved + 1] = { t, key }
    end
    queue[#queue + 1] = new
    queue[#queue + 1] = getmeta(t)
  end)
  for _, slot in ipairs(moved) do
    local t, key = slot[1], slot[2]
    local value = rawget(t, key)
    rawset(t, key, nil)
    rawset(t, map[key], value)
  end
  images:each_upvalue_change(function(f, i, value)
    if map[value] then
      setupvalue(f, i, map[value])
    end
    queue[#queue + 1] = value
  end)
  local fresh = {}
  for _, value in ipairs(queue) do
    if not images.at[value] and not map[value] then
      fresh[#fresh + 1] = value
    end
  end
  unify(map, fresh, function(t)
    return images.at[t]
  end)
end

return plain
