-- The second half of a reload: what was staged becomes the program, or nothing does.

local baseline = require "stillpoint.reload.baseline"
local image = require "stillpoint.reload.image"
local isolate = require "stillpoint.reload.isolate"
local past = require "stillpoint.reload.past"
local plan = require "stillpoint.reload.plan"
local program = require "stillpoint.reload.program"
local scan = require "stillpoint.reload.scan"

local clock = os and os.clock or function()
  return 0
end

local commit = {}

---What a view came to.
---@class stillpoint.reload.Staged
---@field tx stillpoint.reload.Transaction
---@field differences stillpoint.reload.Differences

local function run_hooks(tx)
  local event = { from = tx.from, to = tx.to, rollback = tx.rollback }
  -- A hook may require units for the first time, which come at the end of the order: they have no generation before.
  for i = 1, #tx.order do
    local name = tx.order[i]
    local unit = program.units[name]
    local hook = unit.module and rawget(unit.value, "on_reload") or nil
    if hook then
      local ok, failure = isolate.call(hook, event)
      if not ok then
        failure.unit, failure.phase = name, "hook"
        error(failure, 0)
      end
    end
  end
end

local function write(tx, differences)
  tx.phase = "commit"
  image.write(differences)
  program.generation = tx.to
  tx.phase = "resource"
  tx.opened = true
  local ok, failure = isolate.call(program.each, "open", tx)
  if not ok then
    error(failure, 0)
  end
  tx.phase = "hook"
  run_hooks(tx)
end

-- Takes a commit back that failed.
local function take_back(tx)
  if tx.opened then
    local ok, failure = isolate.call(program.each, "undo", tx)
    if not ok then
      tx.notes[#tx.notes + 1] = "undo: " .. failure.message
    end
  end
  tx.images:restore()
  program.generation = tx.from
end

local function conclude(tx)
  tx.phase = "close"
  local ok, failure = isolate.call(program.each, "close", tx)
  if not ok then
    tx.notes[#tx.notes + 1] = "close: " .. failure.message
  end
  for _, name in ipairs(tx.order) do
    baseline.take(program.units[name])
  end
  past.set_aside = tx.rollback and scan.differing() or nil
end

---Writes what was staged, in the report as well. Opens resources, runs hooks, closes what is gone; if any of that fails,
---nothing has happened.
---@param staged stillpoint.reload.Staged
---@param report stillpoint.reload.Report
---@return stillpoint.reload.Report
function commit.run(staged, report)
  local tx = staged.tx
  local started = clock()
  local sources = past.current_sources()
  program.transaction = tx
  local ok, raised = pcall(write, tx, staged.differences)
  if ok then
    report.outcome, report.generation = "applied", tx.to
    past.keep_sources(tx, sources)
    -- From here on it cannot fail, whatever finalizers raise.
    local concluded, err = pcall(conclude, tx)
    if not concluded then
      tx.notes[#tx.notes + 1] = "close: " .. tostring(err)
    end
  else
    take_back(tx)
    local failure = type(raised) == "table" and raised or { message = tostring(raised) }
    plan.fail(report, "rolled_back", failure.phase or tx.phase, failure)
  end
  program.transaction = nil
  report.ms = report.ms + (clock() - started) * 1000
  return past.remember(report)
end

return commit
