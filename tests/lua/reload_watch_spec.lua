-- Development mode: `reload.watch` reloads what changed, tells it, and goes on by itself once an error is mended.

local program = require "program"

local equal, matches, raises = program.equal, program.matches, program.raises

-- A test gets a watch with a clock of its own: `w:look()` polls after half a second.
local function test(name, fn, setup)
  program.test(name, function(p)
    p:write("game.rules", "local M = reload.module(...) function M.hit() return 1 end return M")
    p:load "game.rules"
    local w = { said = {}, reports = {}, time = 100 }
    w.watch = p.reload.watch {
      every = 0.5,
      now = function()
        return w.time
      end,
      on_report = function(report)
        w.reports[#w.reports + 1] = report
      end,
      log = function(text)
        w.said[#w.said + 1] = text
      end,
    }
    function w:look()
      self.time = self.time + 0.5
      return self.watch:poll()
    end
    fn(p, w)
  end, setup)
end

local function write_rules(p, text)
  p:write("game.rules", "local M = reload.module(...) " .. text .. " return M")
end

test("a changed file is reloaded, and plan and result are told", function(p, w)
  equal(w:look(), nil)
  equal(w.said, {})
  write_rules(p, "function M.hit() return 2 end function M.miss() end")
  equal(w:look(), nil)
  local report = w:look()
  equal(report.outcome, "applied")
  equal(p:load("game.rules").hit(), 2)
  equal(#w.said, 2)
  matches(w.said[1], "generation 1 to 2\n  changed: game.rules\n")
  matches(w.said[1], "new function")
  matches(w.said[2], "^reloaded: generation 1 to 2 %(%d+ ms%)$")
  equal(w.reports, { report })
  equal(w:look(), nil)
  equal(#w.said, 2)
end)

test("a file that is still being written is left alone", function(p, w)
  p:write("game.rules", "local M = reload.module(...) function M.hit() ret")
  equal(w:look(), nil)
  write_rules(p, "function M.hit() return 3 end")
  equal(w:look(), nil)
  equal(w:look().outcome, "applied")
  equal(w.said[1]:find "rror", nil)
end)

test("files are looked at no more often than asked for", function(p, w)
  w:look()
  write_rules(p, "M.x = 1")
  for _ = 1, 10 do
    w.time = w.time + 0.04
    equal(w.watch:poll(), nil)
  end
  w.time = w.time + 0.2
  equal(w.watch:poll(), nil)
  equal(w.watch:poll(), nil)
  equal(w:look().outcome, "applied")
end)

test("a clock that is set back does not stop the watch", function(p, w)
  w:look()
  write_rules(p, "M.x = 1")
  w.time = 10
  equal(w.watch:poll(), nil)
  equal(w:look().outcome, "applied")
end)

test("an error is told once, and what mends it is loaded", function(p, w)
  p:write("game.rules", "local M = reload.module(...)\nfunction M.hit( return 2 end")
  w:look()
  local report = w:look()
  equal(report.ok, false)
  equal(#w.said, 1)
  matches(w.said[1], "refused, generation 1 runs on")
  matches(w.said[1], "game/rules.lua[#%d]*:2:")
  for _ = 1, 5 do
    equal(w:look(), nil)
  end
  equal(#w.said, 1)
  equal(p:load("game.rules").hit(), 1)
  write_rules(p, "function M.hit() return 2 end")
  w:look()
  equal(w:look().outcome, "applied")
  equal(p:load("game.rules").hit(), 2)
  equal(#w.reports, 2)
end)

test("an error at commit is told after the plan", function(p, w)
  write_rules(p, "function M.on_reload() error 'not today' end")
  w:look()
  equal(w:look().outcome, "rolled_back")
  equal(#w.said, 2)
  matches(w.said[2], "not today")
  equal(w:look(), nil)
  equal(#w.said, 2)
end)

test("a file that goes back to what runs ends the error", function(p, w)
  local text = "function M.hit() return 1 end"
  write_rules(p, "error 'no'")
  w:look()
  equal(w:look().ok, false)
  write_rules(p, text)
  w:look()
  equal(w.said[2], "the files are again what runs, generation 1")
  write_rules(p, "error 'no'")
  w:look()
  equal(w:look().ok, false)
end)

test("a file that was missing is waited for", function(p, w)
  write_rules(p, "M.prices = require 'game.prices'")
  w:look()
  equal(w:look().ok, false)
  equal(w:look(), nil)
  p:write("game.prices", "return { sword = 10 }")
  w:look()
  equal(w:look().outcome, "applied")
  equal(p:load("game.rules").prices.sword, 10)
end)

test("a new file with an error is tried again when it was mended", function(p, w)
  p:write("game.prices", "return {")
  write_rules(p, "M.prices = require 'game.prices'")
  w:look()
  equal(w:look().ok, false)
  equal(w:look(), nil)
  equal(w.watch:files(), { p:path "game.prices", p:path "game.rules" })
  p:write("game.prices", "return { sword = 20 }")
  w:look()
  equal(w:look().outcome, "applied")
  equal(p:load("game.rules").prices.sword, 20)
end)

test("a new file that leads to an error in another is tried again when it was mended", function(p, w)
  p:write("game.price", "return function(t) local p = t.price.sword return p end")
  p:write("game.prices", "local n = require('game.price') {} return { sword = n }")
  write_rules(p, "M.prices = require 'game.prices'")
  w:look()
  equal(w:look().ok, false)
  p:write("game.prices", "local n = require('game.price') { price = { sword = 30 } } return { sword = n }")
  w:look()
  equal(w:look().outcome, "applied")
  equal(p:load("game.rules").prices.sword, 30)
end)

test("a file that is gone is told", function(p, w)
  p:write("game.extra", "return {}")
  p:load "game.extra"
  p:remove "game.extra"
  w:look()
  equal(w:look().vanished, { "game.extra" })
  equal(w.watch:files(), { p:path "game.rules" })
end)

test("old code that is still held is told when the audit is through", function(p, w)
  local G = _G
  write_rules(p, "function M.make() return function() return M end end")
  w:look()
  w:look()
  G.callbacks = { p:load("game.rules").make() }
  write_rules(p, "function M.make() end")
  w:look()
  w:look()
  for _ = 1, 100 do
    w:look()
  end
  local told = 0
  for _, text in ipairs(w.said) do
    if text:find "^audit of generation 3: old code is still held, in 1 place\n  _G.callbacks%[1%] %-> function .*game/rules.lua:1" then
      told = told + 1
    end
  end
  equal(told, 1)
end, { audit_ms = 0 })

test("a watch that was stopped does nothing", function(p, w)
  w.watch:stop()
  write_rules(p, "M.x = 1")
  equal(w:look(), nil)
  equal(w:look(), nil)
  equal(p.reload.status().generation, 1)
  equal(w.watch:files(), { p:path "game.rules" })
end)

test("what was rolled back is not loaded again before a file changes", function(p, w)
  write_rules(p, "function M.hit() return 2 end")
  w:look()
  equal(w:look().outcome, "applied")
  p.reload.rollback()
  for _ = 1, 5 do
    equal(w:look(), nil)
  end
  equal(p:load("game.rules").hit(), 1)
  -- Nor by a watch that begins now.
  w.watch = p.reload.watch {
    now = function()
      return w.time
    end,
    log = function() end,
  }
  for _ = 1, 5 do
    equal(w:look(), nil)
  end
  write_rules(p, "function M.hit() return 3 end")
  w:look()
  equal(w:look().outcome, "applied")
  equal(p:load("game.rules").hit(), 3)
end)

test("what failed is tried again when somebody else has reloaded", function(p, w)
  p:write("game.extra", "return { 1 }")
  p:load "game.extra"
  write_rules(p, "if #require 'game.extra' < 2 then error 'too few' end")
  w:look()
  equal(w:look().ok, false)
  write_rules(p, "")
  p:write("game.extra", "return { 1, 2 }")
  p:apply()
  write_rules(p, "if #require 'game.extra' < 2 then error 'too few' end")
  w:look()
  equal(w:look().outcome, "applied")
end)

program.test("the log of reload.setup is told once", function(p)
  local said, time = {}, 0
  p.reload.setup {
    roots = { p.dir .. "/?.lua" },
    log = function(text)
      said[#said + 1] = text
    end,
  }
  p:write("game.rules", "return {}")
  p:load "game.rules"
  local watch = p.reload.watch {
    now = function()
      time = time + 1
      return time
    end,
  }
  p:write("game.rules", "return { 1 }")
  watch:poll()
  equal(watch:poll().outcome, "applied")
  equal(#said, 2)
end)

program.test("a poll from within a chunk or a hook does nothing", function(p)
  p:write("game.rules", "local M = reload.module(...) watch:poll() function M.on_reload() watch:poll() polled = true end return M")
  local time = 0
  local G = _G
  G.watch = p.reload.watch {
    now = function()
      time = time + 1
      return time
    end,
    log = print,
  }
  p:load "game.rules"
  p:apply { force = { "game.rules" } }
  equal(G.polled, true)
  equal(p.reload.status().generation, 2)
end)

program.test("options are checked", function(p)
  raises("reload_watch_spec.lua:%d+: reload.watch: unknown option 'evry'", function()
    p.reload.watch { evry = 1 }
  end)
  raises("reload_watch_spec.lua:%d+: reload.watch: every: a number expected, got a string", function()
    p.reload.watch { every = "1" }
  end)
end)

program.finish()
