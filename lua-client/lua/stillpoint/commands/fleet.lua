-- The built-in commands by which a program that uses the reload kit is reloaded together with others: all prepare, then
-- all commit, or none does. The coordinator may go away at any moment, and what it says may come twice, so
--
-- - what is prepared is named by the coordinator's id, and dropped after the time that it gives;
-- - abort and rollback of what was never prepared, or never committed, have nothing to do, and say so.
--
-- There is one program per process, however many stores it has: so this is kept per process.

local array = require("stillpoint.value").array
local core = require "stillpoint_core"

local fleet = { commands = {} }

local commands = fleet.commands

---@class stillpoint.commands.Held
---@field id string
---@field prepared stillpoint.reload.Prepared|nil nil: there is nothing to reload.
---@field report stillpoint.reload.Report
---@field ends number By the core's clock.
---@field link stillpoint.Link Whose session the command came to.
local Held = {}
Held.__index = Held

---What was prepared, and is neither committed nor dropped.
---@type stillpoint.commands.Held|nil
local held

---The reload that was committed last by its id, and the generation that it brought.
---@type {id: string, generation: integer, report: stillpoint.reload.Report}|nil
local committed

---Seconds that something prepared is held unless told otherwise.
local HOLD = 60

---Stale functions that an answer names; there may be very many, and each costs some hundred bytes.
local STALE_MAX = 200

---Seconds per step of an audit, during which the program stands still.
local AUDIT_MS = 5

-- Fields of a report that are lists, also when they are empty.
local LISTS = { "changed", "rerun", "added", "vanished", "changes", "loses", "notes" }

-- The kit, if the program uses it. It is optional, and never loaded from here.
local function kit_of()
  return package.loaded["stillpoint.reload"]
end

-- A copy that can be sent: without metatables, and without what is no data.
local function plain(value, depth)
  depth = depth or 0
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then
    return value
  elseif kind ~= "table" then
    return value ~= nil and tostring(value) or nil
  elseif depth > 12 then
    return "..."
  end
  local copy = {}
  for key, item in pairs(value) do
    if type(key) == "string" or type(key) == "number" then
      copy[key] = plain(item, depth + 1)
    end
  end
  return copy
end

-- A report as an answer: what failed is an error, with where it failed. `of` is the program that it is about.
local function answer(report, of)
  if report.ok == false then
    local failure = report.error or {}
    local message = ("%s: %s"):format(report.phase or report.outcome, failure.message or "it failed")
    return nil, { message = message, traceback = failure.traceback }
  end
  local value = plain(report)
  value.audit = nil
  for _, name in ipairs(LISTS) do
    value[name] = value[name] and array(value[name])
  end
  value.program, value.sources = of.program, of.sources
  return value
end

