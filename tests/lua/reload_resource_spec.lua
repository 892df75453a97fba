-- reload.resource: opened once, adopted or replaced by the next generation, and closed in the end.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

-- A world outside the program, in which things are opened and closed: what was done there no reload takes back.
local function world(p)
  local w = { log = {}, open = {}, count = 0 }
  function w.opens(name)
    w.count = w.count + 1
    local id = name .. w.count
    w.log[#w.log + 1] = "+" .. id
    w.open[id] = true
    return id
  end
  function w.closes(id)
    assert(w.open[id], tostring(id) .. " is not open")
    w.log[#w.log + 1] = "-" .. id
    w.open[id] = nil
  end
  function w.take()
    local text = table.concat(w.log, " ")
    w.log = {}
    return text
  end
  -- As a library: no unit, and reached through functions of its own only, which a reload does not save.
  package.preload["the.world"] = function()
    return { opens = function(name) return w.opens(name) end, closes = function(id) return w.closes(id) end }
  end
  p.world = w
  return w
end

local function unit(body)
  return "local M, w = reload.module(...), require 'the.world' " .. body .. " return M"
end

local PLAIN = "M.r = reload.resource('%s', function() return w.opens '%s' end, w.closes)"

test("a resource is opened at once on first load", function(p)
  local w = world(p)
  p:write("game.tick", unit(PLAIN:format("tick", "t")))
  local r = p:load("game.tick").r
  equal({ r.value, r.is_open, w.take() }, { "t1", true, "+t1" })
end)

test("without adopt the new one is opened before the old one is closed; the handle stays", function(p)
  local w = world(p)
  p:write("game.tick", unit(PLAIN:format("tick", "t")))
  local M = p:load "game.tick"
  local r = M.r
  w.take()
  for i = 2, 3 do
    p:write("game.tick", unit(PLAIN:format("tick", "t") .. (" M.n = %d"):format(i)))
    p:apply()
    equal({ r.value, rawequal(M.r, r), w.take() }, { "t" .. i, true, ("+t%d -t%d"):format(i, i - 1) })
  end
end)

test("the old one is closed by the generation that opened it, after the hooks", function(p)
  local w = world(p)
  local text = [[M.r = reload.resource("tick", function() return w.opens "%s" end, function(id) w.log_close("%s") w.closes(id) end)
    function M.on_reload() w.log_close("hook, " .. M.r.value) end]]
  package.preload["the.world"] = function()
    return { opens = w.opens, closes = w.closes, log_close = function(text_) w.log[#w.log + 1] = text_ end }
  end
  p:write("game.tick", unit(text:format("a", "by a")))
  p:load "game.tick"
  w.take()
  p:write("game.tick", unit(text:format("b", "by b")))
  p:apply()
  equal(w.take(), "+b2 hook, b2 by a -a1")
end)

test("with adopt the new generation takes the value over", function(p)
  local w = world(p)
  local text = PLAIN:format("tick", "t"):gsub("w%.closes%)$", [[w.closes, function(value, ev)
    M.seen = { value, ev.from, ev.to, ev.rollback } return value .. "'" end)]])
  p:write("game.tick", unit(PLAIN:format("tick", "t")))
  local M = p:load "game.tick"
  p:write("game.tick", unit(text))
  p:apply()
  equal({ M.r.value, M.seen, w.take() }, { "t1'", { "t1", 1, 2, false }, "+t1" })
  p:write("game.tick", unit((text:gsub("return value .. \"'\"", "value = nil"))))
  p:apply()
  equal({ M.r.value, M.seen }, { "t1'", { "t1'", 2, 3, false } }, "an adopt that returns nothing keeps the value")
end)

test("an adopt that raises undoes all", function(p)
  local w = world(p)
  p:write("game.tick", unit(PLAIN:format("a", "a") .. " M.s = reload.resource('b', function() return w.opens 'b' end, w.closes) M.v = 1"))
  local M = p:load "game.tick"
  local r, s = M.r, M.s
  w.take()
  p:write("game.tick", unit(PLAIN:format("a", "a")
    .. " M.s = reload.resource('b', function() end, w.closes, function() error 'cannot adopt' end) M.v = 2"
    .. " reload.resource('c', function() return w.opens 'c' end, w.closes)"))
  local report = p.reload.apply()
  equal({ report.ok, report.outcome, report.phase }, { false, "rolled_back", "resource" })
  matches(report.error.message, "cannot adopt")
  equal({ r.value, s.value, M.v, w.take() }, { "a1", "b2", 1, "+a3 -a3" })
end)

test("a new one that cannot be opened undoes all", function(p)
  local w = world(p)
  p:write("game.tick", unit(PLAIN:format("a", "a")))
  local M = p:load "game.tick"
  local r = M.r
  w.take()
  for _, how in ipairs { "return nil, 'address in use'", "error 'address in use'" } do
    p:write("game.tick", unit(PLAIN:format("a", "a") .. (" reload.resource('b', function() %s end, w.closes)"):format(how)))
    local report = p.reload.apply()
    equal({ report.ok, report.outcome, report.phase }, { false, "rolled_back", "resource" })
    matches(report.error.message, "address in use")
    equal({ r.value, r.is_open }, { "a1", true })
    matches(w.take(), "^%+a%d+ %-a%d+$")
  end
  p:write("game.tick", unit(PLAIN:format("a", "a") .. " M.v = 'fine'"))
  p:apply()
  equal({ M.v, M.r == r }, { "fine", true })
end)

test("a hook that fails takes the opened ones back", function(p)
  local w = world(p)
  p:write("game.tick", unit(PLAIN:format("a", "a")))
  local M = p:load "game.tick"
  w.take()
  p:write("game.tick", unit(PLAIN:format("a", "a")
    .. " M.s = reload.resource('b', function() return w.opens 'b' end, w.closes) function M.on_reload() error 'hook' end"))
  equal(p.reload.apply().phase, "hook")
  equal({ M.r.value, M.s, w.take() }, { "a1", nil, "+a2 +b3 -b3 -a2" })
end)

for _, form in ipairs { "nil, { exclusive = true })", "{ exclusive = true })" } do
  test("an exclusive one is closed first, opened then, and opened again if the reload fails: " .. form, function(p)
    local w = world(p)
    local text = (PLAIN:gsub("w%.closes%)$", "w.closes, " .. form))
    p:write("game.tick", unit(text:format("a", "a")))
    local M = p:load "game.tick"
    local r = M.r
    w.take()
    p:write("game.tick", unit(text:format("a", "b")))
    p:apply()
    equal({ r.value, w.take() }, { "b2", "-a1 +b2" })
    p:write("game.tick", unit(text:format("a", "c") .. " function M.on_reload() error 'hook' end"))
    equal(p.reload.apply().ok, false)
    equal({ r.value, r.is_open, w.take() }, { "b4", true, "-b2 +c3 -c3 +b4" })
    -- The new one cannot be opened.
    p:write("game.tick", unit((text:format("a", "d"):gsub("return w.opens 'd'", "error 'busy'"))))
    equal(p.reload.apply().ok, false)
    equal({ r.value, r.is_open, w.take() }, { "b5", true, "-b4 +b5" })
    p:write("game.tick", unit(text:format("a", "e")))
    p:apply()
    equal({ r.value, w.take() }, { "e6", "-b5 +e6" })
  end)
end

test("one that cannot be opened again is told, and opened by the next reload", function(p)
  local w = world(p)
  local broken = false
  local opens = w.opens
  function w.opens(name)
    if broken then
      error("the world is broken", 0)
    end
    return opens(name)
  end
  local text = (PLAIN:gsub("w%.closes%)$", "w.closes, { exclusive = true })")):format("a", "a")
  p:write("game.tick", unit(text))
  local M = p:load "game.tick"
  broken = true
  p:write("game.tick", unit(text .. " M.v = 2"))
  local report = p.reload.apply()
  equal({ report.ok, M.v, M.r.value, M.r.is_open }, { false, nil, nil, false })
  matches(tostring(report), "note: resource 'a' of .*tick%.lua: taking it back: the world is broken")
  broken = false
  w.take()
  p:apply()
  equal({ M.v, M.r.value, w.take() }, { 2, "a2", "+a2" })
end)

test("what is not declared again is closed last, also with its unit's file", function(p)
  local w = world(p)
  p:write("game.a", unit(PLAIN:format("x", "x") .. " M.y = reload.resource('y', function() return w.opens 'y' end, w.closes)"))
  p:write("game.b", unit(PLAIN:format("x", "b")))
  local a, b = p:load "game.a", p:load "game.b"
  local x, y = a.r, a.y
  w.take()
  p:write("game.a", unit("M.y = reload.resource('y', function() return w.opens 'y' end, w.closes, function() end)"))
  local report, seen = p:apply(), {}
  for _, change in ipairs(report.changes) do
    if change.kind == "resource" then
      seen[change.name] = change.from .. ", " .. change.to
    end
  end
  equal(seen, { x = "open, closed", y = "open, adopted" })
  equal({ x.value, x.is_open, y.value, w.take() }, { nil, false, "y2", "-x1" })
  equal(b.r.value, "b3", "one of that name of another unit")
  p:remove "game.a"
  p:apply()
  equal({ y.value, w.take() }, { nil, "-y2" })
end)

test("a close that fails is reported, and fails nothing", function(p)
  local w = world(p)
  local bad = "M.r = reload.resource('%s', function() return w.opens 'r' end, function() error 'cannot close' end %s)"
  p:write("game.a", unit(bad:format("r", "") .. " reload.resource('gone', function() return w.opens 'g' end, function() error 'cannot go' end)"))
  local M = p:load "game.a"
  p:write("game.a", unit(bad:format("r", "")))
  local report = p:apply()
  equal({ M.r.value, report.outcome }, { "r3", "applied" })
  matches(tostring(report), "note: resource 'r' of .*a%.lua: closing the old one: .*cannot close")
  matches(tostring(report), "note: resource 'gone' of .*a%.lua: closing it: .*cannot go")
  p:write("game.a", unit(bad:format("r", ", { exclusive = true }")))
  report = p:apply()
  equal(M.r.value, "r4")
  matches(tostring(report), "cannot close")
  equal(w.count, 4)
end)

test("while a reload is staged, planned or prepared nothing is opened or closed", function(p)
  local w = world(p)
  p:write("game.a", unit(PLAIN:format("r", "a")))
  local M = p:load "game.a"
  local r = M.r
  w.take()
  p:write("game.a", unit(PLAIN:format("r", "b") .. " M.at_load = M.r.value M.s = reload.resource('s', function() return w.opens 's' end, w.closes)"
    .. " M.s_at_load = tostring(M.s.value)"))
  p.reload.plan()
  equal({ r.value, w.take() }, { "a1", "" })
  local prepared = p.reload.prepare()
  equal({ r.value, w.take() }, { "a1", "" })
  p.reload.abort(prepared)
  equal({ r.value, M.s, w.take() }, { "a1", nil, "" })
  prepared = p.reload.prepare()
  equal(p.reload.commit(prepared).ok, true)
  equal({ r.value, M.at_load, M.s.value, M.s_at_load, w.take() }, { "b2", "a1", "s3", "nil", "+b2 +s3 -a1" })
end)

test("a rollback replaces, too", function(p)
  local w = world(p)
  p:write("game.a", unit(PLAIN:format("r", "a")))
  local M = p:load "game.a"
  p:write("game.a", unit(PLAIN:format("r", "b")))
  p:apply()
  w.take()
  equal(p.reload.rollback().ok, true)
  equal({ M.r.value, w.take() }, { "a3", "+a3 -b2" })
end)

test("a first load that fails to open raises, and is tried again", function(p)
  local w = world(p)
  p:write("game.a", unit "M.r = reload.resource('r', function() return nil, 'busy' end)")
  raises("resource 'r' of .*game/a%.lua cannot be opened: busy", require, "game.a")
  p:write("game.a", unit(PLAIN:format("r", "a") .. " if not _G.fine then error 'later' end"))
  raises("later", require, "game.a")
  _G.fine = true
  p:load "game.a"
  equal({ require("game.a").r.value, w.take() }, { "a2", "+a1 +a2 -a1" })
end)

test("a resource that a hook declares is opened at once, and taken back if a later hook fails", function(p)
  local w = world(p)
  local text = "function M.on_reload() M.r = reload.resource('r', function() return w.opens 'r' end, w.closes) %s end M.n = %d"
  p:write("game.a", unit(text:format("", 1)))
  local M = p:load "game.a"
  M.on_reload()
  equal({ M.r.value, w.take() }, { "r1", "+r1" })
  p:write("game.a", unit(text:format("", 2)))
  p:apply()
  equal({ M.r.value, w.take() }, { "r2", "+r2 -r1" })
  p:write("game.a", unit(text:format("error 'no'", 3)))
  equal(p.reload.apply().ok, false)
  equal({ M.r.value, M.r.is_open, w.take() }, { "r2", true, "+r3 -r3" })
end)

test("misuse is refused", function(p)
  local resource = p.reload.resource
  local err = raises("name: a string expected, got nil", function()
    resource()
  end)
  matches(err, "reload_resource_spec%.lua:%d+:")
  raises("open: a function expected, got nil", resource, "r")
  raises("close: a function expected, got a number", resource, "r", print, 1)
  raises("adopt: a function expected, got a number", resource, "r", print, print, 1)
  raises("options: a table expected, got a number", resource, "r", print, print, print, 1)
  raises("option 'exklusive': use adopt", resource, "r", print, print, { exklusive = true })
  raises("a resource's value is read only", function()
    resource("r", function() return 1 end).value = 2
  end)
  p:write("game.a", unit "reload.resource('r', function() return 1 end) reload.resource('r', function() return 1 end)")
  world(p)
  raises("resource 'r' of .*a%.lua is declared twice", require, "game.a")
end)

test("a hundred reloads leave one open", function(p)
  local w = world(p)
  local text = PLAIN:format("r", "r") .. " M.x = reload.resource('x', function() return w.opens 'x' end, w.closes, { exclusive = true }) M.n = %d"
    .. " M.a = reload.resource('a', function() return w.opens 'a' end, w.closes, function() end)"
  p:write("game.a", unit(text:format(0)))
  local M = p:load "game.a"
  for i = 1, 100 do
    p:write("game.a", unit(text:format(i)))
    if i % 10 == 5 then
      p:write("game.a", unit(text:format(i) .. " function M.on_reload() error 'no' end"))
      equal(p.reload.apply().ok, false)
    else
      p:apply()
    end
    local open = 0
    for _ in pairs(w.open) do
      open = open + 1
    end
    equal({ open, w.open[M.r.value], w.open[M.x.value], M.a.value }, { 3, true, true, "a3" })
  end
end)

program.finish()
