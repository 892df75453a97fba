-- What of the units that are to run again is alive elsewhere, and goes on with the old code: coroutines with frames in
-- it, and callbacks, functions that something else holds.
--
-- A walk over the heap (see `heap`) that does not enter what a reload replaces: the units' functions, tables and
-- classes. So whatever function of theirs it meets is held by something else. Trampolines of `reload.ref`, overrides and
-- resources are the kit's own functions and do not count: they lead to the new code.

local edges = require "stillpoint.reload.walk.edges"
local heap = require "stillpoint.reload.heap"
local program = require "stillpoint.reload.program"
local trail = require "stillpoint.reload.walk.trail"

local getinfo = debug and debug.getinfo

local live = {}

---Time for the walk, in milliseconds, unless told otherwise. What it has not met by then is not told, and a note says so.
local BUDGET_MS = 200

---Coroutines and callbacks that are named; more are counted.
local LOSSES_MAX = 100

-- Whether a declaration owns the value and looks after what is in it. Data of `once` is the program's own.
local function owned(value)
  for _, kind in ipairs(program.kinds) do
    if kind.kind ~= "once" and kind.owns and kind.owns(value) then
      return true
    end
  end
  return false
end

-- What the walk must not enter.
local function replaced(tx)
  local skip = { tx, tx.images, program, program.units }
  for name in pairs(tx.affected) do
    local unit = program.units[name]
    local value = unit and unit.value
    if type(value) == "table" then
      skip[#skip + 1] = value
    end
  end
  for kind, registry in pairs(program.registries) do
    skip[#skip + 1] = registry
    if kind == "class" then
      for _, entry in pairs(registry) do
        if tx.affected[entry.owner] then
          skip[#skip + 1] = entry.class
        end
      end
    end
  end
  return skip
end

---@class stillpoint.reload.Live
---@field tx stillpoint.reload.Transaction
---@field walk stillpoint.reload.Walk
---@field losses stillpoint.reload.Loss[]
---@field more integer
---@field affected table<string, string|false> Name of a chunk -> of its unit, if that is to run again.
---@field inside boolean Whether the frame that is looked at is one of theirs.

local function affected_unit(self, source)
  local name = self.affected[source]
  if name == nil then
    name = program.unit_of(source)
    name = name and self.tx.affected[name] and name or false
    self.affected[source] = name
  end
  return name
end

local function add(self, loss)
  if #self.losses == LOSSES_MAX then
    self.more = self.more + 1
  else
    loss.name = loss.name(self.walk)
    self.losses[#self.losses + 1] = loss
  end
end

-- Whether the unit that is to run again will itself put another function in that place.
local function set_anew(parent, how)
  return how == "value" and (rawequal(parent, _G) or rawequal(parent, package.loaded)) or owned(parent)
end

local function look_at_function(self, f, parent, how, key, where)
  local info = getinfo(f, "S")
  if edges.is_kit(info.source) then
    return false
  end
  local unit = affected_unit(self, info.source)
  if not unit then
    return true
  end
  local implied = how == "frame" or how == "local" and self.inside
  if not implied and not set_anew(parent, how) then
    add(self, {
      unit = unit,
      kind = "callback",
      name = function(walk)
        return trail.path(walk, parent, how, key, where)
      end,
      file = program.path_of(info.source),
      line = info.linedefined,
      detail = "stays the old function; hand out reload.ref instead",
    })
  end
  return false
end

local function look_at_frame(self, info, parent)
  local unit = affected_unit(self, info.source)
  self.inside = unit ~= false
  -- The frames of a coroutine follow each other: the innermost stands for all.
  if not unit or parent == self.told then
    return
  end
  self.told = parent
  add(self, {
    unit = unit,
    kind = "coroutine",
    name = function(walk)
      return trail.frame(walk, parent, info)
    end,
    file = program.path_of(info.source),
    line = info.currentline,
    detail = "goes on in the old code until it ends",
  })
end

local function note_what_is_missing(self, ms)
  local notes = self.tx.notes
  if not self.walk.done then
    notes[#notes + 1] = ("coroutines and callbacks: not all were looked for, the program has too many objects for %d ms"):format(
      ms
    )
  end
  if self.more > 0 then
    notes[#notes + 1] = ("coroutines and callbacks: %d more than are listed"):format(self.more)
  end
end

---The live coroutines and callbacks of the units that a transaction is to run again.
---@param tx stillpoint.reload.Transaction Gets a note if not all could be found.
---@param ms? number Time for it.
---@return stillpoint.reload.Loss[]
---@return boolean partial
function live.losses(tx, ms)
  ms = ms or BUDGET_MS
  if not getinfo then
    return {}, true
  end
  local self = { tx = tx, losses = {}, more = 0, affected = {}, inside = false }
  self.walk = heap.new {
    every_edge = true,
    found = function(...)
      return look_at_function(self, ...)
    end,
    frame = function(...)
      look_at_frame(self, ...)
    end,
    skip = replaced(tx),
    roots = heap.once_roots(),
  }
  self.walk:step(ms)
  note_what_is_missing(self, ms)
  local partial = not self.walk.done
  self.walk:stop()
  return self.losses, partial
end

return live
