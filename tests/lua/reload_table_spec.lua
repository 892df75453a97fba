-- One module, v1 -> v2, as other reload tools were tried on it: each test is a row of the table of what they do with it.
-- Here every row has to be as one wants it, also at the second reload, where such tools break, and at the twentieth.

local program = require "program"

local equal, test = program.equal, program.test

local V1 = [[
local M = reload.module(...)
local Monster = reload.class "Monster"
local spawned = reload.once("monster.spawned", function() return { count = 0, list = {} } end)
M.max = 10
M.config = { speed = 1, old = true }
function Monster:init(name) self.name = name end
function Monster:attack() return self.name .. " bites" end
function Monster:flee() return self.name .. " flees" end
function M.spawn(name)
  spawned.count = spawned.count + 1
  spawned.list[spawned.count] = name
  return Monster(name)
end
function M.tick() return "tick v1, " .. spawned.count end
function M.gone() return "v1" end
function M.anonymous() return function() return "anonymous v1" end end
return M]]

local V2 = [[
local M = reload.module(...)
local Monster = reload.class "Monster"
local spawned = reload.once("monster.spawned", function() return { count = 0, list = {} } end)
M.max = 20
M.config = { speed = 2, new = true }
function Monster:init(name) self.name = name end
function Monster:attack() return self.name .. " claws" end
function Monster:sleep() return self.name .. " sleeps" end
function M.spawn(name)
  spawned.count = spawned.count + 1
  spawned.list[spawned.count] = name
  return Monster(name)
end
function M.tick() return "tick v2, " .. spawned.count end
function M.count() return spawned.count end
function M.last() return spawned.list[spawned.count] end
function M.anonymous() return function() return "anonymous v2" end end
return M]]

-- Each row: what v1 leaves behind, and what has to be seen of it after each reload, which are to v2 and back to v1 in turns.
local rows = {}

rows["data in upvalues is kept"] = function(M)
  M.spawn "rat"
  local count = 1
  return function(version)
    equal(M.tick(), ("tick %s, %d"):format(version, count))
    M.spawn "bat"
    count = count + 1
  end
end

rows["scalars in the module table are those of the new source"] = function(M)
  M.max = 99
  M.config.speed = 99
  return function(version)
    equal(M.max, version == "v2" and 20 or 10)
    equal(M.config, version == "v2" and { speed = 2, new = true } or { speed = 1, old = true })
  end
end

rows["objects of a local class get new methods"] = function(M)
  local rat = M.spawn "rat"
  return function(version)
    equal(rat:attack(), version == "v2" and "rat claws" or "rat bites")
    equal({ rat.flee ~= nil, rat.sleep ~= nil }, { version == "v1", version == "v2" })
  end
end

rows["saved callbacks are new"] = function(M, p)
  local timers = { p.reload.ref(M, "tick"), host = { callback = p.reload.ref(M, "tick") } }
  M.spawn "rat"
  return function(version)
    equal({ timers[1](), timers.host.callback() }, { "tick " .. version .. ", 1", "tick " .. version .. ", 1" })
  end
end

local function audited(p)
  local result
  repeat
    result = p.reload.audit { ms = 50 }
  until result.done
  return result.stale
end

rows["older anonymous closures are reported"] = function(M, p)
  equal(audited(p), {})
  _G.kept_by_somebody = { 0, M.anonymous() }
  return function(version, generation)
    equal(_G.kept_by_somebody[2](), "anonymous v1", "its code cannot be replaced")
    local stale = audited(p)
    equal(#stale, 1)
    local one = stale[1]
    program.matches(one.path, "kept_by_somebody.*2")
    equal({ one.unit, one.file, one.line, one.generation, one.current }, { "game.monster", p:path "game.monster", 16, 1, generation })
    if generation == 21 then
      _G.kept_by_somebody = nil
      collectgarbage()
      equal(audited(p), {}, version)
    end
  end
end

rows["removed functions are gone"] = function(M, p)
  local module = M
  return function(version)
    equal(rawequal(module, require "game.monster"), true)
    equal({ M.gone ~= nil, M.count ~= nil, M.last ~= nil }, { version == "v1", version == "v2", version == "v2" })
    if version == "v1" then
      return
    end
    local report = p.reload.history()[#p.reload.history()]
    local said = {}
    for _, change in ipairs(report.changes) do
      said[change.kind .. " " .. change.name] = true
    end
    equal({ said["function_gone gone"], said["function_gone Monster.flee"], said["function_new count"] }, { true, true, true })
  end
end

rows["a new function sees the same data as the others: no split state"] = function(M)
  M.spawn "rat"
  local n = 1
  local spawn = M.spawn
  return function(version)
    local name = "n" .. n
    M.spawn(name)
    n = n + 1
    if version == "v2" then
      equal({ M.count(), M.last() }, { n, name })
      -- Even one of an older generation writes where the new ones read.
      spawn "by an old function"
      n = n + 1
      equal({ M.count(), M.last(), M.tick() }, { n, "by an old function", "tick v2, " .. n })
    end
  end
end

local names = {}
for name in pairs(rows) do
  names[#names + 1] = name
end
table.sort(names)

for _, name in ipairs(names) do
  test(name, function(p)
    p:write("game.monster", V1)
    local check = rows[name](p:load "game.monster", p)
    for generation = 2, 21 do
      local version = generation % 2 == 0 and "v2" or "v1"
      p:write("game.monster", version == "v2" and V2 or V1)
      p:apply()
      check(version, generation)
      if generation % 5 == 0 then
        for _, bad in ipairs { "error 'never'", "function M.on_reload() M.spawn 'ghost' error 'never' end return M" } do
          p:write("game.monster", (V2:gsub("return M$", bad)))
          equal(p.reload.apply().ok, false)
        end
      end
    end
  end)
end

program.finish()
