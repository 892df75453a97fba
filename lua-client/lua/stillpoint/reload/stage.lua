-- Builds the next generation in a private view.
--
-- The view is one in time, not in space: the live tables are changed, and brought back before anybody else runs. So new
-- chunks see the tables that they will work with, with their identity, and the rest of the program sees nothing.

local image = require "stillpoint.reload.image"
local isolate = require "stillpoint.reload.isolate"
local loader = require "stillpoint.reload.loader"
local plain = require "stillpoint.reload.plain"
local plan = require "stillpoint.reload.plan"
local program = require "stillpoint.reload.program"
local reach = require "stillpoint.reload.reach"
local baseline = require "stillpoint.reload.baseline"
local live = require "stillpoint.reload.live"

local stage = {}

-- A step that may fail. Raises the failure, with the phase it is to be reported under.
local function attempt(phase, fn, ...)
  local ok, value = isolate.call(fn, ...)
  if not ok then
    value.phase = value.phase or phase
    error(value, 0)
  end
  return value
end

local function refuse(phase, message, unit)
  error({ phase = phase, message = message, file = unit and unit.path, unit = unit and unit.name }, 0)
end

-- What a host without these parts of `debug` cannot do.
local function note_what_is_missing(tx)
  local missing = {}
  for _, name in ipairs { "getinfo", "getupvalue", "setupvalue" } do
    if not (debug and debug[name]) then
      missing[#missing + 1] = "debug." .. name
    end
  end
  if #missing > 0 then
    local text = "this host has no %s: what is in locals and in objects is neither compared nor undone"
    tx.notes[#tx.notes + 1] = text:format(table.concat(missing, ", "))
  end
end

---Saves what the reload may touch.
---@param tx stillpoint.reload.Transaction
function stage.save(tx)
  tx.images = image.new()
  local limit = program.options.undo_tables
  if not reach.save(tx.images, limit) then
    tx.partial = ("the program has more than %d tables and functions (undo_tables of reload.setup): what chunks and hooks change "
      .. "in the others cannot be undone"):format(limit)
    tx.notes[#tx.notes + 1] = tx.partial
  end
end

-- What is lost is known before anything runs.
local function find_losses(tx)
  for _, name in ipairs(tx.scan.order) do
    baseline.losses(program.units[name], tx.affected, tx.loses)
  end
  if tx.looks_around then
    for _, loss in ipairs((live.losses(tx))) do
      tx.loses[#tx.loses + 1] = loss
    end
  end
end

local function check_strict(tx)
  if not program.options.strict then
    return
  end
  for _, loss in ipairs(tx.loses) do
    -- Coroutines and callbacks are not lost: they go on in the old code.
    if loss.kind == "local" or loss.kind == "scalar" then
      local message = "%s would lose %s `%s` (%s): declare it with reload.once, or set strict = false"
      refuse("strict", message:format(loss.unit, loss.kind, loss.name, loss.detail), program.units[loss.unit])
    end
  end
  if tx.partial then
    refuse("strict", tx.partial .. ": raise it, or set strict = false")
  end
end

local function run_units(tx)
  for name in pairs(tx.affected) do
    rawset(package.loaded, name, nil)
  end
  for name in pairs(tx.vanished) do
    rawset(package.loaded, name, nil)
    program.units[name] = nil
  end
  for _, name in ipairs(tx.scan.order) do
    if not tx.ran[name] then
      local ok, failure = isolate.call(loader.load, name)
      if not ok then
        error(tx.failure or failure, 0)
      end
    end
  end
  -- A chunk may have caught what a unit that it required raised; that unit does not run all the same.
  if tx.failure then
    error(tx.failure, 0)
  end
end

-- Functions that an older chunk of a unit made global, and the new one did not set again.
local function drop_globals(tx)
  for key, value in next, _G do
    if type(value) == "function" then
      local name, generation = program.chunk_of(value)
      if name and generation ~= tx.to and (tx.affected[name] or tx.vanished[name]) then
        rawset(_G, key, nil)
      end
    end
  end
end

local function verify(tx)
  local event = { from = tx.from, to = tx.to, rollback = tx.rollback }
  local function check(fn, what, unit)
    local ok, failure = isolate.call(function()
      local agreed, why = fn(event)
      return { agreed, why }
    end)
    if not ok then
      failure.phase, failure.unit = "verify", unit and unit.name
      error(failure, 0)
    end
    if failure[1] == false then
      refuse("verify", ("%s refused%s"):format(what, failure[2] ~= nil and ": " .. tostring(failure[2]) or ""), unit)
    end
  end
  for _, name in ipairs(tx.order) do
    local unit = program.units[name]
    local fn = unit.module and rawget(unit.value, "verify") or nil
    if fn then
      check(fn, "verify of " .. name, unit)
    end
  end
  if program.options.verify then
    check(program.options.verify, "verify of reload.setup")
  end
end

local function build(tx)
  stage.save(tx)
  find_losses(tx)
  check_strict(tx)
  note_what_is_missing(tx)
  attempt("run", program.each, "begin", tx)
  run_units(tx)
  plain.unify(tx)
  drop_globals(tx)
  attempt("run", program.each, "finish", tx)
  plan.changes(tx, tx.changes)
  verify(tx)
end

-- While the view is up no finalizer may run: what it did would be taken down with the view. Where it cannot be known
-- whether the collector runs (Lua 5.1), it is left alone.
local function stop_collector()
  local known, runs = pcall(collectgarbage, "isrunning")
  if known and runs == true then
    collectgarbage "stop"
    return true
  end
  return false
end

---Builds the view and takes it down again.
---@param tx stillpoint.reload.Transaction
---@return stillpoint.reload.Differences|nil
---@return stillpoint.reload.Failure|nil
function stage.run(tx)
  program.transaction = tx
  local stopped = stop_collector()
  local built, raised = pcall(build, tx)
  local differences, err = tx.images:take_down()
  if stopped then
    collectgarbage "restart"
  end
  program.transaction = nil
  if built and not differences then
    built, raised = false, err
  end
  if not built then
    if type(raised) ~= "table" then
      raised = { message = tostring(raised), traceback = tostring(raised) }
    end
    raised.phase = raised.phase or "run"
    return nil, raised
  end
  return differences
end

return stage
