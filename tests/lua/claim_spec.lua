-- Claimed documents: local reads, changes that follow as patches, refusals, and who owns what.

local peers = require "peers"
local spec = require "spec"
local stillpoint = require "stillpoint"

local array, map, null = stillpoint.array, stillpoint.map, stillpoint.null
local await, equal, fails = peers.await, spec.equal, spec.fails

local unpack = table.unpack or rawget(_G, "unpack")

local function bytes(value)
  return value == nil and "missing" or assert(stillpoint.encode(value))
end

-- Runs a test with the process "battle/b1" and its players; `open` starts further ones.
local function claim_test(name, fn)
  peers.test(name, function(connect)
    local function open(instance, opts)
      local store = assert(connect(instance, opts))
      return store, store:collection "player"
    end
    local store, players = open "b1"
    fn(store, players, open)
  end)
end

claim_test("a claim gives the record and keeps others from writing it", function(_, players, open)
  local rev = assert(players:put("42", { name = "Ann", gold = 100 }))
  local me = assert(players:claim "42")
  equal(me.value, { name = "Ann", gold = 100 })
  equal({ me.key, me.collection, me.rev, me.version }, { "42", "player", rev, 1 })
  assert(me.token > rev, "the token is the claim's own revision")
  equal(me:owned(), true)
  equal(me:get "gold", 100)
  equal(me:get { "bag", 1 }, nil)

  local owner = assert(players:owner "42")
  equal({ owner.service, owner.instance, owner.token }, { "battle", "b1", me.token })
  equal(players:owner "43", nil)

  local _, others = open "b2"
  equal(others:get "42", { name = "Ann", gold = 100 })
  local err = fails("not_owner", nil, others:add("42", "gold", 1))
  equal(err.holder, "battle/b1")
  fails("not_owner", nil, others:delete "42")
  equal(others:owner("42").instance, "b1")

  assert(me:release())
  equal(me:owned(), false)
  equal(others:owner "42", nil)
  equal(others:add("42", "gold", 1), 101)
end)

-- Documents with at most one string key per map: then equal documents are equal bytes, marks and all.
claim_test("each change does at once what the store does with it", function(_, players)
  local big = stillpoint.int64
  for i, case in ipairs {
    -- document, change
    { {}, { "set", "a", 1 } },
    { {}, { "set", "", { 1, 2 } } },
    { {}, { "set", {}, "text" } },
    { { a = 1 }, { "set", "a", { b = array {} } } },
    { {}, { "set", "a.b.c", 1.5 } },
    { { a = { 1, 2 } }, { "set", "a[-2]", "x" } },
    { { a = { 1, 2 } }, { "set", "a[3]", null } },
    { {}, { "set", "[7]", 1 } },
    { map { [7] = 1 }, { "set", "[7]", map { [3] = 4 } } },
    { { a = { b = 1 } }, { "unset", "a.b" } },
    { { a = 1 }, { "unset", "b" } },
    { { a = 1 }, { "add", "a", 2 } },
    { { a = 1 }, { "add", "a", 0.5 } },
    { { a = 1 }, { "add", "a", 5, { min = 0, max = 6 } } },
    { {}, { "add", "a.b", -2 } },
    { 5, { "add", "", 1 } },
    { { a = big "9007199254740992" }, { "add", "a", 1 } },
    { { a = big "9007199254740993" }, { "add", "a", -1 } },
    { { a = big "9223372036854775807" }, { "add", "a", 1 } },
    { { a = big "-9223372036854775807" }, { "add", "a", -1 } },
    { { a = big "18446744073709551614" }, { "add", "a", 1, { max = big "18446744073709551615" } } },
    { { a = big "9223372036854775808" }, { "add", "a", big "-9223372036854775808" } },
    { { a = big "4611686018427387904" }, { "add", "a", 0.5 } },
    { {}, { "append", "a", 1, "x" } },
    { { a = array {} }, { "append", "a", { 1 } } },
    { {}, { "append", "a" } },
    { { 1 }, { "append", "", null } },
    { { a = { 1, 2, 3 } }, { "remove_at", "a", 1 } },
    { { a = { 1, 2, 3 } }, { "remove_at", "a", -1 } },
    { { a = { 1 } }, { "remove_at", "a", 1 } },
    { { a = { 1 } }, { "insert", "a", 2 } },
    { { a = { 1 } }, { "insert", "a", 1.0 } },
    { { a = { { b = 1 } } }, { "insert", "a", { b = 1 } } },
    { {}, { "insert", "a", "x" } },
    { { a = { 1, 2, 1 } }, { "remove", "a", 1 } },
    { { a = { "x" } }, { "remove", "a", "x" } },
    { {}, { "remove", "a", 1 } },
  } do
    local before, step = case[1], case[2]
    local name = ("case %d, %s %s"):format(i, step[1], tostring(step[2]))
    local key, twin = "d" .. i, "t" .. i
    assert(players:put(key, before))
    assert(players:put(twin, before))
    local rev, err, expected = players:patch(twin, { step })
    assert(rev, name .. ": " .. tostring(err))

    local me = assert(players:claim(key))
    local result, why = me[step[1]](me, unpack(step, 2))
    if result == nil and why then
      error(name .. ": " .. tostring(why))
    end
    -- A set tells that it was done.
    equal(bytes(result), bytes(step[1] == "set" and true or expected[1]), name)
    equal(bytes(me.value), bytes(players:get(twin)), name)
    assert(me:save())
    equal(bytes(players:get(key)), bytes(me.value), name)
    equal(players:read(key).rev, me.rev, name)
    assert(me:release())
  end
end)

