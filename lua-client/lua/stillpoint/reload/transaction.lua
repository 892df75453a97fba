-- A reload as a transaction: the next generation is built in a private view, then written.
--
--     plan                      scan, stage, forget
--     apply                     scan, stage, write the differences, open resources, run hooks, close
--     prepare ... commit        a plan whose sources are kept ... apply with them
--     rollback                  apply with the sources of the generation before
--
-- A failure at any point brings back what was saved: the generation before runs on.
--
-- What was prepared is staged anew at commit. The program ran in between: it counted, registered, loaded, and what the
-- view once saw of that is not to be written over what it is now.

local commit = require "stillpoint.reload.commit"
local past = require "stillpoint.reload.past"
local plan = require "stillpoint.reload.plan"
local program = require "stillpoint.reload.program"
local scan = require "stillpoint.reload.scan"
local stage = require "stillpoint.reload.stage"

local clock = os and os.clock or function()
  return 0
end

local transaction = {}

---@class stillpoint.reload.Prepared
---@field report stillpoint.reload.Report
---@field force table<string, true>
---@field sources table<string, stillpoint.reload.File|false>|nil Of all units; false: its file was gone. nil: used, aborted, or another one took its place.

---What a reload is to be made of.
---@class stillpoint.reload.Order
---@field force table<string, true> Units that count as changed.
---@field earlier table<string, stillpoint.reload.File>|nil Sources to go back to.
---@field prepared table<string, stillpoint.reload.File|false>|nil Sources in the place of the files.
---@field looks_around boolean|nil See the transaction.

-- Misuse: raised where the surface was called. Gives the units to be forced, as a set.
local function check(what, names)
  if program.transaction then
    error(("reload.%s: a reload is under way: what runs in it cannot start another"):format(what), 4)
  end
  local unit = program.current()
  if unit then
    error(("reload.%s: unit %s is being loaded: call it when that is done"):format(what, unit.name), 4)
  end
  local force = {}
  for _, name in ipairs(names or {}) do
    if not program.units[name] then
      error(("reload.%s: force: no unit '%s': a unit is a file in the roots that was required"):format(what, tostring(name)), 4)
    end
    force[name] = true
  end
  return force
end

local function drop_prepared()
  local prepared = program.prepared
  if prepared then
    prepared.sources = nil
    program.prepared = nil
  end
end

local function new_transaction(found, report, looks_around)
  local affected, files = {}, {}
  for name, file in pairs(found.files) do
    affected[name], files[name] = program.units[name], file
  end
  for name, file in pairs(found.at_hand) do
    files[name] = file
  end
  return {
    phase = "run",
    from = program.generation,
    to = program.generation + 1,
    scan = found,
    files = files,
    affected = affected,
    vanished = found.vanished,
    rerun = {},
    added = {},
    ran = {},
    order = {},
    replaced = {},
    rollback = report.rollback or false,
    looks_around = looks_around or false,
    changes = report.changes,
    loses = report.loses,
    notes = report.notes,
  }
end

