-- The audit names what still holds old code, and a plan what is going to.

local program = require "program"

-- The globals of the program under test.
local G = _G

local equal, matches, test = program.equal, program.matches, program.test

-- Lua 5.1 shows nothing of what C functions hold.
local sees_c_upvalues = debug.getupvalue(coroutine.wrap(function() end), 1) ~= nil

local function whole_audit(p)
  local result
  repeat
    result = p.reload.audit { ms = 50 }
  until result.done
  equal(result.blind, {})
  equal(result.missed, 0)
  return result
end

local shows_varargs = (function(...)
  return debug.getlocal(1, -1) ~= nil and ... ~= nil
end)(1)

-- The stale things as lines, sorted: "method path", without the directory of the test.
local function stale(p)
  local lines = {}
  for _, item in ipairs(whole_audit(p).stale) do
    lines[#lines + 1] = (item.what .. " " .. item.path):gsub(p.dir:gsub("%p", "%%%0") .. "/", "")
  end
  table.sort(lines)
  return lines
end

-- Each callback has an upvalue of its own: Lua 5.2 and 5.3 make one function of two that are the same.
local MAIL = [[
local M = reload.module(...)
local cache = reload.once("cache", function() return {} end)
local function helper() return cache end
function M.start(list) local n = #list + 1 list[n] = function() return helper(), n end end
function M.task() return coroutine.create(function(...) local fd = function() end coroutine.yield(fd, ...) end) end
M.text = "%d"
return M]]

local function write_mail(p, n)
  p:write("game.mail", MAIL:format(n))
end

local function loaded_mail(p)
  write_mail(p, 1)
  return p:load "game.mail"
end

test("the audit finds nothing when nothing was left behind", function(p)
  loaded_mail(p)
  equal(stale(p), {})
  write_mail(p, 2)
  p:apply()
  equal(stale(p), {})
end)

test("a callback of an older generation is named by its path, with file, line and generations", function(p)
  local mail = loaded_mail(p)
  G.timers = { [14] = {} }
  mail.start(G.timers[14])
  write_mail(p, 2)
  p:apply()
  local result = whole_audit(p)
  local callback
  for _, item in ipairs(result.stale) do
    callback = item.path == "_G.timers[14][1]" and item or callback
  end
  equal(callback, {
    what = "function",
    path = "_G.timers[14][1]",
    unit = "game.mail",
    file = p:path "game.mail",
    line = 4,
    generation = 1,
    current = 2,
  })
  equal(stale(p), { "function _G.timers[14][1]", "upvalue-closure upvalue helper of game/mail.lua:4" })
  G.timers = nil
  equal(stale(p), {})
end)

test("functions in once data are named from there", function(p)
  local mail = loaded_mail(p)
  mail.start(p.reload.once("cache", print))
  write_mail(p, 2)
  p:apply()
  equal(stale(p)[1], 'function once "cache"[1]')
end)

test("coroutines with frames of older code are named, and what their locals hold", function(p)
  local mail = loaded_mail(p)
  G.tasks = { mail.task() }
  assert(coroutine.resume(G.tasks[1]))
  write_mail(p, 2)
  p:apply()
  equal(stale(p), {
    "coroutine frame coroutine at game/mail.lua:5, held by _G.tasks[1]",
    "function coroutine at game/mail.lua:5 local fd",
  })
  assert(coroutine.resume(G.tasks[1]))
  equal(stale(p), {})
end)

local function test_wrapped(p)
  local mail = loaded_mail(p)
  G.step = coroutine.wrap(function()
    local list = {}
    mail.start(list)
    coroutine.yield()
    return list
  end)
  G.step()
  write_mail(p, 2)
  p:apply()
  matches(stale(p)[1], "^function %(coroutine at .*reload_audit_spec.lua:%d+ local list%)%[1%]$")
end

if sees_c_upvalues then
  test("coroutines behind coroutine.wrap are seen", test_wrapped)
end

test("what is held as a key, by a metatable, and by varargs is found", function(p)
  local mail = loaded_mail(p)
  G.held = {}
  do
    local list = {}
    for _ = 1, 3 do
      mail.start(list)
    end
    G.held[list[1]] = true
    G.held.object = setmetatable({}, { __index = list[2] })
    if shows_varargs then
      G.held.co = coroutine.create(function(...)
        coroutine.yield(select("#", ...))
      end)
      assert(coroutine.resume(G.held.co, list[3]))
    end
  end
  write_mail(p, 2)
  p:apply()
  local lines = stale(p)
  equal(lines[1], "function (a key of _G.held)")
  equal(lines[#lines - 1], "method getmetatable(_G.held.object).__index")
  if shows_varargs then
    matches(lines[2], "^function coroutine at .* local %(vararg%)$")
  end
end)

test("what only weak tables hold is not reported", function(p)
  local mail = loaded_mail(p)
  G.held = {}
  mail.start(G.held)
  mail.start(G.held)
  G.weak_values = setmetatable({ G.held[1] }, { __mode = "v" })
  G.weak_keys = setmetatable({ [G.held[1]] = 1 }, { __mode = "k" })
  G.ephemeron = setmetatable({ [{}] = G.held[2] }, { __mode = "k" })
  write_mail(p, 2)
  p:apply()
  G.held = nil
  equal(stale(p), {})
end)

test("what a weak-keyed table holds for a key that is held is reported", function(p)
  local mail = loaded_mail(p)
  G.key = {}
  do
    local list = {}
    mail.start(list)
    G.ephemeron = setmetatable({ [G.key] = list[1] }, { __mode = "k" })
  end
  write_mail(p, 2)
  p:apply()
  equal(stale(p)[1], "function _G.ephemeron[a table]")
end)

test("functions of a unit that is gone are stale", function(p)
  G.callbacks = {}
  loaded_mail(p).start(G.callbacks)
  p:remove "game.mail"
  p:apply()
  local result = whole_audit(p)
  equal(#result.stale, 2)
  equal(result.stale[1].unit, "game.mail")
  equal(result.stale[1].current, nil)
end)

test("the audit goes in steps, while the program changes what it looks at", function(p)
  local mail = loaded_mail(p)
  G.world = {}
  for i = 1, 20000 do
    G.world["k" .. i] = { id = i }
  end
  mail.start(G.world.k7777)
  write_mail(p, 2)
  p.reload.setup { roots = { p.dir .. "/?.lua" }, audit_ms = 0 }
  equal(p:apply().audit.done, false)
  local steps, result = 0
  repeat
    steps, result = steps + 1, p.reload.audit { ms = 0 }
    for i = 1, 20 do
      local n = steps * 20 + i
      if n <= 6000 then
        G.world["k" .. n] = nil
      end
      G.world["new" .. n] = { id = n }
    end
  until result.done
  assert(steps > 50, steps)
  equal(result.generation, 2)
  local found = false
  for _, item in ipairs(result.stale) do
    found = found or item.path == "_G.world.k7777[1]"
  end
  assert(found, "the callback was not found")
end)

test("a pass that is under way keeps nothing alive", function(p)
  loaded_mail(p)
  G.world = {}
  for i = 1, 20000 do
    G.world[i] = { i }
  end
  p.reload.audit { ms = 0 }
  local watched = setmetatable({}, { __mode = "v" })
  for i = 1, 20000 do
    watched[i] = G.world[i]
  end
  for _ = 1, 100 do
    assert(not p.reload.audit({ ms = 0 }).done)
  end
  G.world = nil
  collectgarbage()
  collectgarbage()
  equal(next(watched), nil)
end)

test("a new generation begins a new pass", function(p)
  loaded_mail(p)
  G.world = {}
  for i = 1, 20000 do
    G.world[i] = { i }
  end
  equal(p.reload.audit({ ms = 0 }).generation, 1)
  write_mail(p, 2)
  p:apply()
  equal(whole_audit(p).generation, 2)
end)

test("the list of stale things is bounded, and says how many more there are", function(p)
  local mail = loaded_mail(p)
  G.timers = {}
  for _ = 1, 1500 do
    mail.start(G.timers)
  end
  write_mail(p, 2)
  p:apply()
  local result = whole_audit(p)
  equal(#result.stale, 1000)
  equal(result.more, 501)
end)

test("a reload that is prepared is not stale", function(p)
  loaded_mail(p)
  write_mail(p, 2)
  local prepared = assert(p.reload.prepare())
  equal(stale(p), {})
  p.reload.abort(prepared)
  equal(stale(p), {})
end)

test("the result of an applied reload has the audit", function(p)
  local mail = loaded_mail(p)
  G.timers = {}
  mail.start(G.timers)
  write_mail(p, 2)
  p.reload.setup { roots = { p.dir .. "/?.lua" }, audit_ms = 10000 }
  local report = p:apply()
  equal(report.audit.done, true)
  equal(report.audit.stale[1].path, "_G.timers[1]")
  matches(report, "stale: _G.timers%[1%]")
  equal(p.reload.status().stale, 2)
end)

local function losses(report, kind)
  local lines = {}
  for _, loss in ipairs(report.loses) do
    if loss.kind == kind then
      lines[#lines + 1] = ("%s: %s"):format(loss.unit, loss.name)
    end
  end
  table.sort(lines)
  return lines
end

local function clean(p, lines)
  for i, line in ipairs(lines) do
    lines[i] = line:gsub(p.dir:gsub("%p", "%%%0") .. "/", "")
  end
  return lines
end

test("a plan names callbacks that are registered elsewhere, and live coroutines", function(p)
  local mail = loaded_mail(p)
  G.timers, G.tasks = {}, { mail.task() }
  mail.start(G.timers)
  assert(coroutine.resume(G.tasks[1]))
  mail.start(p.reload.once("cache", print))
  write_mail(p, 2)
  local report = p.reload.plan()
  equal(clean(p, losses(report, "callback")), { "game.mail: _G.timers[1]", 'game.mail: once "cache"[1]' })
  equal(clean(p, losses(report, "coroutine")), { "game.mail: coroutine at game/mail.lua:5, held by _G.tasks[1]" })
  matches(report, "loses callback `_G.timers%[1%]`")
end)

test("a plan says when it does not name all callbacks", function(p)
  local mail = loaded_mail(p)
  G.timers = {}
  for _ = 1, 130 do
    mail.start(G.timers)
  end
  write_mail(p, 2)
  local report = p.reload.plan()
  equal(#losses(report, "callback"), 100)
  matches(report, "note: coroutines and callbacks: 30 more than are listed")
  local tx = { affected = {}, notes = {} }
  local _, partial = require("stillpoint.reload.live").losses(tx, 0)
  equal(partial, true)
  matches(tx.notes[1], "^coroutines and callbacks: not all were looked for")
end)

test("what a reload replaces is no callback elsewhere", function(p)
  p:write(
    "game.all",
    [[
local M = reload.module(...)
local Player = reload.class("Player")
function Player:init() end
function Player.helper() end
gate = gate or { open = function() end }
reload.override(gate, "open", function(super) return super() end)
function M.tick() end
M.handlers = { a = function() end }
timers = { reload.ref(M, "tick"), Player.new() }
M.socket = reload.resource("socket", function() return {} end, function() end)
function global_of_all() end
return M]]
  )
  p:load "game.all"
  p:write("game.all", "local M = reload.module(...) return M")
  local report = p.reload.plan()
  equal(clean(p, losses(report, "callback")), {})
  equal(losses(report, "coroutine"), {})
end)

-- The walk as a host without some of `debug` loads it; gives the numbers of functions and frames that it meets.
local function blind_walk(names)
  local saved = {}
  for _, name in ipairs(names) do
    saved[name] = debug[name]
    rawset(debug, name, nil)
  end
  for name in pairs(package.loaded) do
    if name:find "^stillpoint%.reload%.walk" or name == "stillpoint.reload.heap" then
      package.loaded[name] = nil
    end
  end
  local functions, frames = 0, 0
  local ok, walk = pcall(function()
    local walk = require("stillpoint.reload.heap").new {
      found = function()
        functions = functions + 1
      end,
      frame = function()
        frames = frames + 1
      end,
    }
    assert(walk:step(10000))
    return walk
  end)
  for name, fn in pairs(saved) do
    rawset(debug, name, fn)
  end
  assert(ok, walk)
  return walk, functions, frames
end

test("a host that takes away parts of debug is told what the audit cannot see", function()
  local whole, functions, frames = blind_walk {}
  equal(whole.blind, {})
  local walk, fewer = blind_walk { "getupvalue", "getregistry" }
  equal(walk.blind, { "debug.getregistry", "debug.getupvalue" })
  assert(fewer > 50 and fewer < functions, fewer)
  local _, _, none = blind_walk { "getinfo", "getlocal", "getmetatable", "getregistry", "getupvalue", "getfenv", "getuservalue" }
  assert(frames > 0 and none == 0, none)
end)

program.finish()