claim_test("several changes reach the store in their order", function(_, players)
  local me = assert(players:claim "42")
  equal(me.value, nil)
  assert(me:put { gold = 0, log = array {} })
  for i = 1, 100 do
    equal(me:add("gold", i), i * (i + 1) / 2)
    equal(me:append("log", i), i)
  end
  local results = assert(me:patch { { "add", "gold", -50 }, { "remove_at", "log", 1 }, { "unset", "none" } })
  equal(results, { 5000, 1, false })
  assert(me:save())
  equal(me:unsaved(), 0)
  local record = players:read "42"
  equal(record.value, me.value)
  equal({ record.rev, record.version }, { me.rev, me.version })
  equal(me.version, 202)
end)

claim_test("what cannot be is refused before anything changes, and is not sent", function(_, players)
  assert(players:put("42", { gold = 10, log = { 1 }, name = "Ann" }))
  local me = assert(players:claim "42")
  local err = fails("bound_violation", "would make it %-1, below its min of 0", me:add("gold", -11, { min = 0 }))
  equal(err.key, { collection = "player", key = "42" })
  fails("bound_violation", "above its max of 12", me:add("gold", 3, { max = 12 }))
  fails("invalid", "name is a string, not a number", me:add("name", 1))
  fails("invalid", "log has no element 5", me:set("log[5]", 1))
  fails("invalid", "path", me:set("a..b", 1))
  fails("invalid", "function", me:set("name", print))
  fails("invalid", "function", me:append("log", 2, print))
  fails("invalid", nil, me:set("name", { 1, x = 2 }))
  -- All or nothing, of several steps, too.
  fails("bound_violation", "step 4", me:patch {
    { "set", "name", "Bo" },
    { "append", "log", 2 },
    { "remove_at", "log", 1 },
    { "add", "gold", -11, { min = 0 } },
  })
  fails("invalid", "unset", me:patch { { "set", "new", 1 }, { "set", "", { 1 } }, { "unset", "" } })
  equal(me.value, { gold = 10, log = { 1 }, name = "Ann" })
  equal(me:unsaved(), 0)
  assert(me:save())
  equal(players:read("42").version, 1)
end)

