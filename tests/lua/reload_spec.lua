-- Reloading a program: what changes, what stays, and what is said about it.

local program = require "program"

local equal, matches, test = program.equal, program.matches, program.test

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

program.finish()
