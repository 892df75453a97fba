-- What is kept of earlier reloads: their reports, and the sources of the generations before, to go back to.

local program = require "stillpoint.reload.program"

---Reports that are kept.
local REPORTS_MAX = 100

local past = {}

---Newest last.
---@type stillpoint.reload.Report[]
past.reports = {}

---After a rollback: the files that are not what runs, as they were then.
---@type stillpoint.reload.Look|nil
past.set_aside = nil

-- The sources of the generations before, oldest first: { [name] = { path, source } }.
local earlier = {}

---@param report stillpoint.reload.Report
---@return stillpoint.reload.Report
function past.remember(report)
  local reports = past.reports
  reports[#reports + 1] = report
  if #reports > REPORTS_MAX then
    table.remove(reports, 1)
  end
  return report
end

---@return table<string, stillpoint.reload.File>
function past.current_sources()
  local sources = {}
  for name, unit in pairs(program.units) do
    sources[name] = { path = unit.path, source = unit.source }
  end
  return sources
end

---Those of the generation before; nil: none are kept.
---@return table<string, stillpoint.reload.File>|nil
function past.previous_sources()
  return earlier[#earlier]
end

local function are_same(a, b)
  for name, file in pairs(a) do
    if not b[name] or b[name].source ~= file.source then
      return false
    end
  end
  for name in pairs(b) do
    if not a[name] then
      return false
    end
  end
  return true
end

---After a commit. One that ran the same sources again leaves nothing to go back to. A rollback takes the sources it went back to off the list: the next one goes back further.
---@param tx stillpoint.reload.Transaction
---@param sources table<string, stillpoint.reload.File> Of the generation that was.
function past.keep_sources(tx, sources)
  if tx.rollback then
    table.remove(earlier)
    return
  end
  if are_same(sources, past.current_sources()) then
    return
  end
  earlier[#earlier + 1] = sources
  while #earlier > math.max(program.options.keep - 1, 0) do
    table.remove(earlier, 1)
  end
end

return past