-- The program that a commit will bring, as `status` will tell it.
local function coming(kit, prepared)
  local source = require "stillpoint.reload.source"
  local running, changed = kit.status().sources, {}
  for _, name in ipairs(prepared.report.changed) do
    changed[name] = true
  end
  local names, sources, sum = {}, {}, 1
  for name, file in pairs(prepared.sources) do
    if file then
      names[#names + 1] = name
      sources[name] = not changed[name] and running[name] or ("%08x"):format(source.checksum(file.source))
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    sum = source.checksum(name .. "\0" .. sources[name] .. "\0", sum)
  end
  return { program = ("%08x"):format(sum), sources = sources }
end

local function drop()
  local kit, prepared = kit_of(), held and held.prepared
  if held then
    held.link.on_poll[held] = nil
  end
  held = nil
  if kit and prepared then
    kit.abort(prepared)
  end
end

-- Called by each poll of its store; answers in how many seconds it wants to be called again.
function Held:_tick()
  local left = self.ends - core.now()
  if held == self and left <= 0 then
    drop()
  end
  return held == self and left or nil
end

local function id_of(args)
  local id = type(args) == "table" and args.id
  return type(id) == "string" and id or nil
end

local function force_of(args)
  return type(args) == "table" and args.force and { force = args.force } or nil
end

-- The command, for programs that use the kit.
local function with_kit(fn)
  return function(args, ctx, link)
    local kit = kit_of()
    if not kit then
      return nil, "this process does not use stillpoint.reload: a restart is how its program changes"
    end
    return fn(kit, args, ctx, link)
  end
end

commands["reload.plan"] = with_kit(function(kit, args)
  return answer(kit.plan(force_of(args)), { program = kit.status().program })
end)

commands["reload.apply"] = with_kit(function(kit, args)
  drop()
  local report = kit.apply(force_of(args))
  return answer(report, kit.status())
end)

commands["reload.prepare"] = with_kit(function(kit, args, _, link)
  local id = id_of(args)
  if not id then
    return nil, "reload.prepare: which one? { id = TEXT, hold = SECONDS } expected"
  elseif held and held.id ~= id and held.ends > core.now() then
    local text = "another reload (%s) is prepared here, for %.0f s more: let it commit or abort first"
    return nil, text:format(held.id, held.ends - core.now())
  end
  drop()
  local prepared, report = kit.prepare(force_of(args))
  if not prepared and report.ok == false then
    return answer(report, kit.status())
  end
  local hold = type(args.hold) == "number" and args.hold or HOLD
  held = setmetatable({ id = id, prepared = prepared, report = report, ends = core.now() + hold, link = link }, Held)
  link.on_poll[held] = true
  return answer(report, prepared and coming(kit, prepared) or kit.status())
end)

commands["reload.commit"] = with_kit(function(kit, args)
  local id = id_of(args)
  if committed and id == committed.id then
    return answer(committed.report, kit.status())
  elseif not held or held.id ~= id or held.ends <= core.now() then
    local text = "nothing is prepared as '%s' here: it was dropped when its time was over, or its session lost"
    return nil, text:format(tostring(id))
  end
  local prepared, report = held.prepared, held.report
  held.link.on_poll[held] = nil
  held = nil
  if not prepared then
    return answer(report, kit.status())
  end
  report = kit.commit(prepared)
  if report.ok ~= false then
    committed = { id = id, generation = kit.status().generation, report = report }
  end
  return answer(report, kit.status())
end)

commands["reload.abort"] = with_kit(function(kit, args)
  local id = id_of(args)
  local is_held = held ~= nil and (id == nil or held.id == id)
  if is_held then
    drop()
  end
  local status = kit.status()
  return { nothing = not is_held, generation = status.generation, program = status.program }
end)

commands["reload.rollback"] = with_kit(function(kit, args)
  local id, status = id_of(args), kit.status()
  if id and not (committed and committed.id == id and committed.generation == status.generation) then
    return { nothing = true, generation = status.generation, program = status.program }
  end
  local report = kit.rollback()
  if report.ok ~= false then
    committed = nil
  end
  return answer(report, kit.status())
end)

commands["reload.status"] = with_kit(function(kit)
  local status = kit.status()
  return {
    generation = status.generation,
    program = status.program,
    sources = status.sources,
    units = status.units,
    stale = status.stale,
    last = status.last and status.last.outcome,
    prepared = held and held.prepared and held.id or status.prepared,
  }
end)

commands["reload.audit"] = with_kit(function(kit, _, ctx, link)
  local found = kit.audit { ms = AUDIT_MS }
  local told = core.now()
  while not found.done do
    -- The others run meanwhile.
    link:sleep(0)
    if core.now() - told >= 1 then
      told = core.now()
      ctx:progress(("%d visited"):format(found.visited or 0))
    end
    found = kit.audit { ms = AUDIT_MS }
  end
  local stale = {}
  for i = 1, math.min(#found.stale, STALE_MAX) do
    stale[i] = plain(found.stale[i])
  end
  return { done = true, visited = found.visited, stale_count = #found.stale, stale = stale }
end)

---Drops what was prepared through a connection: it was lost, or its session is over.
---@param link stillpoint.Link
function fleet.drop(link)
  if held and held.link == link then
    drop()
  end
end

return fleet
