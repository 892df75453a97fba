-- `reload.class`: classes whose objects get new methods.
--
--     local Player = reload.class("Player", Entity)
--     function Player:init(name) Player.super.init(self) self.name = name end
--     local ann = Player.new "Ann"                            -- or Player "Ann"
--
-- A class is its objects' metatable and their `__index`: one table for ever, found by its name. When its unit runs
-- again the table is emptied and refilled, so what is not defined any more is gone from living objects, too.
--
-- Metamethods of a base are copied (see `inherit`), and again after each reload: `class.refresh`. An `__index` function of
-- a base is asked after the methods of the derived class and its bases; in the class that defines it, it is plain Lua and
-- sees every field the object has not.

local declared = require "stillpoint.reload.declared"
local inherit = require "stillpoint.reload.inherit"
local program = require "stillpoint.reload.program"

local metatable_of = debug and debug.getmetatable or getmetatable

-- Where a class's own metatable has its entry.
local ENTRY = {}

---@class stillpoint.reload.Class
---@field super table|nil The base.
---@field new fun(...): table An object; calls `init` of the class, or of a base, with it and the arguments.
---@field init? fun(self: table, ...)

---@class stillpoint.reload.ClassEntry
---@field name string
---@field class table
---@field meta table The class's own metatable.
---@field base table|nil
---@field is_base boolean|nil Another class was derived from it.
---@field settled boolean|nil Has the metamethods of its bases, all of which are defined.
---@field owner string The unit that declares it.
---@field path string
---@field run table In which it was declared last.
---@field inherited table<string, any> Metamethods copied from the base.
---@field index function The `__index` of its objects when a base has one of its own.

---@type table<string, stillpoint.reload.ClassEntry>
local registry = program.registry "class"

-- Classes that are declared no more. As long as there are objects, a class of that name is the same table again.
local gone = setmetatable({}, { __mode = "v" })

local memory = declared.memory()

local class = {}

---@return stillpoint.reload.ClassEntry|nil
local function entry_of(value)
  local meta = metatable_of(value)
  return type(meta) == "table" and rawget(meta, ENTRY) or nil
end

-- Bases first.
local function refresh(entry, done)
  if not done[entry] then
    done[entry] = true
    local base = entry.base and entry_of(entry.base)
    if base then
      refresh(base, done)
    end
    inherit.refresh(entry)
  end
end

---Gives every class the metamethods that its bases have now.
function class.refresh()
  local done = {}
  for _, entry in next, registry do
    refresh(entry, done)
  end
end

---Whether what stands raw in a class is but a copy from its base.
---@param t any
---@param key any
---@return boolean
function class.is_inherited(t, key)
  local entry = entry_of(t)
  return entry ~= nil and entry.inherited[key] ~= nil and rawequal(entry.inherited[key], rawget(t, key))
end

-- A field that a class did not have is set.
local function define(entry, key, value)
  program.save(entry.class)
  rawset(entry.class, key, value)
  if entry.is_base and inherit.is_inheritable(key) then
    class.refresh()
  end
end

-- A class can be declared before its bases are defined, so it looks again when it makes its first object. Objects that a
-- chunk makes while it defines are no reason to stop looking.
local function settle(entry)
  refresh(entry, {})
  entry.settled = program.current() == nil
end

local function create(name)
  local object_class, meta = {}, {}
  local entry = { name = name, class = object_class, meta = meta, inherited = {} }
  function entry.new(...)
    if not entry.settled then
      settle(entry)
    end
    local object = setmetatable({}, object_class)
    local init = object_class.init
    if init then
      init(object, ...)
    end
    return object
  end
  function entry.index(object, key)
    local value = object_class[key]
    if value ~= nil then
      return value
    end
    local index = rawget(entry.base, "__index")
    if type(index) == "function" then
      return index(object, key)
    end
    return index and index[key]
  end
  meta[ENTRY] = entry
  function meta.__call(_, ...)
    return object_class.new(...)
  end
  function meta.__newindex(_, key, value)
    define(entry, key, value)
  end
  function meta.__tostring()
    return "class " .. name
  end
  setmetatable(object_class, meta)
  return entry
end

local function check_owner(entry, owner, path)
  local tx = declared.staging()
  local declared_now = tx and memory(tx)[entry] or false
  if entry.owner ~= owner and (declared_now or declared.stands(entry.owner)) then
    error(("class '%s' is declared by %s and by %s: rename one"):format(entry.name, entry.path, path), 3)
  elseif entry.run == declared.run() then
    error(("class '%s' is declared twice by %s: rename one"):format(entry.name, path), 3)
  end
