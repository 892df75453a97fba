-- `reload.override`: a function around a function, that does not nest one level deeper at each reload.
--
--     reload.override(gate, "OnConnect", function(super, self, fd) return super(self, fd) end)
--
-- An override is known again by its unit and its number among the unit's overrides of the slot (see `slot`), and so keeps
-- its place; one that its unit does not declare again is gone. One that is declared outside of chunks, by a hook, say,
-- belongs to the unit of its function and ends when that runs again. Those of the main program stay.

local Slot = require "stillpoint.reload.slot"
local class = require "stillpoint.reload.class"
local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

local metatable_of = debug and debug.getmetatable or getmetatable

local slots = program.registry "override"

local memory = declared.memory()

-- Numbers given out in a run: run -> slot -> integer.
local numbers = setmetatable({}, { __mode = "k" })

-- All handles there are.
local handles = setmetatable({}, { __mode = "k" })

local function is_callable(value)
  local meta = metatable_of(value)
  return type(value) == "function" or type(meta) == "table" and rawget(meta, "__call") ~= nil
end

-- The number of the override that a unit declares now, among those of its run for the slot. What is declared outside of
-- chunks comes after all of them, and is a new one each time.
local function next_number(slot)
  if not program.current() then
    return math.huge
  end
  local run = declared.run()
  local given = numbers[run] or setmetatable({}, { __mode = "k" })
  numbers[run] = given
  given[slot] = (given[slot] or 0) + 1
  return given[slot]
end

local function find_link(slot, owner, number)
  for _, link in ipairs(slot.links) do
    if link.owner == owner and link.number == number and number < math.huge then
      return link
    end
  end
end

-- The links with one more: the last, but for those that come after it in its own unit.
local function with(links, new)
  local result, place = {}, #links + 1
  for i, link in ipairs(links) do
    result[i] = link
    if link.owner == new.owner and link.number > new.number then
      place = math.min(place, i)
    end
  end
  table.insert(result, place, new)
  return result
end

---@class stillpoint.reload.Override
---@field _slot stillpoint.reload.Slot
---@field _link stillpoint.reload.Link
local Handle = {}
Handle.__index = Handle
Handle.__name = "stillpoint.reload.Override"

---Takes the override back, also that of a later generation, which has the same place in the program.
function Handle:remove()
  self._slot:drop(function(link)
    return link == self._link
  end)
end

local function handle(slot, link)
  local result = setmetatable({ _slot = slot, _link = link }, Handle)
  handles[result] = true
  return result
end

local override = {}

---Overrides a function of a table. The table lives as long as the override.
---@param target table A module, a class, or any other.
---@param name any
---@param fn fun(super: function, ...): any Called in its place, with what it overrides and the arguments.
---@return stillpoint.reload.Override
function override.override(target, name, fn)
  declared.check("table", target, "target")
  if name == nil then
    error("name: the name of a function expected, got nil", 2)
  end
  declared.check("function", fn, "override")
  local there = Slot.look(target, name)
  if there ~= nil and not is_callable(there) then
    error(("%s is a %s: only functions can be overridden"):format(declared.name_of(target, name), type(there)), 2)
  end
  local slot = Slot.of(target, name)
  slot:install()
  local owner, number, tx = declared.owner(fn), next_number(slot), declared.staging()
  local link = find_link(slot, owner, number)
  if link then
    program.save(link)
    link.fn = fn
    slot:build(slot.links)
  else
    link = { owner = owner, number = number, fn = fn }
    slot:build(with(slot.links, link))
  end
  if tx then
    memory(tx)[link] = true
  end
  return handle(slot, link)
end

local function each_link(fn)
  for slot in next, slots do
    for _, link in ipairs(slot.links) do
      fn(link, slot)
    end
  end
end

program.declare {
  kind = "override",
  begin = function(tx)
    local before = {}
    each_link(function(link, slot)
      before[link] = slot
    end)
    memory(tx).before = before
  end,
  finish = function(tx)
    local standing, list = memory(tx), {}
    for slot in next, slots do
      list[#list + 1] = slot
    end
    for _, slot in ipairs(list) do
      -- A plain unit that overrides in a table of its own: the table of the first generation took that one's place.
      program.save(slot)
      slot.target = tx.replaced[slot.target] or slot.target
      slot:drop(function(link)
        return not standing[link] and not declared.stands(link.owner)
      end)
      if not slot.dropped then
        slot:install()
      end
    end
    class.refresh()
  end,
  changes = function(tx, list)
    local before, now, changes = memory(tx).before, {}, {}
    local function add(slot, link, from, to)
      local name = declared.name_of(slot.target, slot.name)
      changes[#changes + 1] = { unit = link.owner, kind = "override", name = name, from = from, to = to }
    end
    each_link(function(link, slot)
      now[link] = true
      if not before[link] then
        add(slot, link, nil, "declared")
      end
    end)
    for link, slot in next, before do
      if not now[link] then
        add(slot, link, "declared", nil)
      end
    end
    declared.report(list, changes)
  end,
  owns = function(value)
    return Slot.is_wrapper(value) or handles[value] == true
  end,
}

return override
