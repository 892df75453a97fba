-- Sessions: one process of an identity at a time, and events for those who hear them.

local peers = require "peers"
local spec = require "spec"
local stillpoint = require "stillpoint"

local await, peer_test = peers.await, peers.test
local equal, fails, misuse, test = spec.equal, spec.fails, spec.misuse, spec.test

peer_test("a process without a session has none", function(open)
  equal(open():session(), nil)
end)

peer_test("a session says who the process is", function(open)
  local session = open("b1", { labels = { zone = "eu" }, code_version = "1.4.2" }):session()
  equal({ session.service, session.instance, session.succeeded, session.claims, session.state }, {
    "battle",
    "b1",
    false,
    0,
    "attached",
  })
  assert(session.id:find "^battle/b1", session.id)
  assert(session.resume_token:find "^%x+$" and #session.resume_token % 2 == 0)
  assert(session.ttl > 0 and session.fence > 0 and session.gap == 0)
end)

peer_test("a holder that is there keeps its session, and the refusal names it", function(open)
  open "b1"
  local err = fails("not_owner", nil, open "b1")
  assert(err.holder and err.holder ~= "", "the holder")
  fails("not_owner", nil, open("b1", { session_wait = 0.05 }))
  assert(open "b2")
end)

peer_test("with takeover the older process is fenced, and told", function(open)
  local old = open "b1"
  local heard = {}
  old:on("fenced", function(ev)
    heard[#heard + 1] = ev
  end)
  local new = open("b1", { takeover = true })
  await("the older is told", function()
    return heard[1]
  end, old)
  equal(heard[1].type, "fenced")
  equal(old:session().state, "fenced")
  local before, after = old:session(), new:session()
  equal({ after.id, after.succeeded, after.state }, { before.id, true, "attached" })
  assert(after.fence > before.fence, "the fence grows")
  fails("fenced", nil, old:collection("player"):put("1", 1))
  assert(new:collection("player"):put("1", 1))
  assert(old:close())
  equal(#heard, 1)
end)

peer_test("with the holder's own token the session is taken over, too", function(open)
  local old = open "b1"
  fails("not_owner", nil, open("b1", { resume_token = ("00"):rep(16) }))
  local new = assert(open("b1", { resume_token = old:session().resume_token }))
  equal(new:session().id, old:session().id)
end)

peer_test("a closed session is over; one left to a successor keeps its claims", function(open)
  local one = open "b1"
  assert(one:close())
  local two = open "b1"
  equal(two:session().succeeded, false)
  assert(two:collection("player"):claim "1")
  assert(two:close { keep_claims = true, linger = 30 })
  local three = open "b1"
  equal({ three:session().succeeded, three:session().claims }, { true, 1 })
end)

peer_test("drain saves, and leaves the claims to a successor", function(open)
  local one = open "b1"
  local doc = assert(one:collection("player"):claim("1", { autosave = 60 }))
  assert(doc:set("gold", 5))
  assert(one:drain())
  misuse("the store is closed", function()
    one:poll()
  end)
  local two = open "b1"
  equal(two:collection("player"):get "1", { gold = 5 })
  equal(two:session().claims, 1)
end)

peer_test("a claim that another wants is released, and its holder's handler is told with the document", function(open)
  local one, two = open "b1", open "b2"
  local doc = assert(one:collection("player"):claim "1")
  local heard
  one:on("release_wanted", function(ev)
    heard = ev
  end)
  local claim = two:go(function()
    return assert(two:collection("player"):claim("1", { wait = 5 }))
  end)
  await("the record changes hands", function()
    return heard and claim:done()
  end, one, two)
  equal({ heard.collection, heard.key, heard.wanted_by, heard.doc == doc }, { "player", "1", "battle/b2", true })
  equal(doc:owned(), false)
end)

peer_test("a refusal to write a claimed record names its owner", function(open)
  local one = open "b1"
  assert(one:collection("player"):claim "1")
  equal(fails("not_owner", nil, open():collection("player"):put("1", 1)).holder, "battle/b1")
end)

peer_test("handlers run in coroutines: a verb in one does not hold up the loop", function(open)
  local one, two = open "b1", open "b2"
  local order = {}
  one:on("claim_lost", function(ev)
    order[#order + 1] = "begin " .. ev.key
    one:sleep(0.05)
    assert(one:collection("log"):put(ev.key, ev.taken_by))
    order[#order + 1] = "end " .. ev.key
  end)
  for _, key in ipairs { "1", "2" } do
    assert(one:collection("player"):claim(key, { handover = false }))
    assert(two:collection("player"):claim(key, { wait = false, steal = true }))
  end
  await("both are told", function()
    return #order == 4
  end, one)
  -- About different documents, so side by side.
  equal(order, { "begin 1", "begin 2", "end 1", "end 2" })
  equal(one:collection("log"):get "1", "battle/b2")
end)

peer_test("what a handler raises comes out of poll; the others are run all the same", function(open)
  local one, two = open "b1", open "b2"
  local told = {}
  one:on("claim_lost", function(ev)
    told[#told + 1] = ev.key
    error("no more " .. ev.key, 0)
  end)
  for _, key in ipairs { "1", "2" } do
    assert(one:collection("player"):claim(key, { handover = false }))
    assert(two:collection("player"):claim(key, { wait = false, steal = true }))
  end
  local raised = {}
  local now = one._link.core.now
  local ends = now() + 10
  while #told < 2 and now() < ends do
    local ok, err = pcall(one.poll, one, 0.05)
    if not ok then
      raised[#raised + 1] = err:match "no more %d"
    end
  end
  table.sort(told)
  equal(told, { "1", "2" })
  assert(#raised >= 1, "nothing was raised")
end)

peer_test("a handler that was taken away is not called", function(open)
  local old = open "b1"
  local told = 0
  old:on("fenced", function()
    told = told + 1
  end)
  old:on("fenced", nil)
  open("b1", { takeover = true })
  await("the session is fenced", function()
    return old:session().state == "fenced"
  end, old)
  old:poll(0.02)
  equal(told, 0)
end)

peer_test("run goes on while timers may fire, until stop", function(open)
  local store = open "b1"
  store:on("timer", function() end)
  local stopped
  store:go(function()
    store:sleep(0.05)
    stopped = true
    store:stop()
  end)
  store:run()
  equal(stopped, true)
end)

peer_test("run ends when the session is taken over", function(open)
  local old = open "b1"
  old:on("timer", function() end)
  old:go(function()
    old:sleep(0.02)
    assert(open("b1", { takeover = true }))
  end)
  old:run()
  equal(old:session().state, "fenced")
end)

test("a session is named by service and instance", function()
  misuse("option 'instance' is missing: a session is named by 'service' and 'instance'", function()
    stillpoint.memory { service = "battle" }
  end)
  misuse("option 'service' is missing: a session is named by 'service' and 'instance'", function()
    stillpoint.memory { instance = "battle-1" }
  end)
end)

test("unknown events and what is no handler are misuse", function(store)
  local known = "claim_lost, drain, fenced, notice, reconnected, refused, release_wanted, restored, shutting_down, timer"
  misuse("unknown event 'fence': use " .. known, function()
    store:on("fence", print)
  end)
  misuse("handler: a function expected, got a string", function()
    store:on("fenced", "print")
  end)
  misuse("unknown option 'keep': use deadline, keep_claims, linger", function()
    store:close { keep = true }
  end)
end)

spec.finish()
