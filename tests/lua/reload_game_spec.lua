-- A program as they are: much data, callbacks, coroutines, files of all kinds, and things that happen at the wrong moment.

local program = require "program"

local equal, test = program.equal, program.test

-- The globals of the program under test.
local G = _G

local function lua_module(fields)
  return "local M = reload.module(...) " .. fields .. " return M"
end

test("what code keeps is undone, however much data there is", function(p)
  local source = "M.data = reload.once('data', function() return {} end) local n = 0 function M.n() return n end "
    .. "function M.on_reload() n = 5 M.data.touched = true error 'no' end"
  p:write("game.a", lua_module "M.data = reload.once('data', function() return {} end)")
  p:write("game.b", lua_module "local n = 1 function M.add() n = n + 1 return n end")
  local a, b = p:load "game.a", p:load "game.b"
  for i = 1, 2000 do
    a.data[i] = { id = i, inner = {} }
  end
  b.add()
  p:write("game.a", "local b = require 'game.b' " .. lua_module(source .. " b.add()"))
  local report = p.reload.apply()
  equal({ report.outcome, report.phase }, { "rolled_back", "hook" })
  program.matches(report, "more than 500 tables and functions")
  equal(b.add(), 3)
end, { undo_tables = 500 })

test("a large table of data is undone as long as it is within the bound", function(p)
  local source = "M.data = reload.once('data', function() return {} end) function M.on_reload() for i = 1, 5000 do M.data[i] = nil end error 'no' end"
  p:write("game.a", lua_module "M.data = reload.once('data', function() return {} end)")
  local a = p:load "game.a"
  for i = 1, 5000 do
    a.data[i] = i
  end
  p:write("game.a", lua_module(source))
  p.reload.apply()
  equal({ #a.data, a.data[1], a.data[5000] }, { 5000, 1, 5000 })
  for i = 5001, 20000 do
    a.data[i] = i
  end
  program.matches(p.reload.plan(), "more than 2000 tables and functions")
end, { undo_tables = 2000 })

-- Lua 5.1 does not say whether its collector runs, so the kit does not stop it.
if pcall(collectgarbage, "isrunning") then
  test("what finalizers do while a reload is staged is not taken down with it", function(p)
    p:write("game.a", lua_module "M.stats = reload.once('stats', function() return { closed = 0 } end)")
    local stats = p:load("game.a").stats
    p:write("game.a", lua_module "M.stats = reload.once('stats', print) for i = 1, 200000 do local _ = { i } end")
    local meta = {
      __gc = function()
        stats.closed = stats.closed + 1
      end,
    }
    for _ = 1, 5 do
      if G.newproxy then
        debug.setmetatable(G.newproxy(), meta)
      else
        setmetatable({}, meta)
      end
      equal(p.reload.plan().outcome, "planned")
      equal(collectgarbage "isrunning", true)
    end
    collectgarbage()
    collectgarbage()
    equal(stats.closed, 5)
  end)
end

test("a plan looks for callbacks, a reload leaves that to the audit", function(p)
  p:write("game.a", lua_module "function M.make() return function() end end")
  G.timers = { p:load("game.a").make() }
  p:write("game.a", lua_module "function M.make() end")
  equal(#p.reload.plan().loses, 1)
  local report = p:apply()
  equal({ #report.loses, #report.audit.stale }, { 0, 1 })
end, { audit_ms = 10000 })

test("strict accepts all that is declared", function(p)
  p:write("game.gate", lua_module "function M.f() return 1 end function M.g() return 1 end")
  p:write(
    "game.p",
    [[local M, gate = reload.module(...), require "game.gate"
    local f, C, d = reload.ref(gate, "f"), reload.class "C", reload.once("d", function() return {} end)
    local r = reload.resource("r", function() return 1 end)
    local h = reload.override(gate, "f", function(super) return super() end)
    M.f, M.C, M.r, M.h = f, C, r, h
    function M.go() d[#d + 1] = 1 M.f2 = f return f(), C, r.value, h end
    return M]]
  )
  p:load("game.p").go()
  p:apply { force = { "game.gate" } }
  require("game.p").go()
  p:apply { force = { "game.p" } }
  p:load("game.gate").g = function() end
  local report = p.reload.apply { force = { "game.gate" } }
  equal({ report.phase, report.loses[1].name }, { "strict", "g" })
end, { strict = true })

test("the status has the fingerprint of each unit", function(p)
  p:write_raw("game.a", "return 1")
  p:write_raw("game.b", "return 1")
  p:load "game.a"
  p:load "game.b"
  local sources = p.reload.status().sources
  equal(sources, { ["game.a"] = sources["game.b"], ["game.b"] = sources["game.a"] })
  program.matches(sources["game.a"], "^%x%x%x%x%x%x%x%x$")
  p:write_raw("game.b", "return 2")
  p:apply()
  local now = p.reload.status().sources
  equal({ now["game.a"], now["game.b"] == sources["game.b"] }, { sources["game.a"], false })
end)

test("the text of a report cuts long lists short", function(p)
  p:write("game.base", "return {}")
  for i = 1, 50 do
    p:write("game.u" .. i, lua_module "require 'game.base'")
    p:load("game.u" .. i)
  end
  local fields = {}
  for i = 1, 120 do
    fields[i] = ("M.f%d = %d"):format(i, i)
  end
  p:write("game.u1", lua_module(table.concat(fields, " ")))
  p:write("game.base", "return { }")
  local report = p.reload.plan()
  equal(#report.changes, 120)
  program.matches(report, "run again: game.u10, [^\n]* and 29 more\n")
  program.matches(report, "\n  and 100 more changes")
  local _, lines = tostring(report):gsub("\n", "")
  equal(lines, 23)
end)

test("the roots are what of package.path is the program's", function(p)
  local path, args = package.path, G.arg
  local function roots(script, templates)
    G.arg, package.path = { [0] = script }, templates
    p.reload.setup()
    return table.concat(require("stillpoint.reload.source").roots, ";")
  end
  local ok, err = pcall(function()
    local system = "/usr/local/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua;/opt/host/?.lua"
    local rocks = ";./lua_modules/share/lua/5.4/?.lua"
    equal(roots("main.lua", "./?.lua;game/?.lua;" .. system .. rocks), "./?.lua;game/?.lua")
    equal(roots("/srv/game/main.lua", "/srv/game/?.lua;/srv/game/lib/?.lua;" .. system), "/srv/game/?.lua;/srv/game/lib/?.lua")
    equal(roots("/srv/game/bin/main.lua", "/srv/game/?.lua;/srv/other/?.lua;/?.lua"), "/srv/game/?.lua")
    equal(roots("/usr/local/share/lua/5.4/tool/main.lua", system), "")
    equal(roots("C:\\game\\main.lua", "C:\\game\\?.lua;C:\\lua\\?.lua"), "C:\\game\\?.lua")
    equal(roots(nil, "/srv/game/?.lua"), "")
  end)
  package.path, G.arg = path, args
  assert(ok, err)
end)

test("after a rollback the plan says that the files are newer than what runs", function(p)
  p:write("game.a", lua_module "M.v = 1")
  p:write("game.b", lua_module "M.v = 1")
  local a = p:load "game.a"
  p:load "game.b"
  p:write("game.a", lua_module "M.v = 2")
  p:apply()
  p.reload.rollback()
  equal(a.v, 1)
  local text = "the files are newer than what runs: generation 3 is a rollback, and this one is still as before it: game.a"
  local report = p.reload.plan()
  equal(report.notes, { text })
  p:write("game.b", lua_module "M.v = 2")
  equal(p.reload.plan().notes, { text })
  p:write("game.a", lua_module "M.v = 3")
  equal(p:apply().notes, {})
  p:write("game.a", lua_module "M.v = 4")
  equal(p.reload.plan().notes, {})
end)

test("units that require each other over package.loaded begin as they did the first time", function(p)
  local a_source = "local A = {} package.loaded[...] = A A.b = require 'game.b' function A.v() return %d end return A"
  local b_source = "local a = require 'game.a' return { v = function() return a.v() + %d end }"
  p:write("game.a", a_source:format(1))
  p:write("game.b", b_source:format(0))
  local a = p:load "game.a"
  local b = a.b
  p:write("game.a", a_source:format(2))
  p:apply()
  equal({ b.v(), a.v(), rawequal(require "game.a", a), rawequal(a.b, b) }, { 2, 2, true, true })
  p:write("game.b", b_source:format(10))
  p:apply()
  equal({ b.v(), rawequal(require "game.b", b), rawequal(a.b, b) }, { 12, true, true })
end)

test("a file that comes in an earlier root takes the place of the other", function(p)
  p.reload.setup { roots = { p.dir .. "/mods", p.dir } }
  p:write("game.rules", "return { v = 'base' }")
  local rules = p:load "game.rules"
  p:write("mods.game.rules", "return { v = 'mod' }")
  local time = 0
  local watch = p.reload.watch {
    now = function()
      time = time + 1
      return time
    end,
    log = function() end,
  }
  watch:poll()
  equal({ watch:poll().outcome, rules.v }, { "applied", "mod" })
  p:remove "mods.game.rules"
  p:apply()
  equal(rules.v, "base")
end)

test("metamethods of the program are not called", function(p)
  p:write("game.evil", [[
    function evil()
      local meta = { __mode = "k", __metatable = "locked" }
      for _, event in ipairs { "eq", "index", "newindex", "len", "pairs", "tostring", "concat", "lt", "call" } do
        meta["__" .. event] = function() error(event) end
      end
      return meta
    end]])
  p:load "game.evil"
  local source = [[
    local M = { v = %d }
    M.data = reload.once("data", function()
      local meta = evil()
      return { setmetatable({}, meta), setmetatable({}, meta), [setmetatable({}, meta)] = setmetatable({ x = 1 }, meta), nan = 0 / 0 }
    end)
    M[setmetatable({}, evil())] = setmetatable({}, evil())
    return setmetatable(M, evil())]]
  p:write("game.a", source:format(1))
  local a = p:load "game.a"
  local first, second = a.data[1], a.data[2]
  p:write("game.b", "return reload.module(...)")
  p:load "game.b"
  p:write("game.a", source:format(2))
  p:write("game.b", "local M = reload.module(...) function M.on_reload() local d = require('game.a').data "
    .. "rawset(d[1], 'y', 2) d.nan = 5 d[1], d[2] = d[2], d[1] error 'no' end return M")
  equal({ p.reload.plan().outcome, p.reload.apply().outcome }, { "planned", "rolled_back" })
  equal({ a.v, rawget(first, "y"), rawequal(a.data[1], first), rawequal(a.data[2], second) }, { 1, nil, true, true })
  equal(a.data.nan ~= a.data.nan, true)
  p:write("game.b", "return reload.module(...)")
  local report = p:apply()
  equal({ a.v, report.audit.done, report.audit.missed, report.audit.stale }, { 2, true, 0, {} })
end, { audit_ms = 10000 })

test("whatever is raised makes a report, and not a long one", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  for _, raising in ipairs {
    "error({ code = 5 })",
    "error(setmetatable({}, { __tostring = function() error 'again' end }))",
    "error(setmetatable({}, { __tostring = function() return 5 end }))",
    "error()",
    "error(false)",
    "error('')",
    "error(('x'):rep(1000000))",
  } do
    for outcome, source in pairs {
      refused = "%s",
      ["refused "] = "function M.verify() %s end",
      rolled_back = "function M.on_reload() %s end",
      ["rolled_back "] = "reload.resource('r', function() %s end)",
    } do
      p:write("game.a", lua_module(source:format(raising)))
      local report = p.reload.apply()
      equal({ report.ok, report.outcome, type(report.error.message) }, { false, outcome:match "%S+", "string" }, raising)
      equal(#tostring(report) < 12000, true, raising)
    end
  end
  p:write("game.a", "local function f() return f() + 1 end f()")
  program.matches(p.reload.apply().error.message, "stack overflow")
  equal({ a.v, p.reload.status().generation }, { 1, 1 })
end)

test("a table that a unit only gives on is never emptied", function(p)
  p:write("game.b", "return { v = 'b' }")
  for _, given in ipairs { "require 'game.b'", "math", "_G", "reload.once('given', function() return { v = 'once' } end)" } do
    for _, own in ipairs { "return { own = 1 }", "local M = reload.module(...) M.own = 1 return M" } do
      p:write("game.a", "return " .. given)
      local there = p:load "game.a"
      local count = 0
      for _ in pairs(there) do
        count = count + 1
      end
      p:write("game.a", own)
      p:apply()
      local mine = require "game.a"
      equal({ mine.own, rawget(there, "own") }, { 1, nil }, given)
      p:write("game.a", "return " .. given)
      p:apply()
      for _ in pairs(there) do
        count = count - 1
      end
      equal({ rawequal(require "game.a", there), count, rawget(mine, "own") }, { true, 0, nil }, given)
      -- Whoever holds the unit's own table sees what the unit gives now.
      equal(mine.v, there.v)
      p:write("game.a", own)
      p:apply()
      equal({ rawequal(require "game.a", mine), mine.own, mine.v }, { true, 1, nil }, given)
      package.loaded["game.a"] = nil
      p:remove "game.a"
      p:apply()
    end
  end
end)

test("a plain class becomes a declared one, and objects of both get new methods", function(p)
  p:write("game.pl", "local P = {} P.__index = P function P.new() return setmetatable({}, P) end function P:hp() return 1 end return P")
  local P = p:load "game.pl"
  local old = P.new()
  p:write("game.pl", "local P = reload.class 'Pl' function P:hp() return 2 end return P")
  p:apply()
  local new = require("game.pl").new()
  equal({ old:hp(), new:hp(), P.new():hp() }, { 2, 2, 2 })
  p:write("game.pl", "local P = reload.class 'Pl' function P:hp() return 3 end return P")
  p:apply()
  equal({ old:hp(), new:hp(), P.new():hp() }, { 3, 3, 3 })
end)

test("a table that a unit also puts under another name stays its own", function(p)
  p:write("game.a", "local M = { v = 1 } package.loaded.alias = M return M")
  local a = p:load "game.a"
  p:write("game.a", "local M = { v = 2 } package.loaded.alias = M return M")
  p:apply()
  equal({ a.v, rawequal(require "game.a", a), rawequal(require "alias", a) }, { 2, true, true })
end)

test("reload.module by hand does not empty a unit; another loader refills it", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  program.raises("'game.a' is loaded already: require 'game.a' gives its table", p.reload.module, "game.a")
  equal(a.v, 1)
  p:write("game.a", lua_module "M.w = 2")
  equal({ rawequal(assert(loadfile(p:path "game.a"))("game.a"), a), a.v, a.w }, { true, nil, 2 })
end)

test("what a failed chunk did to the libraries and to package is undone", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  local searchers, path = package.searchers or package.loaders, package.path
  local count = #searchers
  p:write("game.a", [[
    table.insert(package.searchers or package.loaders, print)
    package.path, string.shout, getmetatable("").__index = "x", print, print
    setmetatable(_G, { __index = print })
    error "no"]])
  local report = p.reload.apply()
  equal({ report.outcome, #searchers, package.path == path, rawget(string, "shout") }, { "refused", count, true, nil })
  equal({ ("x"):rep(2), getmetatable(G) }, { "xx", nil })
end)

program.finish()
