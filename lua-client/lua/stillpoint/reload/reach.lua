-- What a reload may touch: the tables and functions that are saved before it begins.
--
-- From package.loaded, the globals, the units and the registries the walk goes breadth first through tables, metatables
-- and the upvalues of the program's own functions. It ends at what is not the program's: libraries and the objects they
-- made. A connection that was set back to an earlier state while its peer went on would be worse than one that was not.
--
-- How much is saved is bounded (`undo_tables`), since the program stands still meanwhile. What lies beyond is not set
-- back when a reload fails, and the report says so. Data comes last, so that it is never code that is left out: what
-- `once` keeps and large tables are put off until all else is saved.

local image = require "stillpoint.reload.image"
local program = require "stillpoint.reload.program"
local source = require "stillpoint.reload.source"

local getinfo = debug and debug.getinfo
local getupvalue = debug and debug.getupvalue
local type = type

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

---Entries of a table that count as one table.
local ENTRIES = 8

---Entries of a table that is put off.
local LARGE = 1024

---@class stillpoint.reload.Reach
---@field images stillpoint.reload.Images
---@field left number Tables and functions that may still be saved.
---@field limit integer At first; never more are queued.
---@field whole boolean Nothing was left out.
---@field seen table<any, true>
---@field queue table<integer, table|function>
---@field last integer
---@field later table[] What was put off.
---@field ours table<table, boolean>
local Reach = {}
Reach.__index = Reach

function Reach:add(value)
  local kind = type(value)
  if (kind == "table" or kind == "function") and not self.seen[value] then
    self.seen[value] = true
    self.last = self.last + 1
    self.queue[self.last] = value
  end
end

---@param value any
function Reach:put_off(value)
  if type(value) == "table" and not self.seen[value] then
    self.seen[value] = true
    self.later[#self.later + 1] = value
  end
end

-- Whether the table is the program's; saves its metatable, too.
function Reach:is_own(t)
  local meta = image.getmeta(t)
  if not meta then
    return true
  end
  local ours = self.ours[meta]
  if ours == nil then
    ours = is_ours(meta)
    self.ours[meta] = ours
  end
  if ours then
    self:add(meta)
  end
  return ours
end

---@param t table
---@param max integer Entries.
---@return boolean saved false: it has more.
function Reach:enter_table(t, max)
  local images = self.images
  if not images:save(t, max) then
    return false
  end
  local log, at = images.log, images.at[t]
  local count = log[at + 2]
  self.left = self.left - 1 - count / (2 * ENTRIES)
  -- As `add` does, but this is the loop that the time goes into.
  local seen, queue, last = self.seen, self.queue, self.last
  for n = at + 3, at + 2 + count do
    local value = log[n]
    local kind = type(value)
    if (kind == "table" or kind == "function") and not seen[value] then
      if last >= self.limit then
        self.whole = false
        break
      end
      seen[value] = true
      last = last + 1
      queue[last] = value
    end
  end
  self.last = last
  return true
end

function Reach:enter_function(f)
  if not getupvalue or not program.chunk_of(f) then
    return
  end
  self.left = self.left - 1
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

-- Up to the first thing that was put off.
function Reach:walk_queue(first)
  local queue = self.queue
  while first <= self.last and self.left > 0 do
    local value = queue[first]
    queue[first] = nil
    first = first + 1
    if type(value) == "function" then
      self:enter_function(value)
    elseif self:is_own(value) and not self:enter_table(value, LARGE) then
      self.later[#self.later + 1] = value
    end
  end
  return first
end

---@return boolean whole
function Reach:walk()
  local first = self:walk_queue(1)
  -- The list grows meanwhile.
  local i = 1
  while i <= #self.later and self.left > 0 do
    local t = self.later[i]
    if self:is_own(t) and not self:enter_table(t, math.floor(self.left * ENTRIES)) then
      self.whole = false
    end
    first, i = self:walk_queue(first), i + 1
  end
  return self.whole and first > self.last and i > #self.later
end

---Saves what a reload may touch.
---@param images stillpoint.reload.Images
---@param limit integer Most tables and functions; each 8 entries of a table count as one more.
---@return boolean whole
function reach.save(images, limit)
  local self = setmetatable(
    { images = images, left = limit, limit = limit, whole = true, seen = {}, queue = {}, last = 0, later = {}, ours = {} },
    Reach
  )
  local seen = self.seen
  images:save(package.loaded)
  images:save(package.preload)
  images:save(package.searchers or package.loaders)
  images:save(_G)
  images:save(program.units)
  -- Of strings, say: their metatables belong to the whole program.
  for _, value in ipairs { "", 0, true, print } do
    local meta = image.getmeta(value)
    if type(meta) == "table" then
      images:save(meta)
    end
  end
  for _, t in ipairs { package.loaded, package.preload, _G, program.units, program.registries } do
    seen[t] = true
  end
  for name, value in next, package.loaded do
    if not program.units[name] and not seen[value] then
      seen[value] = true
      if type(value) == "table" and type(name) == "string" and source.may_be_unit(name) then
        images:save(value)
      end
    end
  end
  for _, kind in ipairs(program.kinds) do
    for _, value in ipairs(kind.roots and kind.roots() or {}) do
      self:put_off(value)
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
      if type(value) == "table" and not seen[value] then
        images:save(value)
      end
      self:add(value)
    end
  end
  for _, value in next, _G do
    self:add(value)
  end
  return self:walk()
end

return reach