claim_test("a refused change rolls back, and is told once by save and once as an event", function(store, players)
  assert(players:put("42", { gold = 10 }))
  local me = assert(players:claim "42")
  local told = {}
  store:on("refused", function(ev)
    told[#told + 1] = ev
  end)
  -- Behind the document's back, so that the store refuses what fits here.
  assert(players:put("42", { gold = "none", name = "Ann" }))
  equal(me:add("gold", 5), 15)
  assert(me:set("title", "Dr"))
  local err = fails("invalid", "gold is a string, not a number", me:save())
  equal(err.key, { collection = "player", key = "42" })
  -- What was sent behind it counts.
  equal(me.value, { gold = "none", name = "Ann", title = "Dr" })
  equal(players:get "42", me.value)
  equal(me:save(), me.rev)
  equal(me:owned(), true)
  await("the event", function()
    return #told > 0
  end, store)
  store:poll(0)
  equal({ #told, told[1].doc == me, told[1].err == err, told[1].key }, { 1, true, true, "42" })
  assert(me:set("gold", 1))
  assert(me:save())
  equal(players:get("42").gold, 1)
end)

claim_test("a poll alone rolls back, too", function(store, players)
  assert(players:put("42", { gold = 10 }))
  local me = assert(players:claim "42")
  local told
  store:on("refused", function(ev)
    told = { ev.err.reason, me.value }
  end)
  assert(players:put("42", { gold = "none" }))
  equal(me:add("gold", 5), 15)
  await("the event", function()
    return told
  end, store)
  equal(told, { "invalid", { gold = "none" } })
end)

claim_test("the next change finds the value rolled back", function(store, players)
  assert(players:put("42", { gold = 10 }))
  local me = assert(players:claim "42")
  assert(players:put("42", { gold = "none", silver = 1 }))
  equal(me:add("gold", 5), 15)
  local sum
  await("the roll back", function()
    sum = me:add("silver", 1)
    return me.value.gold == "none"
  end, store)
  assert(sum >= 2, sum)
  fails("invalid", nil, me:save())
  equal(players:get "42", me.value)
end)

claim_test("a value that got too large is refused by the store", function(_, players)
  assert(players:put("42", {}))
  local me = assert(players:claim "42")
  local half = ("x"):rep(600 * 1024)
  assert(me:set("a", half))
  assert(me:set("b", half))
  fails("too_large", nil, me:save())
  equal(me.value, { a = half })
  equal(me:save(), me.rev)
end)

claim_test("with autosave changes are gathered, and sent as one patch", function(store, players)
  assert(players:put("42", { gold = 0, log = array {} }))
  local me = assert(players:claim("42", { autosave = 3600 }))
  local item = { 1 }
  for _ = 1, 10 do
    me:add("gold", 1)
    me:append("log", item)
    item[1] = item[1] + 1
  end
  store:poll(0.01)
  equal(players:get("42").gold, 0)
  equal((me:unsaved()), 20)
  assert(select(2, me:unsaved()) > 0)
  assert(me:save())
  equal({ me:unsaved() }, { 0, 0 })
  local record = players:read "42"
  equal({ record.value.gold, record.version }, { 10, 2 })
  equal(record.value, me.value)
  equal(record.value.log[10], { 10 })

  assert(me:release())
  me = assert(players:claim("42", { autosave = 0.02 }))
  me:set("name", "Ann")
  await("the autosave", function()
    return players:get("42").name == "Ann"
  end, store)
end)

claim_test("a document dropped with gathered changes saves them, then is released", function(store, players, open)
  local _, others = open "b2"
  -- A function of its own, so that no slot of the stack holds on to the handle.
  local function drop_one()
    assert(players:claim("42", { autosave = 3600 })):set("name", "Ann")
  end
  drop_one()
  collectgarbage()
  collectgarbage()
  await("the release", function()
    return others:owner "42" == nil
  end, store)
  equal(others:get "42", { name = "Ann" })
end)

claim_test("a document that is dropped gives the record back, without a poll", function(_, players, open)
  local other_store, others = open "b2"
  local function drop_one()
    assert(players:claim "42"):set("name", "Ann")
  end
  drop_one()
  collectgarbage()
  collectgarbage()
  await("the release", function()
    return others:owner "42" == nil
  end, other_store)
  equal(others:get "42", { name = "Ann" })
end)

claim_test("claiming again what is owned gives the same handle", function(store, players)
  local me = assert(players:claim "42")
  assert(rawequal(players:claim "42", me))
  local a = store:go(function()
    return players:claim "43"
  end)
  local b = store:go(function()
    return players:claim "43"
  end)
  local first, second = a:wait(), b:wait()
  assert(first and rawequal(first, second))
  assert(me:release())
  local again = assert(players:claim "42")
  assert(not rawequal(again, me))
  assert(again.token > me.token)
  fails("not_owner", "was released", me:set("a", 1))
  equal(me:release(), true)
  equal(again:owned(), true)
end)

claim_test("a handle dropped as its record is claimed anew does not release it", function(store, players)
  local me = assert(players:claim "42")
  local token = me.token
  me:set("name", "Ann")
  me = nil
  collectgarbage()
  local again = assert(players:claim "42")
  collectgarbage()
  store:poll(0.01)
  equal(again.value, { name = "Ann" })
  assert(again.token >= token)
  equal(players:owner("42").token, again.token)
  assert(me == nil and again:owned())
end)

claim_test("a claim fails, waits or steals", function(store, players, open)
  local me = assert(players:claim("42", { handover = false }))
  me:set("name", "Ann")
  assert(me:save())
  local other_store, others = open "b2"
  local err = fails("not_owner", "battle/b1", others:claim("42", { wait = false }))
  equal(err.holder, "battle/b1")
  fails("not_owner", nil, others:claim("42", { wait = 0.05 }))

  local lost
  store:on("claim_lost", function(ev)
    lost = ev
  end)
  local theirs = assert(others:claim("42", { wait = 0.05, steal = true }))
  assert(theirs.token > me.token)
  equal(theirs.value, { name = "Ann" })
  await("the notice", function()
    return lost
  end, store)
  equal({ lost.key, lost.taken_by, lost.doc == me }, { "42", "battle/b2", true })
  local owned, why = me:owned()
  equal({ owned, why.reason, why.holder }, { false, "not_owner", "battle/b2" })
  fails("not_owner", "battle/b2", me:set("name", "Bo"))
  fails("not_owner", nil, me:save())
  equal(me.value, { name = "Ann" })
  equal(theirs:add("gold", 1), 1)

  local future = store:go(function()
    return players:claim("42", { wait = 5 })
  end)
  await("the hand-over", function()
    return future:done()
  end, store, other_store)
  me = assert(future:wait())
  equal(me.value, { name = "Ann", gold = 1 })
  equal(theirs:owned(), false)
end)

claim_test("that a record was brought back may be told again after it was claimed anew", function(store, players, open)
  local told = { taken_by = "@restore" }
  local me = assert(players:claim "42")
  me:_on_claim_lost(told)
  local owned, why = me:owned()
  equal({ owned, why.reason, why.holder }, { false, "not_owner", "@restore" })
  local again = assert(players:claim "42")
  again:_on_claim_lost(told)
  assert(rawequal(assert(players:claim "42"), again), "it is ours, says the store")
  again:set("name", "Ann")
  assert(again:save())
  equal(again:owned(), true)
  local _, others = open "b2"
  assert(others:claim("42", { steal = true, wait = 0.05 }))
  await("the loss", function()
    return not again:owned()
  end, store)
end)

claim_test("what is taken from a document with changes under way is told", function(store, players, open)
  local me = assert(players:claim("42", { autosave = 3600 }))
  me:set("name", "Ann")
  local refused = {}
  store:on("refused", function(ev)
    refused[#refused + 1] = ev
  end)
  local _, others = open "b2"
  store:on("release_wanted", function()
    return true
  end)
  assert(others:claim("42", { wait = false, steal = true }))
  await("the refusal", function()
    return #refused > 0
  end, store)
  equal({ #refused, refused[1].err.reason, refused[1].doc == me }, { 1, "not_owner", true })
  fails("not_owner", nil, me:save())
  equal((me:unsaved()), 0)
end)

claim_test("an owner hands over on request: its changes first", function(store, players, open)
  local me = assert(players:claim("42", { autosave = 3600 }))
  for i = 1, 10 do
    me:append("log", i)
  end
  local other_store, others = open "b2"
  local wanted
  store:on("release_wanted", function(ev)
    wanted = ev
  end)
  local future = other_store:go(function()
    return others:claim("42", { wait = 5 })
  end)
  await("the hand-over", function()
    return future:done()
  end, store, other_store)
  local theirs = assert(future:wait())
  equal(#theirs.value.log, 10)
  await("the handler", function()
    return wanted
  end, store)
  equal({ wanted.key, wanted.wanted_by, wanted.doc == me }, { "42", "battle/b2", true })
  local owned, why = me:owned()
  equal(owned, false)
  assert(why.message:find "battle/b2", why.message)
end)

claim_test("a program can see to the hand-over itself", function(store, players, open)
  local me = assert(players:claim("42", { handover = false }))
  me:set("name", "Ann")
  store:on("release_wanted", function(ev)
    ev.doc:set("farewell", true)
    ev.doc:release()
  end)
  local other_store, others = open "b2"
  local future = other_store:go(function()
    return others:claim("42", { wait = 5 })
  end)
  await("the hand-over", function()
    return future:done()
  end, store, other_store)
  equal(future:wait().value, { name = "Ann", farewell = true })
end)

claim_test("a handler that sees to the hand-over answers true", function(store, players, open)
  local me = assert(players:claim "42")
  local wanted
  store:on("release_wanted", function(ev)
    wanted = ev
    return true
  end)
  local other_store, others = open "b2"
  local future = other_store:go(function()
    return others:claim("42", { wait = 5 })
  end)
  await("the request", function()
    return wanted
  end, store, other_store)
  store:poll(0.02)
  equal({ me:owned(), future:done() }, { true, false })
  assert(me:release())
  await("the hand-over", function()
    return future:done()
  end, other_store)
  assert(future:wait())
end)

claim_test("the notice of a loss that was noticed before does not end a newer claim", function(store, players, open)
  local me = assert(players:claim "42")
  local lost
  store:on("claim_lost", function(ev)
    lost = ev
  end)
  local _, others = open "b2"
  local theirs = assert(others:claim("42", { wait = false, steal = true }))
  equal(me:add("gold", 1), 1)
  fails("not_owner", nil, me:save())
  assert(theirs:release())
  me = assert(players:claim "42")
  await("the notice", function()
    return lost
  end, store)
  equal(lost.doc == me, true)
  equal(me:add("gold", 2), 2)
  assert(me:save())
  equal(me:owned(), true)
end)

claim_test("a refusal is told though the document was dropped", function(store, players)
  assert(players:put("42", { gold = 10 }))
  local told
  store:on("refused", function(ev)
    told = ev
  end)
  local function drop_one()
    local me = assert(players:claim("42", { autosave = 3600 }))
    assert(players:put("42", { gold = "none" }))
    equal(me:add("gold", 5), 15)
  end
  drop_one()
  collectgarbage()
  collectgarbage()
  await("the refusal", function()
    return told
  end, store)
  equal({ told.err.reason, told.collection, told.key, told.doc }, { "invalid", "player", "42", nil })
  equal(players:get "42", { gold = "none" })
end)

claim_test("what all documents have gathered is bounded", function(_, players)
  local part, docs, saved = ("x"):rep(900 * 1024), {}, 0
  for i = 1, 12 do
    docs[i] = assert(players:claim("d" .. i, { autosave = 3600 }))
    assert(docs[i]:set("part", part))
  end
  for i = 1, 12 do
    if docs[i]:unsaved() == 0 then
      saved = saved + 1
      equal(#players:get("d" .. i).part, #part)
    end
  end
  assert(saved >= 2, saved)
end)

claim_test("a claim without a record is a lock, whose token grows", function(_, players, open)
  local _, others = open "b2"
  local last = 0
  for i = 1, 4 do
    local lock = assert((i % 2 == 0 and players or others):claim "lock/boss")
    equal(lock.value, nil)
    equal(lock.rev, nil)
    assert(lock.token > last)
    last = lock.token
    fails("not_owner", nil, (i % 2 == 0 and others or players):claim("lock/boss", { wait = false }))
    equal(lock:save(), 0)
    assert(lock:release())
  end
  equal(players:get "lock/boss", nil)
end)

claim_test("the first change makes the record; what takes away does not", function(_, players)
  for i, make in ipairs {
    function(doc)
      return doc:set("name", "Ann")
    end,
    function(doc)
      return doc:add("gold", 1)
    end,
    function(doc)
      return doc:append("log", 1)
    end,
    function(doc)
      return doc:insert("tags", "x")
    end,
    function(doc)
      return doc:put "text"
    end,
    function(doc)
      return doc:patch { { "set", "a", 1 }, { "add", "b", 1 } }
    end,
  } do
    local doc = assert(players:claim("n" .. i))
    fails("version_conflict", "does not exist", doc:unset "a")
    fails("version_conflict", "does not exist", doc:remove("a", 1))
    fails("version_conflict", "does not exist", doc:remove_at("a", 1))
    assert(make(doc))
    assert(doc:save())
    equal(players:get("n" .. i), doc.value)
    equal(players:read("n" .. i).version, 1)
  end
end)

claim_test("lifetime and schema of the record stay", function(_, players)
  assert(players:put("42", { a = 1 }, { ttl = 1000, schema = 3 }))
  local before = players:read "42"
  local me = assert(players:claim "42")
  equal({ me.schema, me.expires_at }, { 3, before.expires_at })
  assert(me:put { b = 1 })
  assert(me:save())
  local after = players:read "42"
  equal({ after.schema, after.expires_at, after.value }, { 3, before.expires_at, { b = 1 } })
end)

claim_test("unanswered changes are bounded: a further one waits", function(store, players)
  local me = assert(players:claim("42", { unsaved_max = 4 }))
  local most = 0
  for i = 1, 100 do
    equal(me:add("n", 1), i)
    most = math.max(most, (me:unsaved()))
  end
  assert(most <= 4, most)
  assert(me:save())

  -- In a coroutine, others run meanwhile.
  local ticks, stop = 0, false
  store:go(function()
    while not stop do
      ticks = ticks + 1
      coroutine.yield()
    end
  end)
  local future = store:go(function()
    for _ = 1, 100 do
      assert(me:add("n", 1))
    end
    local rev, err = me:save()
    stop = true
    return rev, err
  end)
  equal(future:wait(), me.rev)
  stop = true
  equal(players:get("42").n, 200)
  assert(spec.has_server == false or ticks > 1, ticks)
end)

claim_test("closing the store saves what has gathered and ends the session", function(store, players, open)
  local _, others = open "b2"
  local me = assert(players:claim("42", { autosave = 3600 }))
  local gone = assert(players:claim("43", { autosave = 3600 }))
  me:set("name", "Ann")
  gone:set("name", "Bo")
  assert(store:close())
  equal(me:owned(), false)
  equal(others:owner "42", nil)
  equal({ others:get "42", others:get "43" }, { { name = "Ann" }, { name = "Bo" } })
  spec.misuse("the store is closed", function()
    me:set("name", "Cy")
  end)
  spec.misuse("the store is closed", function()
    me:save()
  end)
end)

claim_test("drained, it leaves its claims to the successor", function(store, players, open)
  local _, others = open "b2"
  local me = assert(players:claim("42", { autosave = 3600 }))
  me:set("name", "Ann")
  local token = me.token
  assert(store:drain())
  equal(others:owner("42").instance, "b1")
  fails("not_owner", nil, others:put("42", {}))
  local next_store, next_players = open "b1"
  equal(next_store:session().succeeded, true)
  equal(next_store:session().claims, 1)
  me = assert(next_players:claim("42", { wait = false }))
  equal(me.value, { name = "Ann" })
  assert(me.token > token, "the token grows with every owner")
end)

claim_test("a process that has a successor can change nothing more", function(store, players, open)
  local me = assert(players:claim "42")
  assert(me:set("name", "Ann"))
  assert(me:save())
  local _, successors = open("b1", { takeover = true })
  local fenced
  store:on("fenced", function(ev)
    fenced = ev
  end)
  await("the notice", function()
    return fenced
  end, store)
  local owned, why = me:owned()
  equal({ owned, why.reason }, { false, "fenced" })
  fails("fenced", nil, me:set("name", "Bo"))
  fails("fenced", nil, me:save())
  equal(me.value, { name = "Ann" })
  fails("fenced", nil, players:claim "43")
  local theirs = assert(successors:claim "42")
  assert(theirs:set("name", "Cy"))
  assert(theirs:save())
end)

claim_test("a fence is learned from a refused change, too", function(_, players, open)
  local me = assert(players:claim "42")
  local _, successors = open("b1", { takeover = true })
  equal(me:add("gold", 1), 1)
  fails("fenced", nil, me:save())
  equal(me:owned(), false)
  fails("fenced", nil, me:add("gold", 1))
  equal(successors:get "42", nil)
end)

claim_test("a claim needs a session", function(_, _, open)
  local _, players = open(nil)
  fails("invalid", "session", players:claim "42")
end)

claim_test("it is closed with its scope", function(_, players, open)
  local run = (loadstring or load)("local me <close> = ...; me:set('name', 'Ann')")
  if not run then
    spec.not_here "this Lua has no <close>"
  end
  local _, others = open "b2"
  run(assert(players:claim "42"))
  equal(others:owner "42", nil)
  equal(others:get "42", { name = "Ann" })
  local raise = (loadstring or load) "local me <close> = ...; me:set('name', 'Bo'); error 'left'"
  local ok = pcall(raise, assert(players:claim "42"))
  equal({ ok, others:get("42").name, others:owner "42" }, { false, "Bo", nil })
end)

claim_test("misuse is blamed on the caller", function(_, players)
  local me = assert(players:claim "42")
  local misuse = spec.misuse
  misuse("key: a string expected, got a number", function()
    players:claim(42)
  end)
  misuse("option 'wait': a number of seconds expected, got a string", function()
    players:claim("42", { wait = "long" })
  end)
  misuse("option 'autosave': a number of seconds expected, got -1", function()
    players:claim("42", { autosave = -1 })
  end)
  misuse("key: a string expected, got a number", function()
    players:owner(42)
  end)
  misuse("path: a string expected, got nil", function()
    me:set()
  end)
  misuse("value: nil cannot be stored: use stillpoint.null, or unset the place", function()
    me:set("a", nil)
  end)
  misuse("value: nil cannot be stored: use stillpoint.null, or unset the place", function()
    me:append("a", 1, nil)
  end)
  misuse("value: nil cannot be stored: use stillpoint.null", function()
    me:put(nil)
  end)
  misuse("amount: a number expected, got nil", function()
    me:add "a"
  end)
  misuse("unknown option 'minimum': use max, min", function()
    me:add("a", 1, { minimum = 0 })
  end)
  misuse("position: a number expected, got a string", function()
    me:remove_at("a", "1")
  end)
  misuse("step: a table expected, got a string", function()
    me:patch { "set" }
  end)
  misuse("seconds: a number of seconds expected, got -1", function()
    me:save(-1)
  end)
  equal(tostring(me), "stillpoint.Owned(player/42)")
end)

spec.finish()
