-- Development mode: reloads when a file changes, and says what came of it.
--
--     local watch = reload.watch { every = 0.5, now = clock }
--     watch:poll()                      -- in the program's loop
--
-- Files are compared by content, since plain Lua sees no times. One that changed is taken when two looks in a row found
-- the same, so that one that is still being written is not. After an error the same files are not tried again: when one
-- of them, or a file that the error named, is different, they are. Nor are the files that a rollback went back from.

local audit = require "stillpoint.reload.audit"
local edges = require "stillpoint.reload.walk.edges"
local past = require "stillpoint.reload.past"
local plan = require "stillpoint.reload.plan"
local program = require "stillpoint.reload.program"
local scan = require "stillpoint.reload.scan"
local source = require "stillpoint.reload.source"
local transaction = require "stillpoint.reload.transaction"

---@class stillpoint.reload.WatchOptions
---@field every? number Seconds between two looks at the files. Default: 0.5.
---@field now? fun(): number A clock that goes forward, in seconds. Default: os.time, which knows whole seconds only.
---@field on_report? fun(report: stillpoint.reload.Report) Gets what each reload came to.
---@field log? fun(text: string) Default: that of `reload.setup`, or the standard error.

---@class stillpoint.reload.Watch
---@field every number
---@field now fun(): number
---@field on_report function|nil
---@field log fun(text: string)|nil
---@field looked number|nil When it last looked.
---@field pending stillpoint.reload.Look|nil Changes that were seen once.
---@field failed stillpoint.reload.Look|nil Changes that could not be loaded, or were taken back.
---@field generation integer That it knows of.
---@field named string[] Files that the failure named and that are no units.
---@field audited integer The generation whose audit was told of.
local Watch = {}
Watch.__index = Watch

local watch = {}

local OPTIONS = { every = "number", now = "function", on_report = "function", log = "function" }

---A step of the audit takes so many milliseconds, in a poll that has nothing else to do.
local AUDIT_MS = 5

---Stale things that are told; the rest is counted.
local STALE_TOLD = 10

---@param opts? stillpoint.reload.WatchOptions
---@return stillpoint.reload.Watch
function watch.new(opts)
  opts = opts or {}
  for name, value in pairs(opts) do
    local expected = OPTIONS[name]
    if not expected then
      error(("reload.watch: unknown option '%s'"):format(tostring(name)), 3)
    elseif type(value) ~= expected then
      error(("reload.watch: %s: a %s expected, got a %s"):format(name, expected, type(value)), 3)
    end
  end
  return setmetatable({
    every = opts.every or 0.5,
    now = opts.now or os.time,
    on_report = opts.on_report,
    log = opts.log,
    named = {},
    failed = past.set_aside,
    generation = program.generation,
    audited = program.generation,
  }, Watch)
end

local function say(self, text)
  local log = self.log or program.options.log
  if log then
    log(text)
  else
    io.stderr:write(text, "\n")
  end
end

-- What is different from what runs, and what the files are that a failure named.
local function look(self)
  local found = scan.differing()
  local changed = next(found) ~= nil
  for _, path in ipairs(self.named) do
    found[path] = source.read(path) or false
  end
  return found, changed
end

-- Somebody else reloaded: what failed before may work now. After a rollback the files are what it took back; they are not
-- to be loaded again by themselves.
local function notice(self)
  if self.generation ~= program.generation then
    self.generation = program.generation
    self.failed, self.named, self.pending = past.set_aside, {}, nil
  end
end

local function same(a, b)
  if not (a and b) then
    return false
  end
  for path, text in pairs(a) do
    if b[path] ~= text then
      return false
    end
  end
  for path in pairs(b) do
    if a[path] == nil then
      return false
    end
  end
  return true
end

-- Files in the text of a failure that are no units: those that were required for the first time, or not found.
local function named_by(failure)
  local units, named, known = {}, {}, {}
  for _, unit in pairs(program.units) do
    units[unit.path] = true
  end
  local text = ("%s\n%s\n%s"):format(failure.file or "", failure.message, failure.traceback or "")
  for path in text:gmatch "[^%s'\"`()<>#]+%.lua" do
    if not units[path] and not known[path] and not edges.is_kit("@" .. path) then
      known[path] = true
      named[#named + 1] = path
    end
  end
  return named
end

local function say_result(self, report)
  if not report.ok then
    return say(self, plan.text(report))
  end
  -- All the rest was said with the plan.
  say(self, ("%s (%.0f ms)"):format(plan.text(report):match "^[^\n]*", report.ms))
end

local function say_stale(self, result)
  local count = #result.stale + result.more
  if count == 0 then
    return
  end
  local head = "audit of generation %d: old code is still held, in %d place%s"
  local lines = { head:format(result.generation, count, count == 1 and "" or "s") }
  for i = 1, math.min(#result.stale, STALE_TOLD) do
    lines[#lines + 1] = "  " .. audit.line(result.stale[i])
  end
  if count > STALE_TOLD then
    lines[#lines + 1] = ("  and %d more: reload.audit() lists them"):format(count - STALE_TOLD)
  end
  say(self, table.concat(lines, "\n"))
end

-- Goes on with the audit of a generation, and tells what it found, once.
local function go_on_with_audit(self)
  if self.audited == program.generation then
    return
  end
  local result = audit.latest()
  if not result or result.generation ~= program.generation then
    result = audit.step { ms = AUDIT_MS }
  end
  if result.done then
    self.audited = program.generation
    say_stale(self, result)
  end
end

-- What was tried, with the files that the failure named: nothing is tried again before one of them is different.
local function remember_failure(self, tried, failure)
  self.named = named_by(failure)
  for _, path in ipairs(self.named) do
    tried[path] = source.read(path) or false
  end
  self.failed = tried
end

local function reload(self, found)
  local prepared, report = transaction.prepare(nil, true)
  if prepared then
    say(self, plan.text(report))
    report = transaction.commit(prepared)
  end
  say_result(self, report)
  if report.ok then
    self.failed, self.named, self.generation = nil, {}, program.generation
    report.audit = audit.step { ms = program.options.audit_ms }
    go_on_with_audit(self)
  else
    remember_failure(self, found, report.error)
  end
  if self.on_report then
    self.on_report(report)
  end
  return report
end

---Looks at the files, if it is time, and reloads if some have changed.
---@return stillpoint.reload.Report|nil # What a reload came to, if there was one.
function Watch:poll()
  local now = self.now()
  -- A clock that was set back must not stop the watch.
  local early = self.looked and now >= self.looked and now < self.looked + self.every
  if self.stopped or early or program.transaction or program.current() then
    return nil
  end
  self.looked = now
  notice(self)
  local found, changed = look(self)
  if changed and not same(found, self.failed) then
    if same(found, self.pending) then
      self.pending = nil
      return reload(self, found)
    end
    self.pending = found
    return nil
  end
  self.pending = nil
  if not changed and self.failed then
    self.failed, self.named = nil, {}
    say(self, ("the files are again what runs, generation %d"):format(program.generation))
  end
  go_on_with_audit(self)
  return nil
end

---The files that are looked at.
---@return string[]
function Watch:files()
  local files = {}
  for _, unit in pairs(program.units) do
    files[#files + 1] = unit.path
  end
  for _, path in ipairs(self.named) do
    files[#files + 1] = path
  end
  table.sort(files)
  return files
end

---Ends the watch: polls do nothing more.
function Watch:stop()
  self.stopped = true
  self.pending, self.failed, self.named = nil, nil, {}
end

return watch
