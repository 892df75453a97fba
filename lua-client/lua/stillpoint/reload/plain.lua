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

local function pass_on(from, to)
  image.clear(from)
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

---Has the old table take the place of the one that the chunk returned.
---@param unit stillpoint.reload.Unit
---@param was table
---@param value table
function plain.replace(unit, was, value)
  program.save(was)
  if rawequal(was, value) then
    return drop_older(unit, was)
  end
  image.clear(was)
  for key, field in next, value do
    rawset(was, key, field)
  end
  setmeta(was, getmeta(value))
  local tx = program.transaction
  local images = tx and tx.images.at
  local loaded = {}
  for _, t in pairs(package.loaded) do
    loaded[t] = true
  end
  unify({ [value] = was }, { was }, function(t)
    return loaded[t] or images and images[t]
  end)
  pass_on(value, was)
  if tx then
    tx.replaced[value] = was
  end
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