-- After a rollback the files are newer than what runs.
local function note_set_aside(found, report)
  local aside, names = past.set_aside or {}, {}
  for _, name in ipairs(found.changed) do
    local file = found.files[name]
    if file.source == aside[file.path] and file.source ~= program.units[name].source then
      names[#names + 1] = name
    end
  end
  for name, unit in pairs(found.vanished) do
    if aside[unit.path] == false then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  if #names > 0 then
    local text = "the files are newer than what runs: generation %d is a rollback, and %s still as before it: %s"
    report.notes[#report.notes + 1] = text:format(
      program.generation,
      #names == 1 and "this one is" or "these are",
      table.concat(names, ", ")
    )
  end
end

local function find_stage(report, order)
  local found, failure = scan.run(order)
  if not found then
    return plan.fail(report, "refused", "read", failure)
  end
  report.changed, report.rerun = found.changed, found.dependents
  report.vanished = scan.sorted_names(found.vanished)
  if not order.earlier then
    note_set_aside(found, report)
  end
  if #report.changed + #report.vanished == 0 then
    return report
  end
  local tx = new_transaction(found, report, order.looks_around)
  local differences
  differences, failure = stage.run(tx)
  report.added = scan.sorted_names(tx.added)
  if not differences then
    return plan.fail(report, "refused", failure.phase, failure)
  end
  report.outcome = "prepared"
  return report, { tx = tx, differences = differences }
end

-- Scans and stages. Nothing is different afterwards.
---@param order stillpoint.reload.Order
---@return stillpoint.reload.Report
---@return stillpoint.reload.Staged|nil
local function build(order)
  local started = clock()
  local report = plan.report()
  report.rollback = order.earlier ~= nil or nil
  local _, staged = find_stage(report, order)
  report.ms = (clock() - started) * 1000
  return report, staged
end

---@param order stillpoint.reload.Order
---@return stillpoint.reload.Report
local function apply(order)
  local report, staged = build(order)
  if not staged then
    return past.remember(report)
  end
  drop_prepared()
  return commit.run(staged, report)
end

---What a reload would do. Changes nothing.
---@param opts? {force: string[]|nil}
---@return stillpoint.reload.Report
function transaction.plan(opts)
  local force = check("plan", opts and opts.force)
  local report, staged = build { force = force, looks_around = true }
  if staged then
    report.outcome = "planned"
  end
  return report
end

-- The sources of the program as it was staged: what the scan read, and what was loaded for the first time.
local function sources_of(tx)
  local sources = {}
  for name, file in pairs(tx.scan.texts) do
    sources[name] = file
  end
  for name in pairs(tx.vanished) do
    sources[name] = false
  end
  for name, unit in pairs(tx.added) do
    sources[name] = { path = unit.path, source = unit.source }
  end
  return sources
end

---@param opts? {force: string[]|nil}
---@param looks_around? boolean The report is to be read as a plan.
---@return stillpoint.reload.Prepared|nil # nil: nothing to do, or it cannot be done; the report says.
---@return stillpoint.reload.Report
function transaction.prepare(opts, looks_around)
  local force = check("prepare", opts and opts.force)
  local report, staged = build { force = force, looks_around = looks_around }
  drop_prepared()
  if not staged then
    past.remember(report)
    return nil, report
  end
  program.prepared = { report = report, force = force, sources = sources_of(staged.tx) }
  return program.prepared, report
end

---Applies what was prepared, whatever the files are by now.
---@param prepared stillpoint.reload.Prepared
---@return stillpoint.reload.Report
function transaction.commit(prepared)
  check "commit"
  if type(prepared) ~= "table" or not plan.is_report(prepared.report) then
    error("reload.commit: what reload.prepare gave expected", 3)
  elseif prepared ~= program.prepared then
    local message = "this prepared reload was committed, aborted, or replaced by another: prepare again"
    return past.remember(plan.fail(plan.report(), "refused", "commit", { message = message }))
  end
  local order = { force = {}, prepared = prepared.sources }
  for name in pairs(prepared.force) do
    order.force[name] = program.units[name] and true or nil
  end
  drop_prepared()
  return apply(order)
end

---Forgets a prepared reload.
---@param prepared stillpoint.reload.Prepared
---@return stillpoint.reload.Report
function transaction.abort(prepared)
  check "abort"
  if type(prepared) ~= "table" or not plan.is_report(prepared.report) then
    error("reload.abort: what reload.prepare gave expected", 3)
  end
  if prepared == program.prepared then
    drop_prepared()
  end
  local report = plan.report()
  report.outcome = "aborted"
  return report
end

---@param opts? {force: string[]|nil}
---@return stillpoint.reload.Report
function transaction.apply(opts)
  local force = check("apply", opts and opts.force)
  return apply { force = force }
end

---Goes back to the sources of the generation before; the generation's number goes on growing.
---@return stillpoint.reload.Report
function transaction.rollback()
  check "rollback"
  local sources = past.previous_sources()
  if not sources then
    local message = "no earlier generation whose sources are kept (keep of reload.setup)"
    return past.remember(plan.fail(plan.report(), "refused", "read", { message = message }))
  end
  return apply { force = {}, earlier = sources }
end

return transaction
