-- The old recipe for servers that are updated while they run, points 4 to 9: each point is a test of its name.
-- (1 to 3 are the store's and the management port's.)

local program = require "program"

local equal, matches, test = program.equal, program.matches, program.test

local function audited(p)
  local result
  repeat
    result = p.reload.audit { ms = 50 }
  until result.done
  return result
end

test("4: nothing of the old code stays, neither in package.loaded nor in the module's table nor in globals", function(p)
  -- As old code is written: functions in a global table and in _G.
  p:write_raw("game.old", [[
    old_shop = old_shop or {}
    function old_shop.buy() return "buy v1" end
    function old_shop.haggle() end
    function old_helper() end
    old_data = old_data or { 1 }
    return old_shop]])
  p:write("game.shop", "local M = reload.module(...) function M.buy() return 'v1' end function M.haggle() end M.tax = 1 return M")
  local old, shop, data = p:load "game.old", p:load "game.shop", rawget(_G, "old_data")
  p:write_raw("game.old", [[
    old_shop = old_shop or {}
    function old_shop.buy() return "buy v2" end
    old_data = old_data or { 2 }
    return old_shop]])
  p:write("game.shop", "local M = reload.module(...) function M.buy() return 'v2' end return M")
  p:apply()
  equal({ rawequal(package.loaded["game.shop"], shop), rawequal(package.loaded["game.old"], old) }, { true, true })
  equal({ shop.buy(), shop.haggle, shop.tax }, { "v2", nil, nil })
  equal({ old.buy(), old.haggle, rawget(_G, "old_helper"), rawget(_G, "old_shop") == old }, { "buy v2", nil, nil, true })
  equal(rawequal(rawget(_G, "old_data"), data), true, "data is no garbage")
  equal(audited(p).stale, {})
end)

test("5: data survives in a table that is declared and initialised once, and locals refer to it", function(p)
  local text = [[local M = reload.module(...)
    local online = reload.once("player.online", function() return { n = 0, made_by = %d } end)
    function M.join(name) online.n = online.n + 1 online[name] = { name = name } return online[name] end
    function M.online() return online end
    function M.on_reload(ev) M.from = ev.from if ev.from == 1 then online.migrated = true end end
    return M]]
  p:write("game.player", text:format(1))
  local player = p:load "game.player"
  local ann = player.join "ann"
  for generation = 2, 5 do
    p:write("game.player", text:format(generation))
    p:apply()
    player.join("p" .. generation)
    local online = player.online()
    equal({ online.n, online.made_by, online.migrated, rawequal(online.ann, ann) }, { generation, 1, true, true })
    equal(player.from, generation - 1)
  end
  equal(audited(p).stale, {})
end)

test("6: the table of a class is emptied and refilled, never a second one, so that old objects have no old methods", function(p)
  local text = [[local M = reload.module(...)
    local Entity = reload.class "Entity" function Entity:init(hp) self.hp = hp end
    local Player = reload.class("Player", Entity) M.Player = Player
    function Player:hit() self.hp = self.hp - %d return self.hp end
    function Player.only%d() end function Player:__tostring() return "player v%d" end return M]]
  p:write("game.player", text:format(1, 1, 1))
  local Player = p:load("game.player").Player
  local ann = Player(100)
  local hp = ann:hit()
  for i = 2, 5 do
    p:write("game.player", text:format(i, i, i))
    p:apply()
    hp = hp - i
    equal({ ann:hit(), tostring(ann), ann["only" .. i - 1], type(ann["only" .. i]) }, { hp, "player v" .. i, nil, "function" })
    equal({ rawequal(Player, require("game.player").Player), rawequal(getmetatable(ann), Player) }, { true, true })
    equal(p.reload.instanceof(ann, Player), true)
  end
  equal(audited(p).stale, {})
end)

-- Levels of the stack, tail calls not counted.
local function depth()
  local levels = 0
  for line in debug.traceback():gmatch "[^\n]+" do
    levels = levels + (line:find "tail call" and 0 or 1)
  end
  return levels