end

local function check_base(name, entry, base)
  if type(base) ~= "table" then
    local got = base == nil and "nil; is its module loaded?" or "a " .. type(base)
    error(("base of class '%s': a class expected, got %s"):format(name, got), 3)
  end
  local ancestor = base
  while ancestor do
    if entry and rawequal(ancestor, entry.class) then
      error(("class '%s' cannot be its own base"):format(name), 3)
    end
    local above = entry_of(ancestor)
    ancestor = above and above.base
  end
end

local function copy(t)
  local result = {}
  for key, value in next, t do
    result[key] = value
  end
  return result
end

local function set_base(entry, base)
  program.save(entry.meta)
  entry.meta.__index = base
  entry.base = base
  inherit.set(entry.class, "super", base)
end

local function refill(entry, base)
  local target = entry.class
  program.save(target)
  for key in next, target do
    target[key] = nil
  end
  rawset(target, "__name", entry.name)
  rawset(target, "__index", target)
  rawset(target, "new", entry.new)
  set_base(entry, base)
  entry.inherited, entry.settled = {}, false
  inherit.refresh(entry)
end

---Declares a class: an empty one to define methods in, the same table in every generation.
---@param name string Of this class alone, in the whole program.
---@param ... table|nil The base: another class, or any table with methods.
---@return stillpoint.reload.Class
function class.class(name, ...)
  declared.check("string", name, "name")
  local base = ...
  local entry = registry[name] or gone[name]
  local owner, path = declared.owner()
  if registry[name] then
    check_owner(entry, owner, path)
  end
  if select("#", ...) > 0 then
    check_base(name, entry, base)
  end
  entry = entry or create(name)
  program.save(entry)
  local tx = declared.staging()
  if tx and not memory(tx)[entry] then
    memory(tx)[entry] = {
      known = registry[name] ~= nil,
      base = entry.base,
      fields = copy(entry.class),
      inherited = entry.inherited,
    }
  end
  entry.owner, entry.path, entry.run = owner, path, declared.run()
  registry[name] = entry
  local above = base and entry_of(base)
  if above then
    program.save(above)
    above.is_base = true
  end
  refill(entry, base)
  return entry.class
end

---Whether a value is an object of the class, or of one derived from it.
---@param value any
---@param of table
---@return boolean
function class.instanceof(value, of)
  declared.check("table", of, "class")
  local ancestor = metatable_of(value)
  while ancestor do
    if rawequal(ancestor, of) then
      return true
    end
    local entry = entry_of(ancestor)
    ancestor = entry and entry.base
  end
  return false
end

local GENERATED = { __index = true, __name = true, super = true, new = true }

-- What became of a class that was declared again.
local function compare(entry, before, add)
  if not before.known then
    return add("class", entry.name, nil, "declared")
  end
  if not rawequal(before.base, entry.base) then
    local from, to = before.base and entry_of(before.base), entry.base and entry_of(entry.base)
    add("class", entry.name, "base " .. (from and from.name or "none"), "base " .. (to and to.name or "none"))
  end
  local function functions(kind, these, inherited, those)
    for key, value in next, these do
      if type(value) == "function" and rawget(those, key) == nil and not GENERATED[key] and inherited[key] == nil then
        add(kind, entry.name .. "." .. tostring(key))
      end
    end
  end
  functions("function_gone", before.fields, before.inherited, entry.class)
  functions("function_new", entry.class, entry.inherited, before.fields)
end

program.declare {
  kind = "class",
  finish = function(tx)
    for name, entry in next, registry do
      if not memory(tx)[entry] and not declared.stands(entry.owner) then
        registry[name] = nil
        gone[name] = entry
        memory(tx)[entry] = { dropped = true }
      elseif tx.replaced[entry.base or false] then
        -- The new table of a plain unit, whose first one took its place.
        program.save(entry)
        set_base(entry, tx.replaced[entry.base])
      end
    end
    class.refresh()
    for _, entry in next, registry do
      entry.settled = true
    end
  end,
  changes = function(tx, list)
    local changes = {}
    for entry, before in next, memory(tx) do
      local function add(kind, name, from, to)
        changes[#changes + 1] = { unit = entry.owner, kind = kind, name = name, from = from, to = to }
      end
      if before.dropped then
        add("class", entry.name, "declared", nil)
      else
        compare(entry, before, add)
      end
    end
    declared.report(list, changes)
  end,
  owns = function(value)
    return type(value) == "table" and entry_of(value) ~= nil
  end,
}

return class
