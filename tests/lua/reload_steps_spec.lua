-- The steps of a reload: prepare, verify, commit, hooks, abort, and the way back.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

local function lua_module(fields)
  return "local M = reload.module(...) " .. fields .. " return M"
end

test("prepare holds the next generation ready while this one runs", function(p)
  p:write("game.a", lua_module "M.v = 1 function M.f() return 1 end")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2 function M.f() return 2 end")
  local prepared, report = p.reload.prepare()
  equal({ report.outcome, p.reload.status().prepared, a.v, a.f() }, { "prepared", true, 1, 1 })
  -- Counts as what is lost in any other reload.
  a.while_held = "lost"
  -- What the files say meanwhile is for the next reload.
  p:write("game.a", lua_module "M.v = 3")
  report = p.reload.commit(prepared)
  equal({ report.outcome, report.generation, a.v, a.f() }, { "applied", 2, 2, 2 })
  equal({ p.reload.status().prepared, a.while_held }, { false, nil })
  report = p.reload.commit(prepared)
  equal({ report.outcome, report.phase }, { "refused", "commit" })
  p:apply()
  equal(a.v, 3)
end)

test("a prepared reload can be aborted, and another takes its place", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2")
  local one = p.reload.prepare()
  local two = p.reload.prepare()
  equal(p.reload.commit(one).outcome, "refused")
  equal(p.reload.status().prepared, true)
  equal(p.reload.abort(two).outcome, "aborted")
  equal({ p.reload.status().prepared, a.v }, { false, 1 })
  equal(p.reload.commit(two).outcome, "refused")
  raises("what reload.prepare gave", p.reload.commit, {})
end)

test("what the program loaded since a reload was prepared is part of it", function(p)
  p:write("game.a", "return { v = 1 }")
  p:write("game.b", "return {}")
  p:write("game.c", "local v = require('game.a').v return { v = function() return v end }")
  local a = p:load "game.a"
  p:write("game.a", "require 'game.b' return { v = 2 }")
  local prepared = p.reload.prepare()
  p:load "game.b"
  local c = p:load "game.c"
  equal(c.v(), 1)
  local report = p.reload.commit(prepared)
  equal({ report.outcome, report.rerun, a.v, c.v() }, { "applied", { "game.c" }, 2, 2 })
end)

test("a prepared reload has its sources, whatever the files are by then", function(p)
  p:write("game.a", "return { v = 1 }")
  p:write("game.gone", "return {}")
  local a = p:load "game.a"
  p:load "game.gone"
  p:remove "game.gone"
  p:write("game.new", "return { v = 2 }")
  p:write("game.a", "return { v = require('game.new').v }")
  local prepared = p.reload.prepare()
  p:write("game.gone", "return {}")
  p:write("game.a", "error 'boom'")
  p:write("game.new", "error 'boom'")
  local report = p.reload.commit(prepared)
  equal({ report.outcome, report.vanished, report.added, a.v }, { "applied", { "game.gone" }, { "game.new" }, 2 })
  equal(p.reload.plan().phase, "run")
end)

test("what the program changed while a reload was prepared is not written over", function(p)
  p:write("game.gate", lua_module "local list, n = {}, 0 function M.on(f) n = n + 1 list[n] = f end function M.list() return list end")
  p:write("game.mail", "total = (total or 0) + 1 require('game.gate').on('one') return {}")
  local gate = p:load "game.gate"
  p:load "game.mail"
  p:write("game.mail", "total = (total or 0) + 1 require('game.gate').on('two') return {}")
  local prepared = p.reload.prepare()
  gate.on "meanwhile"
  _G.total = 100
  p.reload.commit(prepared)
  equal({ gate.list(), _G.total }, { { "one", "meanwhile", "two" }, 101 })
end)

