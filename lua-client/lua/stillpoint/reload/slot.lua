-- What is overridden: a table and a name in it, where a wrapper stands.
--
-- The wrapper is one and the same function as long as the slot is overridden. It calls the overrides, the last one first;
-- beneath them is the base, what the table had there itself. If it only inherits the function, that is looked for at each
-- call. The chain of closures is built anew whenever something changes: a call that is under way ends in the chain it
-- began.

local class = require "stillpoint.reload.class"
local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

local metatable_of = debug and debug.getmetatable or getmetatable
local getupvalue = debug and debug.getupvalue

---@class stillpoint.reload.Link One override.
---@field owner string
---@field number number Which of its unit's overrides of the slot; math.huge: declared outside of a chunk.
---@field fn function

---@class stillpoint.reload.Slot
---@field target table
---@field name any
---@field wrapper function
---@field base any nil: nothing, or what the target inherits.
---@field links stillpoint.reload.Link[] In the order of first declaration; never changed, only replaced.
---@field top function The outermost call.
---@field dropped boolean|nil Nothing overrides it any more, and the target has what it had.
local Slot = {}
Slot.__index = Slot

---@type table<stillpoint.reload.Slot, stillpoint.reload.Slot>
local slots = program.registry "override"

-- All wrappers there are.
local wrappers = setmetatable({}, { __mode = "k" })

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

---The slot of a table and a name; a new one is not installed yet.
---@param target table
---@param name any
---@return stillpoint.reload.Slot
function Slot.of(target, name)
  for slot in next, slots do
    if rawequal(slot.target, target) and rawequal(slot.name, name) then
      return slot
    end
  end
  local self = setmetatable({ target = target, name = name }, Slot)
  function self.wrapper(...)
    return self.top(...)
  end
  wrappers[self.wrapper] = true
  self:build {}
  return self
end

---What an override declared now would call.
---@param target table
---@param name any
---@return any
function Slot.look(target, name)
  local there = rawget(target, name)
  if there == nil then
    return inherited(target, name)
  end
  return there
end

---@param value any
---@return boolean
function Slot.is_wrapper(value)
  return wrappers[value] == true
end

function Slot:beneath()
  if self.dropped then
    return self.target[self.name]
  elseif self.base ~= nil then
    return self.base
  end
  return inherited(self.target, self.name)
end

---Builds the chain of calls for the links.
---@param links stillpoint.reload.Link[]
function Slot:build(links)
  local function call(...)
    local fn = self:beneath()
    if fn == nil then
      local text = "%s was overridden, but in generation %d there is no such function for super to call"
      error(text:format(declared.name_of(self.target, self.name), program.generation), 2)
    end
    return fn(...)
  end
  for _, link in ipairs(links) do
    local super, fn = call, link.fn
    call = function(...)
      return fn(super, ...)
    end
  end
  program.save(self)
  self.links, self.top = links, call
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

---Puts the wrapper into the target, over what stands there.
function Slot:install()
  local target, name, wrapper = self.target, self.name, self.wrapper
  slots[self] = self
  local there = rawget(target, name)
  if rawequal(there, wrapper) or wraps(there, wrapper) then
    return
  end
  program.save(self)
  program.save(target)
  if class.is_inherited(target, name) then
    self.base = nil
  else
    self.base = there
  end
  rawset(target, name, wrapper)
  refresh_classes(name)
end

-- Takes the wrapper out of the target, unless somebody put a function over it that calls it.
local function uninstall(self)
  local target, name = self.target, self.name
  local there = rawget(target, name)
  if wraps(there, self.wrapper) then
    return
  end
  program.save(self)
  if rawequal(there, self.wrapper) then
    program.save(target)
    rawset(target, name, self.base)
    refresh_classes(name)
  end
  self.dropped, self.base = true, nil
  slots[self] = nil
end

---Drops links; with the last one the target gets back what it had.
---@param gone fun(link: stillpoint.reload.Link): boolean|nil
function Slot:drop(gone)
  local left = {}
  for _, link in ipairs(self.links) do
    if not gone(link) then
      left[#left + 1] = link
    end
  end
  if #left < #self.links then
    self:build(left)
  end
  if #left == 0 then
    uninstall(self)
  end
end

return Slot
