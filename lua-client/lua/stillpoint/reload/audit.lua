-- What still holds code of an older generation, and by which path.
--
-- Whatever a unit's chunk made tells by its name which generation it is of (`@path#generation`). A walk over the heap
-- (see `heap`) looks at each function and each frame of a coroutine. One of a generation that is not the unit's any
-- more is *stale*: it goes on running old code, and holds what old code held. Often that is harmless, a coroutine that
-- is about to end; what stays over many reloads is a leak.
--
-- A *pass* goes over everything once, a step at a time. It holds for the generation it began in.

local heap = require "stillpoint.reload.heap"
local past = require "stillpoint.reload.past"
local program = require "stillpoint.reload.program"
local trail = require "stillpoint.reload.walk.trail"

local getinfo = debug and debug.getinfo

---@class stillpoint.reload.Stale
---@field what "function"|"method"|"upvalue-closure"|"coroutine frame"|"stack frame" The last is of the stack that the pass was begun on.
---@field path string Who holds it.
---@field unit string
---@field file string
---@field line integer Where a function is written, or a frame stands.
---@field generation integer
---@field current integer|nil The generation of the unit now; nil: the unit is gone.

---@class stillpoint.reload.AuditResult
---@field done boolean Whether the pass is over.
---@field generation integer That it looked for.
---@field visited integer Objects, so far.
---@field stale stillpoint.reload.Stale[]
---@field more integer Stale things beyond those that are listed.
---@field missed integer Tables that changed too often to be looked at whole.
---@field blind string[] What the host took out of `debug`: what that would show was not looked at.
---@field ms number Time it took, so far.

---@class stillpoint.reload.Pass
---@field walk stillpoint.reload.Walk
---@field result stillpoint.reload.AuditResult
---@field verdicts table<string, table|false> By name of chunk.

local audit = {}

---Stale things that are named; more are counted.
local STALE_MAX = 1000

---A step takes so long unless told otherwise, in milliseconds.
local STEP_MS = 5

---@type stillpoint.reload.Pass|nil
local pass

---@type stillpoint.reload.AuditResult|nil
local last

-- What is wrong with the functions of a chunk; false: nothing.
local function judge(source)
  local name, generation = program.unit_of(source)
  if not name then
    return false
  end
  local unit = program.units[name]
  if unit and generation == unit.generation then
    return false
  end
  return { unit = name, file = program.path_of(source), generation = generation, current = unit and unit.generation }
end

local function verdict_on(self, source)
  local verdict = self.verdicts[source]
  if verdict == nil then
    verdict = judge(source)
    self.verdicts[source] = verdict
  end
  return verdict
end

local function report(self, verdict, what, line, path, ...)
  local result = self.result
  if #result.stale == STALE_MAX then
    result.more = result.more + 1
    return
  end
  result.stale[#result.stale + 1] = {
    what = what,
    path = path(self.walk, ...),
    unit = verdict.unit,
    file = verdict.file,
    line = line,
    generation = verdict.generation,
    current = verdict.current,
  }
end

local function kind_of(parent, how)
  if how == "upvalue" then
    return "upvalue-closure"
  elseif how == "value" and rawget(parent, "__index") ~= nil then
    return "method"
  end
  return "function"
end

local function look_at_function(self, f, parent, how, key, where)
  -- The function of a frame is told with the frame.
  if how == "frame" then
    return
  end
  local info = getinfo(f, "S")
  local verdict = verdict_on(self, info.source)
  if verdict then
    report(self, verdict, kind_of(parent, how), info.linedefined, trail.path, parent, how, key, where)
  end
end

local function look_at_frame(self, info, parent)
  local verdict = verdict_on(self, info.source)
  if verdict then
    local what = parent == self.walk.stack and "stack frame" or "coroutine frame"
    report(self, verdict, what, info.currentline, trail.frame, parent, info)
  end
end

---Begins a new pass, whatever became of the one before.
function audit.begin()
  if pass then
    pass.walk:stop()
  end
  -- What the kit keeps on purpose: images of tables, to go back to, and the reports of the past, which are only data.
  local skip = { past.reports, program.transaction }
  local self = { verdicts = {} }
  self.walk = heap.new {
    found = getinfo and function(...)
      look_at_function(self, ...)
    end,
    frame = function(...)
      look_at_frame(self, ...)
    end,
    skip = skip,
    roots = heap.once_roots(),
  }
  self.result = {
    done = false,
    generation = program.generation,
    visited = 0,
    stale = {},
    more = 0,
    missed = 0,
    blind = self.walk.blind,
    ms = 0,
  }
  pass = self
end

local function copy(list)
  local new = {}
  for i, item in ipairs(list) do
    new[i] = item
  end
  return new
end

---Takes a step: of the pass that is under way, or of a new one if the last is over, or the program is another since.
---@param opts? { ms: number|nil }
---@return stillpoint.reload.AuditResult # So far; a table of its own.
function audit.step(opts)
  local ms = opts and opts.ms or STEP_MS
  if not pass or pass.result.generation ~= program.generation then
    audit.begin()
  end
  local walk, result = pass.walk, pass.result
  local from = os.clock()
  result.done = walk:step(ms)
  result.ms = result.ms + (os.clock() - from) * 1000
  result.visited, result.missed = walk.visited, walk.missed
  if result.done then
    last, pass = result, nil
  end
  local so_far = {}
  for key, value in pairs(result) do
    so_far[key] = value
  end
  so_far.stale, so_far.blind = copy(result.stale), copy(result.blind)
  return so_far
end

---What the last pass that came to its end found.
---@return stillpoint.reload.AuditResult|nil
function audit.latest()
  return last
end

---One line of a report.
---@param stale stillpoint.reload.Stale
---@return string
function audit.line(stale)
  local now = stale.current and ("generation %d, now %d"):format(stale.generation, stale.current)
    or ("generation %d, the unit is gone"):format(stale.generation)
  return ("%s -> %s %s:%d (%s)"):format(stale.path, stale.what, stale.file, stale.line, now)
end

return audit
