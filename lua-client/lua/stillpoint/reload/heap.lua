-- A walk over everything that the program can reach, in small steps between its requests.
--
--     local walk = heap.new { found = function(f, parent, how, key) ... end }
--     repeat until walk:step(5)          -- milliseconds
--
-- Breadth first, so that the way by which a thing is met first is a short one. For each object the walk notes only who
-- led to it; `walk/trail.lua` makes a readable path of that when one is wanted. All its notes are weak: a walk that is never
-- finished holds nothing but itself.
--
-- The program runs between steps, and there is no write barrier: a thing that moves from where the walk has not been to
-- where it has been is missed. The next walk meets it. Nothing is called (no metamethods: `next`, `rawget`,
-- `debug.getmetatable`), and weak references are not followed.
--
-- What plain Lua cannot see: a coroutine that was never resumed; the stack of the main thread from within a coroutine
-- (5.1, LuaJIT); what C functions hold (5.1); values that a host keeps to itself.

local program = require "stillpoint.reload.program"
local Queue = require "stillpoint.reload.walk.queue"
local Seen = require "stillpoint.reload.walk.seen"
local edges = require "stillpoint.reload.walk.edges"
local tables = require "stillpoint.reload.walk.tables"
local trail = require "stillpoint.reload.walk.trail"

local metatable_of = edges.metatable
local type, clock = type, os.clock
local getregistry = debug and debug.getregistry

---@class stillpoint.reload.WalkOptions
---@field found? fun(f: function, parent: any, how: string, key: any, where: string|nil): boolean|nil A function was met; false: do not look into it.
---@field frame? fun(info: table, parent: any) A frame of a coroutine, or of the stack that began the walk.
---@field every_edge? boolean Functions are told at each place that holds them, not only at the first.
---@field skip? any[] Tables and functions that are not looked into.
---@field roots? table<string, any> More places to begin at, with names.

---@class stillpoint.reload.Walk
---@field found function|nil
---@field frame function|nil
---@field every_edge boolean
---@field parents stillpoint.reload.Seen object -> who led to it; true: nobody.
---@field keys stillpoint.reload.Seen object -> its key, for members of large tables, which are not searched for it.
---@field roots table<any, string> Names of the roots.
---@field stack function Stands for the stack that began the walk.
---@field queue stillpoint.reload.Queue
---@field place table In a table that is looked at in several slices, see `walk/tables.lua`.
---@field paused "all"|"ephemeron"|nil Whether there is such a table.
---@field restarts integer How often it was begun anew.
---@field ephemerons table Weak-keyed tables: their values count as held only once their keys were met.
---@field visited integer
---@field missed integer Tables that changed too often while they were looked at, and frames too deep to be seen.
---@field blind string[] What of `debug` is missing.
---@field done boolean
local Walk = {}
Walk.__index = Walk

local heap = {}

local WEAK_KEYS, WEAK_VALUES = { __mode = "k" }, { __mode = "v" }

---Objects between two looks at the clock.
local BETWEEN_LOOKS = 100

---Rounds over the weak-keyed tables, each because the one before met something new.
local ROUNDS_MAX = 16

---@param opts stillpoint.reload.WalkOptions
---@return stillpoint.reload.Walk
function heap.new(opts)
  -- A function, since comparing it to a table calls no metamethod of that.
  local function stack()
    return opts
  end
  local self = setmetatable({
    found = opts.found,
    frame = opts.frame,
    every_edge = opts.every_edge or false,
    parents = Seen.new(),
    keys = Seen.new(),
    roots = setmetatable({}, WEAK_KEYS),
    stack = stack,
    queue = Queue.new(),
    place = setmetatable({}, WEAK_VALUES),
    restarts = 0,
    ephemerons = setmetatable({}, WEAK_VALUES),
    ephemeron_count = 0,
    ephemeron_at = 0,
    round = 0,
    visited = 0,
    missed = 0,
    blind = edges.blind,
    done = false,
  }, Walk)
  self.parents:add(self, true)
  for _, object in ipairs(opts.skip or {}) do
    if self.parents:get(object) == nil then
      self.parents:add(object, true)
    end
  end
  for name, object in pairs(opts.roots or {}) do
    self:root(object, name)
  end
  return self
end

