-- A program that is reloaded a thousand times is as it was: memory flat, overrides one call deep, nothing left behind.

local program = require "program"

local equal, test = program.equal, program.test

-- The globals of the program under test.
local G = _G

local RELOADS = 1000

---Plans, refusals and failures, a quarter each.
local FAILURES = 400

---Kilobytes by which memory may differ from one measurement to the next.
local TOLERANCE = 16

local function memory()
  if jit then
    -- Compiled traces come and go as they like, and the compiler's own buffers grow with them.
    jit.flush()
  end
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

---Memory is measured three times; what came before the first fills caches and grows tables. Between two of them it may
---jump: the interpreter doubles its table of strings. What leaks grows each time.
local function assert_flat(measured)
  local first, second = measured[2] - measured[1], measured[3] - measured[2]
  equal(#measured, 3)
  assert(math.min(first, second) < TOLERANCE, ("memory grew by %.1f KB, then by %.1f KB"):format(first, second))
end

local UNITS = {
  ["game.player"] = [[
    local M = reload.module(...)
    local online = reload.once("online", function() return {} end)
    local Player = reload.class("Player")
    function Player:init(name) self.name = name online[#online + 1] = self end
    function Player:generation() return N end
    M.Player = Player
    function M.generation() return N end
    return M]],
  ["game.gate"] = [[
    local M = reload.module(...)
    local player = require "game.player"
    local Guard = reload.class("Guard", player.Player)
    function Guard:generation() return -Guard.super.generation(self) end
    M.Guard = Guard
    reload.override(world, "open", function(super, depth) return super(depth + 1) + 0 * N end)
    M.tick = function() M.ticks = N return N end
    M.timer = reload.resource("timer",
      function() opened = opened + 1 return { fn = reload.ref(M, "tick") } end,
      function() closed = closed + 1 end)
    function M.on_reload() hooks = hooks + 1 end
    return M]],
  -- Uses nothing of the kit.
  ["game.plain"] = [[
    local player = require "game.player"
    local P = { rate = N }
    local function helper() return player.generation() end
    function P.generation() return helper() end
    function made_by_plain() return N end
    return P]],
}

local function write(p, n)
  for name, text in pairs(UNITS) do
    p:write(name, (text:gsub("%f[%w]N%f[%W]", tostring(n))))
  end
end

local function start(p)
  G.opened, G.closed, G.hooks = 0, 0, 0
  G.world = {
    open = function(depth)
      return depth
    end,
  }
  write(p, 0)
  p:load "game.gate"
  p:load "game.plain"
  return p:load("game.player").Player "Ann", p:load("game.gate").Guard "Bob"
end

local function check(p, n, ann, bob)
  equal(ann:generation(), n)
  equal(bob:generation(), -n)
  equal(p:load("game.plain").generation(), n)
  equal(p:load("game.gate").timer.value.fn(), n)
  equal(G.made_by_plain(), n)
  equal(G.world.open(0), 1, "the override is called once")
  equal(#p.reload.once("online", print), 2)
end

test("a thousand reloads leave memory flat, overrides one call deep, and the audit empty", function(p)
  local ann, bob = start(p)
  local measured = {}
  for n = 1, RELOADS do
    write(p, n)
    local report = p:apply()
    equal(report.audit.done, true)
    equal(report.audit.stale, {})
    check(p, n, ann, bob)
    if n % 400 == 200 then
      measured[#measured + 1] = memory()
    end
  end
  assert_flat(measured)
  equal(p.reload.status().generation, RELOADS + 1)
  equal({ G.opened, G.closed, G.hooks }, { RELOADS + 1, RELOADS, RELOADS })
end, { audit_ms = 10000 })

test("reloads that are refused, planned or taken back leave nothing behind either", function(p)
  local ann, bob = start(p)
  local measured = {}
  for n = 1, FAILURES do
    write(p, n)
    local way = n % 4
    if way == 0 then
      p.reload.plan()
    elseif way == 1 then
      p.reload.abort((assert(p.reload.prepare())))
    elseif way == 2 then
      p:write("game.gate", "error 'no'")
      equal(p.reload.apply().outcome, "refused")
    else
      p:write("game.plain", "local M = reload.module(...) function M.on_reload() error 'no' end return M")
      equal(p.reload.apply().outcome, "rolled_back")
    end
    if n % 160 == 80 then
      measured[#measured + 1] = memory()
    end
  end
  assert_flat(measured)
  local result
  repeat
    result = p.reload.audit { ms = 1000 }
  until result.done
  equal(result.stale, {})
  check(p, 0, ann, bob)
end)

program.finish()
