-- The reload kit: the running program is updated whole, as a transaction, and says what came of it.
--
--     local reload = require "stillpoint.reload"
--     reload.setup { roots = { "game/?.lua", "./?.lua" } }
--
--     local M      = reload.module(...)                                      -- same table in every generation
--     local online = reload.once("player.online", function() return {} end)  -- initialised once, survives
--     local Player = reload.class("Player")                                  -- refilled in place
--     function M.on_reload(ev) end                                           -- after a reload
--
--     print(reload.plan())                                                   -- what would change; changes nothing
--     local report = reload.apply()                                          -- all of it, or nothing
--
-- The way of a reload, which `transaction` leads: `scan` finds what is to run, `stage` runs it in a private view by
-- `loader`, `commit` writes it; `image` and `reach` see to it that everything can be taken back.

local audit = require "stillpoint.reload.audit"
local class = require "stillpoint.reload.class"
local image = require "stillpoint.reload.image"
local loader = require "stillpoint.reload.loader"
local once = require "stillpoint.reload.once"
local override = require "stillpoint.reload.override"
local past = require "stillpoint.reload.past"
local plan = require "stillpoint.reload.plan"
local program = require "stillpoint.reload.program"
local ref = require "stillpoint.reload.ref"
local resource = require "stillpoint.reload.resource"
local searcher = require "stillpoint.reload.searcher"
local source = require "stillpoint.reload.source"
local transaction = require "stillpoint.reload.transaction"
local watch = require "stillpoint.reload.watch"

local reload = {}

---@class stillpoint.reload.Options
---@field roots? string[] Where the program's files are: templates with a `?`, or directories. Default: of package.path, what is relative, and, when the script was started by an absolute path, what is of a folder that the script is in or that is in the script's folder; but nothing that is installed (`share/lua/5.4`).
---@field strict? boolean Refuse a reload that would lose state. Default: false.
---@field audit_ms? number Time of the audit after a reload. Default: 20.
---@field undo_tables? integer Tables and functions that are saved before a reload, at most; each 8 entries of a table count as one more. Default: 50,000, which takes about 50 ms, in which the program stands still. What chunks and hooks change in others is not taken back when the reload fails; the report says so, and `strict` refuses.
---@field keep? integer Generations whose sources are kept. Default: 2: the running one and the one before.
---@field verify? fun(ev: table): boolean|nil, string|nil Asked before a reload is committed. What it changes is committed, too.
---@field log? fun(line: string) Gets each report as text.

local OPTIONS = {
  roots = "table",
  strict = "boolean",
  audit_ms = "number",
  undo_tables = "number",
  keep = "number",
  verify = "function",
  log = "function",
}

local DEFAULTS = { strict = false, audit_ms = 20, undo_tables = 50000, keep = 2 }

local ready = false

---Says where the program's files are, and how reloads are done. May be called again.
---@param opts? stillpoint.reload.Options
function reload.setup(opts)
  opts = opts or {}
  for name, value in pairs(opts) do
    local expected = OPTIONS[name]
    if not expected then
      error(("reload.setup: unknown option '%s'"):format(tostring(name)), 2)
    elseif type(value) ~= expected then
      error(("reload.setup: %s: a %s expected, got a %s"):format(name, expected, type(value)), 2)
    end
  end
  local options = {}
  for name, value in pairs(DEFAULTS) do
    options[name] = value
  end
  for name, value in pairs(opts) do
    options[name] = value
  end
  program.options = options
  source.set_roots(options.roots)
  searcher.install()
  ready = true
end

local function ensure_setup()
  if not ready then
    reload.setup()
  end
end

---The table of a module, the same in every generation: it is emptied, and the chunk fills it again and returns it.
---@param name string The first argument of the chunk: `reload.module(...)`.
---@return table
function reload.module(name)
  if type(name) ~= "string" then
    error("reload.module: the name of the unit expected: call it as reload.module(...) in the chunk", 2)
  end
  ensure_setup()
  local unit = program.current()
  if unit and unit.name == name then
    return loader.module(unit)
  elseif unit then
    error(("reload.module: '%s' is not the unit being loaded, '%s' is: call it as reload.module(...)"):format(name, unit.name), 2)
  end
  -- Loaded by another loader than the kit's.
  unit = program.units[name]
  local info = debug and debug.getinfo and debug.getinfo(2, "S")
  if unit and info and program.path_of(info.source) ~= unit.path then
    error(("reload.module: '%s' is loaded already: require '%s' gives its table"):format(name, name), 2)
  end
  local own = unit and unit.own or {}
  program.save(own)
  image.clear(own)
  unit = searcher.adopt(name, own)
  if not unit then
    error(("reload.module: no file for '%s' in the roots; reload.setup { roots = ... } says where they are"):format(name), 2)
  end
  unit.module = true
  return unit.value
end

-- After a reload, whether it worked or not.
local function tell(report)
  if report.outcome == "applied" then
    report.audit = audit.step { ms = program.options.audit_ms }
  end
  local log = program.options.log
  if log and report.outcome ~= "nothing" then
    log(plan.text(report))
  end
  return report
end

for _, name in ipairs { "plan", "apply", "rollback", "commit", "abort" } do
  reload[name] = function(...)
    ensure_setup()
    return tell(transaction[name](...))
  end
end

---@return stillpoint.reload.Prepared|nil
---@return stillpoint.reload.Report
function reload.prepare(opts)
  ensure_setup()
  local prepared, report = transaction.prepare(opts)
  return prepared, tell(report)
end

---Development mode: reloads when a file changes.
---@param opts? stillpoint.reload.WatchOptions
---@return stillpoint.reload.Watch # To be polled.
function reload.watch(opts)
  ensure_setup()
  local new = watch.new(opts)
  return new
end

---@return stillpoint.reload.Report[] # Newest last.
function reload.history()
  local list = {}
  for i, report in ipairs(past.reports) do
    list[i] = report
  end
  return list
end

---@return {generation: integer, program: string, sources: table<string, string>, prepared: boolean, units: integer, stale: integer|nil, last: stillpoint.reload.Report|nil}
function reload.status()
  local units = 0
  for _ in pairs(program.units) do
    units = units + 1
  end
  local last = past.reports[#past.reports]
  local fingerprint, sources = source.fingerprint()
  return {
    generation = program.generation,
    program = fingerprint,
    sources = sources,
    prepared = program.prepared ~= nil,
    units = units,
    stale = audit.latest() and #audit.latest().stale,
    last = last,
  }
end

---The report for people.
---@param report stillpoint.reload.Report
---@return string
reload.text = plan.text

reload.once = once.once
reload.class = class.class
reload.instanceof = class.instanceof
reload.ref = ref.ref
reload.override = override.override
reload.resource = resource.resource
reload.audit = audit.step

return reload
