-- `reload.override`: a function around a function, that does not nest one level deeper at each reload.
--
--     reload.override(gate, "OnConnect", function(super, self, fd) return super(self, fd) end)
--
-- What is overridden is a *slot*: a table and a name. There stands one *wrapper*, the same in all generations, which calls
-- the overrides, the one declared last first; beneath them is the *base*, what the table had there itself. The base is
-- looked for anew after each reload; if the table only inherits the function, at each call.
--
-- An override is known again by its unit and its number among the unit's overrides of the slot, and so keeps its place.
-- One that is declared later, by a hook, say, belongs to the unit of its function and ends when that runs again.
-- The chain of closures is built anew whenever something changes: a call that is under way ends in the chain it began.

local class = require "stillpoint.reload.class"
local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

local metatable_of = debug and debug.getmetatable or getmetatable
local getupvalue = debug and debug.getupvalue

---@class stillpoint.reload.Slot
---@field target table
---@field name any
---@field wrapper function
---@field base any What stood in the target itself; nil: nothing, or what it inherits.
---@field links stillpoint.reload.Link[] In the order of first declaration; never changed, only replaced.
---@field top function The outermost call.
---@field dropped boolean|nil Nothing overrides it any more, and the target has what it had.

---@class stillpoint.reload.Link One override.
---@field owner string
---@field number number Which of its unit's overrides of the slot; math.huge: declared outside of a chunk.
---@field fn function

---@type table<stillpoint.reload.Slot, stillpoint.reload.Slot>
local slots = program.registry "override"

local memory = declared.memory()

-- Numbers given out in a run: run -> slot -> integer.
local numbers = setmetatable({}, { __mode = "k" })

-- All handles and wrappers there are.
local known = setmetatable({}, { __mode = "k" })

local function is_callable(value)
  local meta = metatable_of(value)
  return type(value) == "function" or type(meta) == "table" and rawget(meta, "__call") ~= nil
end

-- What the target would have under the name if nothing stood there itself.
local function inherited(target, name)
  local meta = metatable_of(target)
  local index = type(meta) == "table" and rawget(meta, "__index") or nil
  if type(index) == "function" then
    return index(target, name)
  elseif index ~= nil then
    return index[name]
  end
  return nil
end

local function beneath(slot)
  if slot.dropped then
    return slot.target[slot.name]
  elseif slot.base ~= nil then
    return slot.base
  end
  return inherited(slot.target, slot.name)
end

-- Builds the chain of calls for the links.
local function build(slot, links)
  local function call(...)
    local fn = beneath(slot)
    if fn == nil then
      local text = "%s was overridden, but in generation %d there is no such function for super to call"
      error(text:format(declared.name_of(slot.target, slot.name), program.generation), 2)
    end
    return fn(...)
  end
  for _, link in ipairs(links) do
    local super, fn = call, link.fn
    call = function(...)
      return fn(super, ...)
    end
  end
  program.save(slot)
  slot.links, slot.top = links, call
end

local function create(target, name)
  local slot = { target = target, name = name }
  function slot.wrapper(...)
    return slot.top(...)
  end
  known[slot.wrapper] = true
  build(slot, {})
  return slot
end

local function find(target, name)
  for slot in next, slots do
    if rawequal(slot.target, target) and rawequal(slot.name, name) then
      return slot
    end
  end
end

-- Whether a function that was put over the wrapper by hand calls it: then it is no base for it.
local function wraps(fn, wrapper)
  if type(fn) ~= "function" or not getupvalue then
    return false
  end
  local i = 1
  while true do
    local name, value = getupvalue(fn, i)
    if not name then
      return false
    elseif rawequal(value, wrapper) then
      return true
    end
    i = i + 1
  end
end

local function refresh_classes(name)
  if type(name) == "string" and name:sub(1, 2) == "__" then
    class.refresh()
  end
end

-- Puts the wrapper into the target, over what stands there.
local function install(slot)
  local target, name = slot.target, slot.name
  local there = rawget(target, name)
  if rawequal(there, slot.wrapper) or wraps(there, slot.wrapper) then
    return
  end
  program.save(slot)
  program.save(target)
  if class.is_inherited(target, name) then
    slot.base = nil
  else
    slot.base = there
  end
  rawset(target, name, slot.wrapper)
  refresh_classes(name)
end

-- Takes the wrapper out of the target, unless somebody put a function over it that calls it.
local function uninstall(slot)
  local target, name = slot.target, slot.name
  local there = rawget(target, name)
  if wraps(there, slot.wrapper) then
    return
  end
  program.save(slot)
  if rawequal(there, slot.wrapper) then
    program.save(target)
    rawset(target, name, slot.base)
    refresh_classes(name)
  end
  slot.dropped, slot.base = true, nil
  slots[slot] = nil
end

local function without(links, gone)
  local left = {}
  for _, link in ipairs(links) do
    if not gone(link) then
      left[#left + 1] = link
    end
  end
  return left
end

local function settle(slot, links)
  if #links ~= #slot.links then
    build(slot, links)
  end
  if #links == 0 then
    uninstall(slot)
  end
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
  for i = #links, 1, -1 do
    local link = links[i]
    if link.owner == new.owner and link.number > new.number then
      place = i
    end
    result[i] = link
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
  local slot, link = self._slot, self._link
  settle(slot, without(slot.links, function(other)
    return other == link
  end))
  if not declared.staging() then
    declared.act()
  end
end

local function handle(slot, link)
  local result = setmetatable({ _slot = slot, _link = link }, Handle)
  known[result] = true
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
  local slot = find(target, name) or create(target, name)
  local there = rawget(target, name)
  if there == nil then
    there = inherited(target, name)
  end
  if there ~= nil and not is_callable(there) then
    error(("%s is a %s: only functions can be overridden"):format(declared.name_of(target, name), type(there)), 2)
  end
  slots[slot] = slot
  install(slot)
  local owner, number, tx = declared.owner(fn), next_number(slot), declared.staging()
  local link = find_link(slot, owner, number)
  if link then
    program.save(link)
    link.fn = fn
    build(slot, slot.links)
  else
    link = { owner = owner, number = number, fn = fn }
    build(slot, with(slot.links, link))
  end
  if tx then
    memory(tx)[link] = true
  else
    declared.act()
  end
  return handle(slot, link)
end

program.declare {
  kind = "override",
  begin = function(tx)
    local before = {}
    for slot in next, slots do
      for _, link in ipairs(slot.links) do
        before[link] = slot
      end
    end
    memory(tx).before = before
  end,
  finish = function(tx)
    local standing = memory(tx)
    local list = {}
    for slot in next, slots do
      program.save(slot)
      list[#list + 1] = slot
    end
    for _, slot in ipairs(list) do
      -- A plain unit that overrides in a table of its own: the table of the first generation took that one's place.
      slot.target = tx.replaced[slot.target] or slot.target
      settle(slot, without(slot.links, function(link)
        return not standing[link] and not declared.stands(link.owner)
      end))
      if not slot.dropped then
        install(slot)
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
    for slot in next, slots do
      for _, link in ipairs(slot.links) do
        now[link] = true
        if not before[link] then
          add(slot, link, nil, "declared")
        end
      end
    end
    for link, slot in next, before do
      if not now[link] then
        add(slot, link, "declared", nil)
      end
    end
    declared.report(list, changes)
  end,
  owns = function(value)
    return known[value] == true
  end,
}

return override