---Something holds an object: `how` and `key` say by what, `where` in which line of a frame.
---@param object any
---@param kind string Its type.
---@param parent any
---@param how "value"|"key"|"metatable"|"upvalue"|"environment"|"local"|"frame"|"user value"
---@param key? any
---@param where? string
function Walk:meet(object, kind, parent, how, key, where)
  local parents = self.parents
  if parents.newest[object] ~= nil or parents.older > 0 and parents:get(object) ~= nil then
    if self.every_edge and kind == "function" then
      self.found(object, parent, how, key, where)
    end
    return
  end
  parents:add(object, parent)
  self.visited = self.visited + 1
  self.new = true
  if parent == self.stack then
    self.keys:add(object, trail.in_frame(how, key, where))
  elseif self.noting and how == "value" then
    self.keys:add(object, key)
  end
  if kind == "function" and self.found and self.found(object, parent, how, key, where) == false then
    return
  end
  self.queue:push(object)
end

-- Each of these says how much it was.
local LOOK_INTO = {
  ["table"] = tables.look,
  ["function"] = function(self, f)
    edges.of_function(self, f)
    return 1
  end,
  ["thread"] = function(self, co)
    edges.of_stack(self, co, co)
    return 1
  end,
  ["userdata"] = function(self, object)
    edges.of_userdata(self, object)
    return 1
  end,
}

-- The next of the weak-keyed tables. In the end nil: a round over all of them met nothing new.
local function look_at_ephemeron(self)
  if self.ephemeron_at == self.ephemeron_count then
    if self.ephemeron_count == 0 or self.round > 0 and not self.new or self.round == ROUNDS_MAX then
      return nil
    end
    self.round, self.ephemeron_at, self.new = self.round + 1, 0, false
  end
  self.ephemeron_at = self.ephemeron_at + 1
  local t = self.ephemerons[self.ephemeron_at]
  return t and tables.look_alive(self, t) or 1
end

-- Works until it is time to look at the clock; true: nothing is left.
local function work(self)
  local count = 0
  repeat
    local amount
    if self.paused then
      amount = tables.go_on(self)
    else
      local object = self.queue:pop()
      if object ~= nil then
        amount = LOOK_INTO[type(object)](self, object)
      else
        amount = look_at_ephemeron(self)
      end
    end
    if not amount then
      return true
    end
    count = count + amount
  until count >= BETWEEN_LOOKS
  return false
end

---A place to begin at, unless something led to it before.
---@param object any
---@param name string
function Walk:root(object, name)
  if edges.REFERENCE[type(object)] and self.parents:get(object) == nil then
    self.parents:add(object, true)
    self.roots[object] = name
    self.queue:push(object)
  end
end

local function begin(self)
  self.begun = true
  self:root(_G, "_G")
  self:root(package and package.loaded, "package.loaded")
  local running = coroutine.running()
  if running and self.parents:get(running) == nil then
    -- Its stack is looked at here and now: later another may be running.
    self.parents:add(running, true)
    self.roots[running] = "the running coroutine"
  end
  edges.of_stack(self, nil, self.stack)
  for _, value in ipairs { "", 0, true, print, running or false } do
    self:root(metatable_of(value), "metatable of a " .. type(value))
  end
  self:root(metatable_of(nil), "metatable of nil")
  self:root(getregistry and getregistry(), "registry")
end

---Walks on.
---@param ms number For how long, about.
---@return boolean done
function Walk:step(ms)
  local deadline = clock() + ms / 1000
  if not (self.begun or self.done) then
    begin(self)
  end
  while not self.done do
    -- A finalizer may run at any time, and change the very table that is being looked at.
    local ok, done = pcall(work, self)
    if not ok then
      self.missed, self.noting, self.paused = self.missed + 1, false, nil
    elseif done then
      self:stop()
    end
    if clock() >= deadline then
      break
    end
  end
  return self.done
end

---Ends the walk, and gives back what it has noted.
function Walk:stop()
  self.done = true
  self.parents, self.keys, self.queue, self.ephemerons = Seen.new(), Seen.new(), Queue.new(), {}
end

---The values of `reload.once`, as roots: their own names say more than the way through the kit's tables.
---@return table<string, any>
function heap.once_roots()
  local roots = {}
  for name, box in pairs(program.registry "once") do
    roots[("once %q"):format(name)] = box.value
  end
  return roots
end

return heap
