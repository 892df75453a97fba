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

program.finish()