test("rollback goes back to the sources of the generation before, and its number grows", function(p)
  p:write("game.a", lua_module "M.v = 1 M.events = {} function M.on_reload(ev) last = ev end")
  local a = p:load "game.a"
  local before = p.reload.status().program
  p:write("game.a", lua_module "M.v = 2 function M.on_reload(ev) last = ev end")
  p:apply()
  equal({ a.v, p.reload.status().program ~= before }, { 2, true })
  local report = p.reload.rollback()
  equal({ report.outcome, report.from, report.generation, report.rollback, a.v }, { "applied", 2, 3, true, 1 })
  equal({ _G.last.from, _G.last.to, _G.last.rollback }, { 2, 3, true })
  equal(p.reload.status().program, before)
  report = p.reload.rollback()
  equal({ report.ok, report.outcome }, { false, "refused" })
  matches(report.error.message, "no earlier generation")
end)

test("rollback goes back behind a reload that only ran the same again", function(p)
  p:write("game.a", "return { v = 1 }")
  local a = p:load "game.a"
  p:write("game.a", "return { v = 2 }")
  p:apply()
  p:apply { force = { "game.a" } }
  equal(p.reload.rollback().outcome, "applied")
  equal(a.v, 1)
end)

test("rollback takes away units that are new, and brings back those that vanished", function(p)
  p:write("game.old", "return { v = 'old' }")
  p:write("game.a", "return { v = require('game.old').v }")
  local a = p:load "game.a"
  p:remove "game.old"
  p:write("game.new", "return { v = 'new' }")
  p:write("game.a", "return { v = require('game.new').v }")
  equal(p:apply().vanished, { "game.old" })
  equal(a.v, "new")
  local report = p.reload.rollback()
  equal({ report.outcome, report.vanished, a.v }, { "applied", { "game.new" }, "old" })
  equal({ package.loaded["game.new"], type(package.loaded["game.old"]) }, { nil, "table" })
end)

test("as many generations are kept as are asked for", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  for v = 2, 4 do
    p:write("game.a", lua_module("M.v = " .. v))
    p:apply()
  end
  p.reload.rollback()
  p.reload.rollback()
  equal({ a.v, p.reload.rollback().outcome, p.reload.status().generation }, { 2, "refused", 6 })
end, { keep = 3 })

test("hooks run after the commit, dependencies first, with the generations", function(p)
  local source = lua_module "M.v = %d function M.on_reload(ev) list[#list + 1] = '%s' .. ev.from .. ev.to .. M.v end"
  _G.list = {}
  p:write("game.a", source:format(1, "a"))
  p:write("game.b", "require 'game.a' " .. source:format(1, "b"))
  p:load "game.b"
  p:write("game.a", source:format(2, "a"))
  p:apply()
  equal(_G.list, { "a122", "b121" })
end)

test("a plain unit's functions that happen to be called verify and on_reload are not hooks", function(p)
  p:write("game.a", "return { verify = function() return false end, on_reload = error }")
  p:load "game.a"
  p:write("game.a", "return { verify = function() return false end, on_reload = error, v = 2 }")
  p:apply()
end)

test("verify runs in the view, and refuses", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2 function M.verify(ev) seen = M.v return false, 'not on a Monday' end")
  local report = p.reload.apply()
  equal({ report.outcome, report.phase, a.v, report.error.unit }, { "refused", "verify", 1, "game.a" })
  matches(report.error.message, "not on a Monday")
  -- Globals that it set are gone with the view.
  equal(_G.seen, nil)
  p:write("game.a", lua_module "M.v = 2 function M.verify(ev) return ev.to == 2 end")
  p:apply()
end)

test("verify of the setup refuses, too", function(p)
  p:write("game.a", lua_module "M.v = 1")
  local a = p:load "game.a"
  p:write("game.a", lua_module "M.v = 2")
  local report = p.reload.apply()
  equal({ report.phase, a.v }, { "verify", 1 })
end, {
  verify = function()
    return require("game.a").v < 2
  end,
})

program.finish()
