-- What a reload may touch: the tables and functions that are saved before it begins.
--
-- From package.loaded, the globals, the units and the registries the walk goes breadth first through tables, metatables
-- and the upvalues of the program's own functions, so that code is saved before data. It ends at what is not the
-- program's: libraries and the objects they made. A connection that was set back to an earlier state while its peer
-- went on would be worse than one that was not.
--
-- The number of tables and functions is bounded (`undo_tables`). What lies beyond is not set back when a reload fails,
-- and the report says so.

local image = require "stillpoint.reload.image"
local program = require "stillpoint.reload.program"
local source = require "stillpoint.reload.source"

local getinfo = debug and debug.getinfo
local getupvalue = debug and debug.getupvalue

-- The start of the names of the kit's own chunks.
local kit = getinfo and getinfo(1, "S").source:gsub("reach%.lua$", "") or "stillpoint"

local reach = {}

-- Whether a metatable belongs to the program: it has a function of a unit, or none but the kit's.
local function is_ours(meta)
  if not getinfo then
    return false
  end
  local foreign = false
  local function look(t)
    for _, value in next, t do
      if type(value) == "function" then
        local from = getinfo(value, "S").source
        if program.unit_of(from) then
          return true
        end
        foreign = foreign or from:sub(1, #kit) ~= kit
      end
    end
    return false
  end
  local index = rawget(meta, "__index")
  return look(meta) or type(index) == "table" and index ~= meta and look(index) or not foreign
end

---@class stillpoint.reload.Reach
---@field images stillpoint.reload.Images
---@field limit integer
---@field whole boolean Nothing was left out.
---@field skip table<any, true>
---@field queue table<integer, table|function>
---@field last integer
---@field ours table<table, boolean>
local Reach = {}
Reach.__index = Reach

function Reach:add(value)
  local kind = type(value)
  if (kind == "table" or kind == "function") and not self.skip[value] then
    if self.last >= self.limit then
      self.whole = false
      return
    end
    self.skip[value] = true
    self.last = self.last + 1
    self.queue[self.last] = value
  end
end

function Reach:enter_table(t)
  local meta = image.getmeta(t)
  if meta then
    local ours = self.ours[meta]
    if ours == nil then
      ours = is_ours(meta)
      self.ours[meta] = ours
    end
    if not ours then
      return
    end
    self:add(meta)
  end
  self.images:save(t)
  for key, value in next, t do
    self:add(key)
    self:add(value)
  end
end

function Reach:enter_function(f)
  if not getupvalue or not program.chunk_of(f) then
    return
  end
  self.images:save_upvalues(f)
  local i = 1
  while true do
    local name, value = getupvalue(f, i)
    if not name then
      return
    end
    self:add(value)
    i = i + 1
  end
end

function Reach:walk()
  local queue, first = self.queue, 1
  while first <= self.last do
    local value = queue[first]
    queue[first] = nil
    first = first + 1
    if type(value) == "table" then
      self:enter_table(value)
    else
      self:enter_function(value)
    end
  end
  return self.whole
end

---Saves what a reload may touch.
---@param images stillpoint.reload.Images
---@param limit integer Most tables and functions.
---@return boolean whole
function reach.save(images, limit)
  local self = setmetatable({ images = images, limit = limit, whole = true, skip = {}, queue = {}, last = 0, ours = {} }, Reach)
  local skip = self.skip
  images:save(package.loaded)
  images:save(package.preload)
  images:save(_G)
  images:save(program.units)
  for _, t in ipairs { package.loaded, package.preload, _G, program.units, program.registries } do
    skip[t] = true
  end
  for name, value in next, package.loaded do
    if not program.units[name] and not skip[value] then
      skip[value] = true
      if type(value) == "table" and type(name) == "string" and source.may_be_unit(name) then
        images:save(value)
      end
    end
  end
  for _, unit in pairs(program.units) do
    images:save(unit)
    self:add(unit.value)
  end
  for _, registry in pairs(program.registries) do
    images:save(registry)
    self:add(registry)
    for _, value in next, registry do
      if type(value) == "table" and not skip[value] then
        images:save(value)
      end
      self:add(value)
    end
  end
  for _, value in next, _G do
    self:add(value)
  end
  for _, kind in ipairs(program.kinds) do
    for _, value in ipairs(kind.roots and kind.roots() or {}) do
      self:add(value)
    end
  end
  return self:walk()
end

return reach
