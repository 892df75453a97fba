-- reload.once, data that outlives the code; reload.ref, functions that are always those of now.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

test("a value is initialised once, and kept over reloads, whatever it is", function(p)
  local text = [[local M = reload.module(...) M.runs = reload.once("runs", function() return {} end)
    local function init(value) M.runs[#M.runs + 1] = %d return value end
    M.list = reload.once("list", function() return init { 1 } end)
    M.zero = reload.once("zero", function() return init(0) end)
    M.no = reload.once("no", function() return init(false) end)
    M.none = reload.once("none", function() return init(nil) end)
    return M]]
  p:write("game.data", text:format(1))
  local M = p:load "game.data"
  local list, runs = M.list, M.runs
  list[2] = "written"
  for i = 2, 3 do
    p:write("game.data", text:format(i))
    p:apply()
    equal({ rawequal(M.list, list), rawequal(M.runs, runs) }, { true, true })
    equal({ M.list, M.zero, M.no, M.none }, { { 1, "written" }, 0, false, nil })
    equal(runs, { 1, 1, 1, 1 })
  end
end)

test("what the initial value would be does not matter after the first time", function(p)
  p:write("game.data", "local M = reload.module(...) M.v = reload.once('v', function() return { 1 } end) return M")
  local M = p:load "game.data"
  p:write("game.data", "local M = reload.module(...) M.v = reload.once('v', function() return 'text' end) return M")
  p:apply()
  equal(M.v, { 1 })
end)

test("an init that fails keeps nothing, and is tried again", function(p)
  local runs = 0
  raises("not yet", p.reload.once, "v", function()
    runs = runs + 1
    error "not yet"
  end)
  equal(p.reload.once("v", function() runs = runs + 1 return "v" end), "v")
  equal(runs, 2)
end)

test("units share a value by its name, and it outlives the last of them", function(p)
  local text = "local M = reload.module(...) M.v = reload.once('shared', function() return {} end) return M"
  p:write("game.a", text)
  p:write("game.b", text)
  local a, b = p:load "game.a", p:load "game.b"
  equal(rawequal(a.v, b.v), true)
  local v = a.v
  p:write("game.a", "return reload.module(...)")
  p:write("game.b", "return reload.module(...)")
  p:apply()
  p:write("game.b", text .. " -- again")
  p:apply()
  equal(rawequal(b.v, v), true)
end)

test("what a failed reload initialised is forgotten; what hooks did to data is undone", function(p)
  p:write("game.data", "local M = reload.module(...) M.v = reload.once('v', function() return { n = 1, deep = { 1 } } end) return M")
  local M = p:load "game.data"
  local deep = M.v.deep
  p:write("game.data", [[local M = reload.module(...) M.v = reload.once('v')  return M]])
  equal(p.reload.apply().ok, false)
  p:write("game.data", [[local M = reload.module(...) M.v = reload.once('v', function() end)
    M.w = reload.once('w', function() return "gen 2" end)
    function M.on_reload() M.v.n = 2 M.v.deep[1] = nil M.v.deep.x = 1 M.v.extra = {} error "no" end return M]])
  local report = p.reload.apply()
  equal({ report.ok, report.outcome, report.phase }, { false, "rolled_back", "hook" })
  equal({ M.v, M.w, rawequal(M.v.deep, deep) }, { { n = 1, deep = { 1 } }, nil, true })
  equal(p.reload.once("w", function() return "new" end), "new")
end)

test("a plan tells a new name, and initialises nothing", function(p)
  p:write("game.data", "return reload.module(...)")
  p:load "game.data"
  p:write("game.data", "local M = reload.module(...) reload.once('fresh', function() return {} end) return M")
  local report, names = p.reload.plan(), {}
  for _, change in ipairs(report.changes) do
    names[#names + 1] = change.kind .. " " .. change.name .. " " .. tostring(change.to) .. " " .. change.unit
  end
  equal(names, { "once fresh table game.data" })
  equal(p.reload.once("fresh", function() return 1 end), 1)
end)

test("a prepared reload does not write over data that came meanwhile", function(p)
  p:write("game.data", "return reload.module(...)")
  p:load "game.data"
  p:write("game.data", "local M = reload.module(...) M.v = reload.once('late', function() return {} end) return M")
  local prepared = p.reload.prepare()
  local v = p.reload.once("late", function() return { 1 } end)
  equal(p.reload.commit(prepared).ok, true)
  equal({ rawequal(require("game.data").v, v), v }, { true, { 1 } })
end)

test("wrong arguments are blamed on the caller", function(p)
  local err = raises("name: a string expected, got nil", function()
    p.reload.once()
  end)
  matches(err, "reload_once_spec%.lua:%d+: name")
  raises("init: a function expected, got a table", p.reload.once, "x", {})
  raises("table: a table expected, got nil", p.reload.ref, nil, "x")
  raises("name: the name of a function expected, got nil", p.reload.ref, {})
end)

test("a ref is the same function for the same table and name, and calls what is there now", function(p)
  p:write("game.tick", "local M = reload.module(...) function M.tick(...) return 1, ... end M.ref = reload.ref(M, 'tick') return M")
  local M = p:load "game.tick"
  local tick = p.reload.ref(M, "tick")
  equal(rawequal(tick, M.ref), true)
  equal(rawequal(tick, p.reload.ref(M, "tock")), false)
  equal(rawequal(tick, p.reload.ref({}, "tick")), false)
  equal({ tick(nil, "b", nil) }, { 1, nil, "b", nil })
  equal(select("#", tick(nil, nil)), 3)
  for i = 2, 3 do
    p:write("game.tick", ("local M = reload.module(...) function M.tick() return %d end M.ref = reload.ref(M, 'tick') return M"):format(i))
    p:apply()
    equal({ tick(), rawequal(tick, M.ref) }, { i, true })
  end
end)

test("a ref of a class, and of a plain unit, follows, too", function(p)
  p:write("game.plain", "local M = {} function M.tick() return 1 end M.saved = reload.once('saved', function() return reload.ref(M, 'tick') end) return M")
  p:write("game.player", "local M = reload.module(...) M.P = reload.class 'P' function M.P.tick() return 1 end return M")
  local saved, tick = p:load("game.plain").saved, p.reload.ref(p:load("game.player").P, "tick")
  for i = 2, 4 do
    p:write("game.plain", ("local M = {} function M.tick() return %d end M.saved = reload.ref(M, 'tick') return M"):format(i))
    p:write("game.player", ("local M = reload.module(...) M.P = reload.class 'P' function M.P.tick() return %d end return M"):format(i))
    p:apply()
    equal({ saved(), tick() }, { i, i })
    p:write("game.plain", ("local M = {} function M.tick() return -%d end return M"):format(i))
    local second = require("game.plain").saved
    p:apply()
    equal({ saved(), second() }, { -i, -i })
  end
end)

test("a ref to a function that is gone says since when, and works again when it is back", function(p)
  local with, without = "local M = reload.module(...) function M.tick() return %d end return M", "return reload.module(...)"
  p:write("game.player", with:format(1))
  local tick = p.reload.ref(p:load "game.player", "tick")
  p:write("game.player", without)
  p:apply()
  p:write("game.player", without .. " -- again")
  p:apply()
  local err = raises("game%.player%.tick is gone since generation 2, but a reload%.ref to it was called", function()
    tick()
  end)
  matches(err, "reload_once_spec%.lua:%d+:")
  p:write("game.player", with:format(4))
  p:apply()
  equal(tick(), 4)
  raises("there is no game%.player%.tock in generation 4", p.reload.ref(require "game.player", "tock"))
end)

test("a reload that fails, or is only planned, changes no ref", function(p)
  p:write("game.player", "local M = reload.module(...) function M.tick() return 1 end return M")
  local tick = p.reload.ref(p:load "game.player", "tick")
  p:write("game.player", "reload.module(...) error 'no'")
  equal(p.reload.apply().ok, false)
  equal(tick(), 1)
  p:write("game.player", "return reload.module(...)")
  equal(p.reload.plan().ok, true)
  equal(tick(), 1)
  p:apply()
  raises("gone since generation 2", tick)
end)

test("refs keep nothing alive that nobody else does", function(p)
  local alive = setmetatable({}, { __mode = "k" })
  for _ = 1, 10 do
    local t = { f = function() end }
    alive[t] = true
    alive[p.reload.ref(t, "f")] = true
  end
  collectgarbage()
  collectgarbage()
  equal(next(alive), nil)
  local held
  do
    local t = { f = function() return "f" end }
    held = p.reload.ref(t, "f")
  end
  collectgarbage()
  equal(held(), "f")
end)

test("a hundred reloads: the same data, the same ref", function(p)
  local text = [[local M = reload.module(...) local v = reload.once("v", function() return { n = 0 } end)
    function M.tick() v.n = v.n + 1 return %d end M.ref = reload.ref(M, "tick") return M]]
  p:write("game.player", text:format(0))
  local M = p:load "game.player"
  local tick = M.ref
  for i = 1, 100 do
    p:write("game.player", text:format(i))
    p:apply()
    assert(tick() == i and tick == M.ref)
  end
  equal(p.reload.once("v", error), { n = 100 })
end)

program.finish()
