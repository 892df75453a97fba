-- Reloading a program: what changes, what stays, and what is said about it.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

test("a plain require of a file in the roots makes a unit", function(p)
  p:write("game.player", "return { hp = 1 }")
  equal(p:load("game.player").hp, 1)
  local status = p.reload.status()
  equal({ status.generation, status.units, status.prepared }, { 1, 1, false })
  matches(status.program, "^%x%x%x%x%x%x%x%x$")
end)

test("a module keeps its table; functions are new, and removed ones gone", function(p)
  p:write("game.player", "local M = reload.module(...) M.hp = 1 function M.a() return 1 end function M.b() end return M")
  local player = p:load "game.player"
  p:write("game.player", "local M = reload.module(...) M.hp = 2 function M.a() return 2 end function M.c() end return M")
  local report = p:apply()
  equal(rawequal(player, require "game.player"), true)
  equal({ player.hp, player.a(), player.b, type(player.c) }, { 2, 2, nil, "function" })
  equal({ report.outcome, report.from, report.generation }, { "applied", 1, 2 })
  equal(report.changed, { "game.player" })
  local kinds = {}
  for _, change in ipairs(report.changes) do
    kinds[#kinds + 1] = change.kind .. " " .. change.name
  end
  equal(kinds, { "function_gone b", "function_new c", "value hp" })
end)

test("a plain module keeps its table, and its functions see no other", function(p)
  p:write("game.mail", "local M = { n = 0 } function M.get() return M end M.inner = { me = M } return setmetatable(M, M)")
  local mail = p:load "game.mail"
  p:write("game.mail", "local M = { n = 1 } function M.get2() return M end M.inner = { me = M } return setmetatable(M, M)")
  p:apply()
  equal(rawequal(mail, require "game.mail"), true)
  equal(mail.get, nil)
  equal(mail.n, 1)
  equal(rawequal(mail.get2(), mail), true)
  equal(rawequal(mail.inner.me, mail), true)
  equal(rawequal(getmetatable(mail), mail), true)
end)


-- Names of the changes of a report, as "kind name".
local function kinds_of(report)
  local kinds = {}
  for _, change in ipairs(report.changes) do
    kinds[#kinds + 1] = change.kind .. " " .. change.name
  end
  return kinds
end

local function names_of(losses)
  local names = {}
  for _, loss in ipairs(losses) do
    names[#names + 1] = loss.kind .. " " .. loss.name
  end
  table.sort(names)
  return names
end

local function lua_module(fields)
  return "local M = reload.module(...) " .. fields .. " return M"
end

test("what a plain unit registers with others is unified, too", function(p)
  p:write("game.gate", "return { handlers = {}, by_module = {} }")
  local mail = "local gate = require 'game.gate' local M = { v = %d } gate.handlers.mail = function() return M end "
    .. "gate.list = { M } gate.by_module[M] = true mail = M return M"
  p:write("game.mail", mail:format(1))
  local one, gate = p:load "game.mail", p:load "game.gate"
  p:write("game.mail", mail:format(2))
  p:apply()
  equal(rawequal(gate.handlers.mail(), one), true)
  equal(rawequal(gate.list[1], one), true)
  equal(rawequal(_G.mail, one), true)
  equal({ next(gate.by_module) }, { one, true })
  equal(next(gate.by_module, one), nil)
  equal(one.v, 2)
end)

test("objects of a plain class get its new methods", function(p)
  p:write("game.player", "local P = {} P.__index = P function P.new() return setmetatable({}, P) end function P:hp() return 1 end return P")
  local player = p:load("game.player").new()
  p:write("game.player", "local P = {} P.__index = P function P.new() return setmetatable({}, P) end function P:hp() return 2 end return P")
  p:apply()
  equal(player:hp(), 2)
  equal(rawequal(getmetatable(p:load("game.player").new()), getmetatable(player)), true)
end)

test("whoever holds the new table of a plain unit sees the old one through it", function(p)
  local source = "local M = { v = %d } local co = coroutine.create(function() while true do coroutine.yield(M) end end) "
    .. "held = function() return select(2, coroutine.resume(co)) end return M"
  p:write("game.a", source:format(1))
  local a = p:load "game.a"
  p:write("game.a", source:format(2))
  p:apply()
  -- A local on the stack of a coroutine is nothing that the kit could change.
  local held = _G.held()
  equal({ rawequal(held, a), held.v }, { false, 2 })
  held.w = 3
  equal(a.w, 3)
end)

test("a value that is no table simply takes the place of the old one", function(p)
  p:write("game.rule", "return function() return 1 end")
  equal(p:load("game.rule")(), 1)
  p:write("game.rule", "return function() return 2 end")
  p:apply()
  equal(p:load("game.rule")(), 2)
  p:write("game.rule", "x = 1")
  p:apply()
  equal(p:load "game.rule", true)
end)

test("a plain unit becomes a module, and a module a plain unit, with the same table", function(p)
  p:write("game.a", "return { v = 1 }")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2")
  p:apply()
  equal({ rawequal(a, require "game.a"), a.v }, { true, 2 })
  p:write("game.a", "return { v = 3 }")
  p:apply()
  equal({ rawequal(a, require "game.a"), a.v }, { true, 3 })
end)

test("dependents run again, dependencies first", function(p)
  p:write("game.base", "ran = (ran or '') .. 'b' return { v = 1 }")
  p:write("game.mid", "local base = require 'game.base' ran = ran .. 'm' return { v = base.v }")
  p:write("game.top", "local v = require('game.mid').v ran = ran .. 't' return { v = function() return v end }")
  p:write("game.other", "ran = ran .. 'o' return {}")
  local top = p:load "game.top"
  p:load "game.other"
  p:write("game.base", "ran = ran .. 'B' return { v = 2 }")
  local report = p:apply()
  equal(_G.ran, "bmtoBmt")
  equal(top.v(), 2)
  equal({ report.changed, report.rerun }, { { "game.base" }, { "game.mid", "game.top" } })
end)

test("a dependency that was already loaded is noticed, and one that is new is added", function(p)
  p:write("game.a", "return { v = 1 }")
  p:write("game.b", "return { v = require('game.a').v }")
  local a = p:load "game.a"
  local b = p:load "game.b"
  p:write("game.c", "return { v = 10 }")
  p:write("game.a", "return { v = require('game.c').v }")
  local report = p:apply()
  equal({ a.v, b.v }, { 10, 10 })
  equal(report.added, { "game.c" })
  equal(p.reload.status().units, 3)
  p:write("game.c", "return { v = 20 }")
  equal(p:apply().rerun, { "game.a", "game.b" })
  equal(b.v, 20)
end)

test("what is missing is told with the line that requires it", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  p:write("game.a", "\n\nrequire 'game.nowhere' return {}")
  local report = p.reload.apply()
  equal({ report.phase, report.error.file, report.error.line }, { "dependency", p:path "game.a", 3 })
  matches(report.error.message, "^[^\n]*a.lua#2:3: module 'game.nowhere' not found:")
  equal(report.error.message:find "\n%s*\n", nil, "no empty line")
end)

test("a unit whose file is gone vanishes, if nobody requires it any more", function(p)
  p:write("game.a", "return {}")
  p:write("game.b", "require 'game.a' return {}")
  p:load "game.b"
  p:remove "game.a"
  local report = p.reload.apply()
  equal({ report.outcome, report.phase, report.error.unit }, { "refused", "dependency", "game.b" })
  matches(report.error.message, "game.a' not found")
  matches(report.error.message, "its file is gone")
  equal(p.reload.status().units, 2)
  p:write("game.b", "return {}")
  report = p:apply()
  equal(report.vanished, { "game.a" })
  equal(p.reload.status().units, 1)
  equal(package.loaded["game.a"], nil)
end)

test("a file that moved within the roots is the same unit", function(p)
  p.reload.setup { roots = { p.dir } }
  p:write("game.a", "return { v = 1 }")
  local a = p:load "game.a"
  p:remove "game.a"
  p:write("game.a.init", "return { v = 2 }")
  local report = p:apply()
  equal({ a.v, report.changed }, { 2, { "game.a" } })
end)

test("a circle of dependencies is named", function(p)
  p:write("game.a", "return {}")
  p:write("game.b", "require 'game.a' return {}")
  p:load "game.b"
  p:write("game.a", "require 'game.b' return {}")
  local report = p.reload.apply()
  equal({ report.outcome, report.phase }, { "refused", "dependency" })
  matches(report.error.message, "cyclic dependency: game%.%l %-> game%.%l %-> game%.%l")
  p:write("game.x", "require 'game.y' return {}")
  p:write("game.y", "require 'game.x' return {}")
  matches(raises("cyclic dependency", p.load, p, "game.x"), "game.x %-> game.y %-> game.x")
end)

test("a chunk that yields is refused, also within a coroutine", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  p:write("game.a", "\ncoroutine.yield() return {}")
  local report
  local co = coroutine.create(function()
    report = p.reload.apply()
  end)
  assert(coroutine.resume(co))
  equal(coroutine.status(co), "dead")
  equal({ report.outcome, report.phase }, { "refused", "run" })
  matches(report.error.message, "must not yield")
  equal({ report.error.file, report.error.line }, { p:path "game.a", 2 })
end)

test("an error has the file, the line and the traceback", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  p:write("game.a", "\nlocal function f()\n  error 'boom'\nend\nf() return {}")
  local report = p.reload.apply()
  equal({ report.ok, report.outcome, report.phase, report.generation }, { false, "refused", "run", 1 })
  equal({ report.error.unit, report.error.file, report.error.line }, { "game.a", p:path "game.a", 3 })
  matches(report.error.message, "boom")
  matches(report.error.traceback, "game/a.lua#2:5")
  matches(tostring(report), "refused, generation 1 runs on untouched")
  p:write("game.a", "return {}\n\n= 1")
  report = p.reload.apply()
  equal({ report.phase, report.error.file, report.error.line }, { "compile", p:path "game.a", 3 })
end)

test("an error that is no string is reported, too", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  p:write("game.a", "error(setmetatable({}, { __tostring = function() return 'an object' end }))")
  equal(p.reload.apply().error.message, "an object")
  p:write("game.a", "error()")
  equal(p.reload.apply().outcome, "refused")
end)

test("a failure that another chunk caught refuses the reload all the same", function(p)
  p:write("game.a", "return {}")
  p:write("game.b", "pcall(require, 'game.a') return {}")
  p:load "game.b"
  p:write("game.a", "error 'boom'")
  local report = p.reload.apply()
  equal({ report.outcome, report.error.unit }, { "refused", "game.a" })
end)

test("a module that is optional may be missing", function(p)
  p:write("game.a", "return { ok = pcall(require, 'game.nothing') }")
  equal(p:load("game.a").ok, false)
  p:write("game.a", "return { ok = pcall(require, 'game.nothing'), v = 2 }")
  p:apply()
  equal(p:load("game.a").v, 2)
end)

test("plan says what would happen, and changes nothing", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2 function M.f() end setting = 1")
  local report = p.reload.plan()
  equal({ report.ok, report.outcome, report.generation }, { true, "planned", 1 })
  equal(kinds_of(report), { "function_new f", "value v", "global setting" })
  equal({ a.v, a.f, _G.setting, p.reload.status().generation }, { 1, nil, nil, 1 })
  equal(#p.reload.history(), 0)
  equal(p:apply().outcome, "applied")
  equal({ a.v, _G.setting }, { 2, 1 })
end)

test("without a change there is nothing to do", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  equal(p.reload.apply().outcome, "nothing")
  equal(p.reload.plan().outcome, "nothing")
  equal((p.reload.prepare()), nil)
  equal(p.reload.status().generation, 1)
end)

test("a unit can be forced to run again", function(p)
  p:write("game.a", lua_module "count = (count or 0) + 1")
  p:load "game.a"
  equal(p:apply({ force = { "game.a" } }).changed, { "game.a" })
  equal(_G.count, 2)
  matches(raises("no unit 'game.b'", p.reload.apply, { force = { "game.b" } }), "^[^\n]*")
end)

test("a global function that the new chunk does not set vanishes, data stays", function(p)
  p:write("game.a", "function attack() end function heal() end level = 5 return {}")
  p:load "game.a"
  p:write("game.a", "function heal() return 2 end return {}")
  local report = p:apply()
  equal({ _G.attack, _G.heal(), _G.level }, { nil, 2, 5 })
  equal(kinds_of(report), { "global attack" })
end)

test("a table that a chunk finds and fills loses the functions that it does not set again", function(p)
  p:write("game.a", "mail = mail or {} function mail.send() end function mail.read() end return mail")
  local mail = p:load "game.a"
  mail.count = 3
  p:write("game.a", "mail = mail or {} function mail.send() end return mail")
  p:apply()
  equal({ type(mail.send), mail.read, mail.count }, { "function", nil, 3 })
end)

test("once keeps data over reloads, and hooks migrate it", function(p)
  p:write("game.a", lua_module "M.online = reload.once('online', function() return {} end)")
  local a = p:load "game.a"
  a.online.ann = { hp = 10 }
  p:write(
    "game.a",
    lua_module "M.online = reload.once('online', function() return {} end) function M.on_reload() for _, o in pairs(M.online) do o.mp = 1 end end"
  )
  equal(p:apply().loses, {})
  equal(a.online, { ann = { hp = 10, mp = 1 } })
end)

test("strict refuses to lose an undeclared local that functions changed", function(p)
  local source = "local cache = {} local n, name = 0, 'x' return { put = function(k) cache[k] = true n = n + 1 return name end, v = %d }"
  p:write("game.a", source:format(1))
  local a = p:load "game.a"
  p:write("game.a", source:format(2))
  p:apply()
  a.put "ann"
  p:write("game.a", source:format(3))
  local report = p.reload.plan()
  equal({ report.ok, report.phase }, { false, "strict" })
  equal(names_of(report.loses), { "local cache", "local n" })
  matches(report.error.message, "cache")
  matches(tostring(report), "loses local `cache` %(table, 1 entry%) of .*game/a.lua:1")
end, { strict = true })

test("without strict the plan says what would be lost", function(p)
  p:write("game.a", "local deep = { by_name = {} } local M = { hits = 0, t = {} } function M.put(k) deep.by_name[k] = 1 end return M")
  local a = p:load "game.a"
  p:write("game.a", "return { put = print }")
  equal(p.reload.plan().loses, {})
  a.put "ann"
  a.hits = 5
  a.t.x = 1
  a.extra = "more"
  equal(names_of(p.reload.plan().loses), { "local deep", "scalar extra", "scalar hits", "scalar t" })
end)

test("handlers that units register again when they run again are not lost", function(p)
  p:write("game.gate", "local handlers = {} return { on = function(k, f) handlers[k] = f end, call = function(k) return handlers[k]() end }")
  p:write("game.mail", "require('game.gate').on('mail', function() return 1 end) return {}")
  p:load "game.mail"
  local gate = p:load "game.gate"
  p:write("game.gate", "local handlers = {} return { on = function(k, f) handlers[k] = f end, call = function(k) return handlers[k]() + 1 end }")
  p:apply()
  equal(gate.call "mail", 2)
end, { strict = true })

test("a second reload finds what the first one left, and so does a third", function(p)
  local source = "local M = { n = %d } function M.get() return M.n end function M.me() return M end return M"
  p:write("game.a", source:format(1))
  local a = p:load "game.a"
  for n = 2, 5 do
    p:write("game.a", source:format(n))
    local report = p:apply()
    equal({ report.from, report.generation }, { n - 1, n })
    equal({ a.get(), rawequal(a.me(), a), rawequal(a, require "game.a") }, { n, true, true })
  end
end)

test("a reload works inside a coroutine and inside a callback of the code that is replaced", function(p)
  p:write("game.a", lua_module "function M.v() return 1 end function M.tick(f) f() return M.v() end")
  local a = p:load "game.a"
  p:write("game.a", lua_module "function M.v() return 2 end function M.tick(f) f() return -1 end")
  local inside = coroutine.wrap(function()
    coroutine.yield()
    return a.tick(function()
      p:apply()
    end)
  end)
  inside()
  equal(inside(), 2)
  equal(a.tick(function() end), -1)
end)

test("what runs in a reload cannot start another", function(p)
  p:write("game.a", "return {}")
  p:load "game.a"
  p:write("game.a", "tried = { pcall(reload.apply) } return {}")
  p:apply()
  matches(_G.tried[2], "a reload is under way")
  p:write("game.a", lua_module "function M.on_reload() reload.plan() end")
  local report = p.reload.apply()
  equal({ report.outcome, report.phase }, { "rolled_back", "hook" })
  matches(report.error.message, "a reload is under way")
  p:write("game.b", "reload.apply() return {}")
  raises("unit game.b is being loaded", p.load, p, "game.b")
end)

test("a first load that fails leaves nothing, and can be tried again", function(p)
  p:write("game.a", "error 'boom'")
  matches(raises("boom", p.load, p, "game.a"), "game/a.lua#1:1: boom")
  equal({ p.reload.status().units, package.loaded["game.a"] }, { 0, nil })
  p:write("game.a", "return (")
  raises("error loading module 'game.a' from file '.*game/a.lua'", p.load, p, "game.a")
  p:write("game.a", "return 7")
  equal(p:load "game.a", 7)
end)

test("a module that is loaded by hand again is filled again", function(p)
  p:write("game.a", lua_module "M.v = (runs or 0) + 1 runs = M.v")
  local a = p:load "game.a"
  package.loaded["game.a"] = nil
  equal({ rawequal(p:load "game.a", a), a.v }, { true, 2 })
end)

test("a module that returns something else than its table is refused", function(p)
  p:write("game.a", lua_module "")
  p:load "game.a"
  p:write("game.a", "local M = reload.module(...) return {}")
  matches(p.reload.apply().error.message, "return that table")
  p:write("game.a", "local M = reload.module(...) M.v = 1")
  p:apply()
  equal(require("game.a").v, 1)
end)

test("reload.module wants the name of its unit", function(p)
  p:write("game.a", "reload.module('game.b')")
  raises("'game.b' is not the unit being loaded, 'game.a' is", p.load, p, "game.a")
  raises("the name of the unit expected", p.reload.module)
  raises("no file for 'game.none'", p.reload.module, "game.none")
end)

test("units that were loaded before the kit was set up are adopted", function(p)
  p:write_raw("game.base", "return { v = 1 }")
  p:write_raw("game.a", "return { v = require('game.base').v }")
  -- As `require` of a program that sets the kit up later would.
  package.loaded["game.base"] = dofile(p:path "game.base")
  local a = dofile(p:path "game.a")
  package.loaded["game.a"] = a
  p.reload.setup { roots = { p.dir } }
  equal(p.reload.status().units, 2)
  p:write_raw("game.base", "return { v = 2 }")
  equal(p:apply().rerun, { "game.a" })
  equal(a.v, 2)
end)

test("the options are checked", function(p)
  raises("unknown option 'root'", p.reload.setup, { root = {} })
  raises("strict: a boolean expected, got a string", p.reload.setup, { strict = "yes" })
end)

test("reports are logged as text, and kept", function(p)
  p:write("game.a", lua_module "M.v = 1")
  p:load "game.a"
  local lines = {}
  p.reload.setup {
    roots = { p.dir },
    log = function(line)
      lines[#lines + 1] = line
    end,
  }
  p:write("game.a", lua_module "M.v = 2")
  local report = p:apply()
  matches(lines[1], "^reloaded: generation 1 to 2\n  changed: game.a\n  game.a: value v: 1 %-> 2")
  equal(tostring(report), p.reload.text(report))
  for _ = 1, 110 do
    p.reload.apply()
  end
  equal({ #p.reload.history(), p.reload.status().last.outcome }, { 100, "nothing" })
end)

test("the fingerprint is that of the sources, in every Lua", function(p)
  p:write_raw("game.a", "return 1")
  p:write_raw("game.b", "return 2")
  p:load "game.b"
  p:load "game.a"
  equal(p.reload.status().program, "db0d5627")
end)

test("chunks may begin with a line for the shell, and are never compiled ones", function(p)
  p:write_raw("game.a", "#!/usr/bin/env lua\nreturn debug.getinfo(1, 'l').currentline")
  equal(p:load "game.a", 2)
  p:write_raw("game.a", string.dump(function() end))
  local report = p.reload.apply()
  equal(report.phase, "compile")
  matches(report.error.message, "compiled Lua")
end)

test("a host without debug reloads, and the report says what it cannot do", function(p)
  local kit = {}
  for name, value in pairs(package.loaded) do
    if name:match "^stillpoint%.reload" then
      kit[name], package.loaded[name] = value, nil
    end
  end
  local real = debug
  _G.debug = nil
  local reload = require "stillpoint.reload"
  local ok, err = pcall(function()
    reload.setup { roots = { p.dir } }
    local source = "local M = { v = %d } function M.me() return M end return M"
    p:write_raw("game.c", source:format(1))
    p:write("game.d", "local M = reload.module(...) M.v = require('game.c').v return M")
    local d, c = p:load "game.d", p:load "game.c"
    p:write_raw("game.c", source:format(2))
    local report = reload.apply()
    equal({ report.outcome, c.v, d.v, c.me().v }, { "applied", 2, 2, 2 })
    matches(tostring(report), "this host has no debug.getinfo")
    p:write("game.d", "\nerror 'boom'")
    report = reload.apply()
    equal({ report.phase, report.error.line, d.v }, { "run", 2, 2 })
  end)
  _G.debug = real
  local searchers = package.searchers or package.loaders
  for i = #searchers, 1, -1 do
    if searchers[i] == package.loaded["stillpoint.reload.program"].searcher then
      table.remove(searchers, i)
    end
  end
  for name, value in pairs(kit) do
    package.loaded[name] = value
  end
  assert(ok, err)
end)

test("more tables than are saved: the report says so, and strict refuses", function(p)
  p:write("game.a", lua_module "M.v = 1 M.data = reload.once('data', function() return {} end)")
  local a = p:load "game.a"
  for i = 1, 200 do
    a.data[i] = {}
  end
  p:write("game.a", lua_module "M.v = 2 M.data = reload.once('data', function() return {} end)")
  local setup = { roots = { p.dir }, undo_tables = 100 }
  p.reload.setup(setup)
  matches(p.reload.plan(), "note: the program has more than 100 tables and functions")
  setup.strict = true
  p.reload.setup(setup)
  equal(p.reload.plan().phase, "strict")
  setup.undo_tables = 10000
  p.reload.setup(setup)
  p:apply()
end)

test("a chain of dependencies may be long", function(p)
  -- Lua counts 200 levels of C calls, and `require` alone is one for each unit.
  local n = 80
  for i = 1, n do
    p:write("game.u" .. i, i < n and ("return { v = require('game.u%d').v }"):format(i + 1) or "return { v = 1 }")
  end
  local first = p:load "game.u1"
  p:write("game.u" .. n, "return { v = 2 }")
  equal(#p:apply().rerun, n - 1)
  equal(first.v, 2)
end)

test("a chunk that runs require of its own after the reload keeps working", function(p)
  p:write("game.b", "return { v = 1 }")
  p:write("game.a", "local require = require return { get = function() return require('game.b').v end }")
  local a = p:load "game.a"
  equal(a.get(), 1)
  p:write("game.b", "return { v = 2 }")
  local report = p:apply()
  equal({ report.rerun, a.get() }, { {}, 2 })
  equal(rawequal(require, _G.require), true)
end)

program.finish()
