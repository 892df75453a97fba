-- The commands by which a fleet reloads, in one process: what is asked may come twice, late, or never.

local operator = require "stillpoint.operator"
local program = require "program"
local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, fails = spec.equal, spec.fails

local reloads = 0

-- A test with a process that uses the kit, whose only unit says its price; `ask` runs a command of the kit in it, with
-- an id of this test's own.
local function test(name, fn)
  program.test(name, function(p)
    reloads = reloads + 1
    local id = "r" .. reloads
    local function price(text)
      p:write("rules", ("local M = reload.module(...) function M.price() return %s end return M"):format(text))
    end
    price "10"
    local rules = p:load "rules"
    local store = stillpoint.memory { service = "battle", instance = "b1" }
    local function ask(command, args)
      return operator.command(store, "reload." .. command, args or { id = id, hold = 60 })
    end
    fn { price = price, rules = rules, store = store, ask = ask, id = id, reload = p.reload }
    store:close()
  end)
end

test("what is prepared does not run before it is committed, and then does", function(t)
  local before = assert(t.ask "status")
  t.price "20"
  equal(assert(t.ask "plan").changed, { "rules" })
  local prepared = assert(t.ask "prepare")
  equal({ prepared.outcome, prepared.changed, prepared.generation }, { "prepared", { "rules" }, before.generation })
  equal({ t.rules.price(), t.ask("status").prepared }, { 10, t.id })
  local report = assert(t.ask "commit")
  equal({ report.outcome, report.generation, t.rules.price() }, { "applied", before.generation + 1, 20 })
  local after = assert(t.ask "status")
  equal({ after.generation, after.last, after.prepared }, { before.generation + 1, "applied", false })
  equal({ report.program, after.program ~= before.program }, { after.program, true })
end)

test("a preparation names the program that it comes to, and each of its sources", function(t)
  local before = assert(t.ask "status")
  t.price "20"
  local prepared = assert(t.ask "prepare")
  equal({ prepared.program ~= before.program, prepared.sources.rules ~= before.sources.rules }, { true, true })
  local committed, after = assert(t.ask "commit"), assert(t.ask "status")
  for _, of in ipairs { committed, after } do
    equal({ of.program, of.sources }, { prepared.program, prepared.sources })
  end
  assert(t.ask "rollback")
  equal(t.ask("status").sources, before.sources)
end)

test("a preparation with nothing to reload names what runs", function(t)
  local before, prepared = assert(t.ask "status"), assert(t.ask "prepare")
  equal({ prepared.program, prepared.sources }, { before.program, before.sources })
end)

test("a commit that comes twice is one, and so is a rollback", function(t)
  t.price "20"
  assert(t.ask "prepare")
  local report = assert(t.ask "commit")
  equal(assert(t.ask "commit").generation, report.generation)
  equal(t.reload.status().generation, report.generation)
  equal(assert(t.ask "rollback").outcome, "applied")
  equal(t.rules.price(), 10)
  equal(assert(t.ask "rollback").nothing, true)
  equal(t.rules.price(), 10)
end)

test("what was never prepared can be aborted and rolled back, and not committed", function(t)
  equal(assert(t.ask "abort").nothing, true)
  equal(assert(t.ask "rollback").nothing, true)
  fails("command_failed", "nothing is prepared as '" .. t.id, t.ask "commit")
end)

test("what is aborted cannot be committed, and another can be prepared", function(t)
  t.price "20"
  assert(t.ask "prepare")
  equal(assert(t.ask "abort").nothing, false)
  fails("command_failed", "nothing is prepared", t.ask "commit")
  assert(t.ask("prepare", { id = "other-" .. t.id, hold = 60 }))
  fails("command_failed", "nothing is prepared as '" .. t.id, t.ask "commit")
  fails("command_failed", "another reload %(other%-" .. t.id .. "%) is prepared here, for %d+ s more", t.ask "prepare")
  assert(t.ask("commit", { id = "other-" .. t.id }))
  equal(t.rules.price(), 20)
end)

test("what nobody commits is dropped when its time is over", function(t)
  t.price "20"
  assert(t.ask("prepare", { id = t.id, hold = 0.05 }))
  local now = t.store._link.core.now
  local ends = now() + 10
  repeat
    t.store:poll(0.01)
  until not t.reload.status().prepared or now() > ends
  equal(t.reload.status().prepared, false)
  fails("command_failed", "nothing is prepared", t.ask "commit")
  equal(t.rules.price(), 10)
end)

test("what is prepared goes with the session", function(t)
  t.price "20"
  assert(t.ask "prepare")
  assert(t.store:close())
  equal({ t.reload.status().prepared, t.rules.price() }, { false, 10 })
end)

test("with nothing changed there is nothing to prepare, and the commit says so", function(t)
  local before = t.reload.status().generation
  equal(assert(t.ask "prepare").outcome, "nothing")
  equal(assert(t.ask "commit").outcome, "nothing")
  equal(assert(t.ask "rollback").nothing, true)
  equal(t.reload.status().generation, before)
end)

test("a program that cannot be prepared is an error that says where, and nothing is held", function(t)
  t.price "20 +"
  local err = fails("command_failed", "rules.lua", t.ask "prepare")
  assert(err.message:find "^%a+: ", err.message)
  equal(t.ask("status").prepared, false)
end)

test("what is prepared has to be named", function(t)
  t.price "20"
  fails("command_failed", "which one%? { id = TEXT, hold = SECONDS } expected", t.ask("prepare", {}))
  equal(t.ask("status").prepared, false)
end)

test("a local reload after the commit is not taken back by the fleet's rollback", function(t)
  t.price "20"
  assert(t.ask "prepare")
  assert(t.ask "commit")
  t.price "30"
  assert(t.reload.apply().ok)
  equal(assert(t.ask "rollback").nothing, true)
  equal(t.rules.price(), 30)
  equal(assert(t.ask("rollback", {})).outcome, "applied")
  equal(t.rules.price(), 20)
end)

test("one process can be reloaded alone, and audited", function(t)
  local old = t.rules.price
  t.price "20"
  equal(assert(t.ask("apply", {})).outcome, "applied")
  _G.left_behind = old
  local audit = assert(t.ask("audit", {}))
  _G.left_behind = nil
  equal({ audit.done, audit.stale_count >= 1 }, { true, true })
  local named
  for _, stale in ipairs(audit.stale) do
    named = named or stale.path:find "left_behind" and stale.file:find "rules.lua"
  end
  assert(named, "the audit does not name it")
  assert(operator.command(t.store, "info").reload.generation == t.reload.status().generation)
end)

program.finish()