end

test("7: overriding a method and calling the old one does not nest deeper at each reload", function(p)
  p:write("game.gate", "local M = reload.module(...) function M:OnConnect(f, trace) trace[#trace + 1] = 'gate' return f() end return M")
  p:write("game.patch", [[local M, gate = reload.module(...), require "game.gate"
    reload.override(gate, "OnConnect", function(super, self, f, trace)
      trace[#trace + 1] = "patch" local levels = super(self, f, trace) return levels
    end) return M]])
  p:load "game.patch"
  local gate = require "game.gate"
  local trace = {}
  local levels = gate:OnConnect(depth, trace)
  equal(trace, { "patch", "gate" })
  for i = 1, 1000 do
    p:apply { force = i % 2 == 0 and { "game.gate" } or { "game.patch" } }
    trace = {}
    local now = gate:OnConnect(depth, trace)
    assert(now == levels and #trace == 2, i)
  end
  equal(p.reload.status().generation, 1001)
  equal(audited(p).stale, {})
end)

test("8: the whole program is updated at once: all of the new generation, or nothing", function(p)
  local function write(n, bad)
    p:write("game.rules", ("local M = reload.module(...) M.n = %d function M.tax() return %d end return M"):format(n, n))
    -- Takes a function out of another unit's table while it is loaded: unchanged itself, it has to run again.
    p:write("game.shop", [[local M = reload.module(...) local tax = require "game.rules".tax
      function M.tax() return tax() end
      function M.on_reload() M.saw = { require("game.rules").n, require("game.mail").n } end return M]])
    p:write("game.mail", ("local M = reload.module(...) M.n = %d %s return M"):format(n, bad or ""))
  end
  write(1)
  local rules, shop, mail = p:load "game.rules", p:load "game.shop", p:load "game.mail"
  local function state()
    return { rules.n, rules.tax(), shop.tax(), mail.n, p.reload.status().generation }
  end
  for generation = 2, 4 do
    local before = state()
    for _, bad in ipairs { "x x", "error 'run'", "function M.verify() return false, 'no' end", "function M.on_reload() error 'hook' end",
      "require 'game.nowhere'", "reload.resource('r', function() return nil, 'busy' end)" } do
      write(generation, bad)
      local report = p.reload.apply()
      equal(report.ok, false, bad)
      equal(state(), before, bad)
      matches(report.error.message, ".")
    end
    write(generation)
    local report = p:apply()
    equal({ report.changed, report.rerun }, { { "game.mail", "game.rules" }, { "game.shop" } })
    equal(state(), { generation, generation, generation, generation, generation })
    equal(shop.saw, { generation, generation }, "hooks see the new generation only")
  end
  equal(audited(p).stale, {})
end)

test("9: what a careless update leaves behind in the corners is found, with the path to it", function(p)
  p:write("game.mail", [[local M = reload.module(...)
    function M.poll() return function() return M end end
    function M.task() return coroutine.create(function() coroutine.yield() return M end) end
    return M]])
  local function wrap(f)
    return function()
      return f
    end
  end
  do
    local mail = p:load "game.mail"
    local task = mail.task()
    coroutine.resume(task)
    _G.corner = { timers = { [14] = mail.poll() }, hidden = wrap(mail.poll), task = task }
  end
  equal(audited(p).stale, {})
  p:apply { force = { "game.mail" } }
  local found = {}
  for _, stale in ipairs(audited(p).stale) do
    equal({ stale.unit, stale.generation, stale.current, stale.file }, { "game.mail", 1, 2, p:path "game.mail" })
    found[#found + 1] = stale.path .. ":" .. stale.line
  end
  equal(#found, 3)
  local text = table.concat(found, "\n")
  for _, pattern in ipairs { "corner%.timers%[14%].*:2", "upvalue f of .*:2", "corner%.task.*:3" } do
    matches(text, pattern)
  end
  _G.corner = nil
  collectgarbage()
  equal(audited(p).stale, {})
end)

program.finish()
