-- What a reload reports, as data and as text.

local image = require "stillpoint.reload.image"
local program = require "stillpoint.reload.program"

local plan = {}

---@class stillpoint.reload.Change
---@field unit string
---@field kind "function_new"|"function_gone"|"value"|"class"|"override"|"resource"|"once"|"global"
---@field name string
---@field from any
---@field to any

---@class stillpoint.reload.Report
---@field ok boolean
---@field outcome "applied"|"nothing"|"refused"|"rolled_back"|"prepared"|"planned"|"aborted"
---@field generation integer After it.
---@field from integer
---@field rollback boolean|nil It went back to earlier sources.
---@field changed string[] Units whose file is not what runs.
---@field rerun string[] Their dependents.
---@field added string[]
---@field vanished string[]
---@field changes stillpoint.reload.Change[]
---@field loses stillpoint.reload.Loss[] Coroutines and callbacks only when it was planned; those that a reload left behind are in `audit`.
---@field notes string[]
---@field phase string|nil Where it failed: read, compile, run, dependency, verify, strict, commit, resource, hook.
---@field error stillpoint.reload.Failure|nil
---@field audit table|nil
---@field ms number
local Report = {}

---@return stillpoint.reload.Report
function plan.report()
  return setmetatable({
    ok = true,
    outcome = "nothing",
    from = program.generation,
    generation = program.generation,
    changed = {},
    rerun = {},
    added = {},
    vanished = {},
    changes = {},
    loses = {},
    notes = {},
    ms = 0,
  }, Report)
end

---Notes a failure in the report.
---@param report stillpoint.reload.Report
---@param outcome "refused"|"rolled_back"
---@param phase string
---@param failure stillpoint.reload.Failure
---@return stillpoint.reload.Report
function plan.fail(report, outcome, phase, failure)
  report.ok, report.outcome, report.phase = false, outcome, phase
  report.error = {
    message = failure.message,
    file = failure.file,
    line = failure.line,
    traceback = failure.traceback,
    unit = failure.unit,
  }
  return report
end

local function plain(value)
  local kind = type(value)
  return (kind == "string" or kind == "number" or kind == "boolean") and value or value ~= nil and kind or nil
end

-- What is different in a unit's table; what is the same in each generation, functions by new code, is not listed.
local function add_changes(unit, before, list)
  local after = unit.value
  for _, key in ipairs(image.sorted_keys(before, after)) do
    local was, is = before[key], rawget(after, key)
    local kind
    if type(is) == "function" and type(was) ~= "function" then
      kind = "function_new"
    elseif type(was) == "function" and type(is) ~= "function" then
      kind = "function_gone"
    elseif type(is) ~= "function" and not rawequal(was, is) and not (type(was) == "table" and type(is) == "table") then
      kind = "value"
    end
    if kind then
      list[#list + 1] = { unit = unit.name, kind = kind, name = image.key_text(key), from = plain(was), to = plain(is) }
    end
  end
end

---What the view differs in from the running generation.
---@param tx stillpoint.reload.Transaction
---@param list stillpoint.reload.Change[]
function plan.changes(tx, list)
  for _, name in ipairs(tx.order) do
    local unit = program.units[name]
    local before = type(unit.value) == "table" and tx.images:copy(unit.value)
    if before then
      add_changes(unit, before, list)
    end
  end
  local was = tx.images:copy(_G)
  for _, key in ipairs(image.sorted_keys(was, _G)) do
    local from, to = was[key], rawget(_G, key)
    if (from == nil) ~= (to == nil) or type(to) ~= "function" and type(to) ~= "table" and not rawequal(from, to) then
      list[#list + 1] = { unit = "_G", kind = "global", name = image.key_text(key), from = plain(from), to = plain(to) }
    end
  end
  program.each("changes", tx, list)
end

local HEADS = {
  nothing = "nothing to reload, generation %d",
  planned = "a reload would go from generation %d to %d",
  prepared = "prepared: generation %d to %d",
  applied = "reloaded: generation %d to %d",
  refused = "refused, generation %d runs on untouched",
  rolled_back = "failed at commit and taken back, generation %d runs on",
  aborted = "aborted, generation %d runs on",
}

---Of each list of a report the text shows so many.
local SHOWN_MAX = 20

local function add_names(lines, title, names)
  if #names == 0 then
    return
  end
  local more = #names > SHOWN_MAX and (" and %d more"):format(#names - SHOWN_MAX) or ""
  local shown = table.concat(names, ", ", 1, math.min(#names, SHOWN_MAX))
  lines[#lines + 1] = ("  %s: %s%s"):format(title, shown, more)
end

-- A line for each item; `what` they are is said of those that are not shown. `beyond`: items that the list leaves out.
local function add_lines(lines, what, items, line_of, beyond)
  for i = 1, math.min(#items, SHOWN_MAX) do
    lines[#lines + 1] = line_of(items[i])
  end
  local more = math.max(#items - SHOWN_MAX, 0) + (beyond or 0)
  if more > 0 then
    lines[#lines + 1] = ("  and %d more %s"):format(more, what)
  end
end

local CHANGES = {
  function_new = "new function",
  function_gone = "function gone",
}

local function change_line(change)
  local text = ("  %s: %s %s"):format(change.unit, CHANGES[change.kind] or change.kind, change.name)
  if change.kind == "function_new" or change.kind == "function_gone" then
    return text
  end
  return ("%s: %s -> %s"):format(text, tostring(change.from), tostring(change.to))
end

local function loss_line(loss)
  local place = loss.file and (" of " .. loss.file .. (loss.line and ":" .. loss.line or "")) or ""
  return ("  loses %s `%s` (%s)%s"):format(loss.kind, loss.name, tostring(loss.detail), place)
end

local function note_line(note)
  return "  note: " .. note
end

local function stale_line(stale)
  return ("  stale: %s -> %s:%s gen %s"):format(stale.path, stale.file, tostring(stale.line), tostring(stale.generation))
end

---The report for people. Long lists are cut short; the report itself has all.
---@param report stillpoint.reload.Report
---@return string
function plan.text(report)
  local to = report.outcome == "applied" and report.generation or report.from + 1
  local lines = { HEADS[report.outcome]:format(report.from, to) }
  if report.rollback then
    lines[1] = "rollback: " .. lines[1]
  end
  add_names(lines, "changed", report.changed)
  add_names(lines, "run again", report.rerun)
  add_names(lines, "added", report.added)
  add_names(lines, "vanished", report.vanished)
  add_lines(lines, "changes", report.changes, change_line)
  add_lines(lines, "losses", report.loses, loss_line)
  add_lines(lines, "notes", report.notes, note_line)
  if report.audit then
    add_lines(lines, "stale", report.audit.stale, stale_line, report.audit.more)
  end
  local err = report.error
  if err then
    lines[#lines + 1] = ("  %s: %s"):format(report.phase, err.message)
    if err.traceback and err.traceback ~= err.message then
      lines[#lines + 1] = "  " .. err.traceback:gsub("\n", "\n  ")
    end
  end
  return table.concat(lines, "\n")
end

Report.__tostring = plan.text

---Whether the table is a report.
---@param value any
---@return boolean
function plan.is_report(value)
  return type(value) == "table" and image.getmeta(value) == Report
end

return plan
