-- The history of a record.

local peers = require "peers"
local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, fails, test = spec.equal, spec.fails, spec.test

-- The changes of an entry as lines.
local function lines(entry)
  local list = {}
  for i, change in ipairs(entry.changes) do
    local function text(value)
      return value == nil and "nothing" or tostring(value)
    end
    list[i] = ("%s: %s -> %s"):format(change.path, text(change.before), text(change.after))
  end
  return list
end

local function revs(history)
  local list = {}
  for i, entry in ipairs(history) do
    list[i] = entry.rev
  end
  return list
end

test("a history tells each commit that wrote the record, newest first, with what it changed", function(store)
  local players = store:collection "player"
  local first = assert(players:put("42", { name = "Ann", gold = 100, bag = { "rope" } }))
  assert(players:put("43", { name = "Bob" }))
  local second = assert(players:patch("42", { { "add", "gold", -50 }, { "append", "bag", "sword" } }))
  assert(players:delete "42")
  local last = assert(players:put("42", 7))

  local history = assert(players:history "42")
  equal(revs(history), { last, last - 1, second, first })
  equal({ history.complete, history.next_rev }, { true })
  equal(history[1].value, 7)
  equal({ history[1].version, history[1].deleted, history[1].by }, { 1, false, "client" })
  equal({ history[2].value, history[2].version, history[2].deleted }, { nil, nil, true })
  equal(history[3].value, { name = "Ann", gold = 50, bag = { "rope", "sword" } })
  equal({ history[3].version, history[3].records }, { 2, 1 })
  equal(lines(history[1]), { ": nothing -> 7" })
  equal(history[2].changes[1].before.gold, 50)
  equal(lines(history[3]), { "bag[2]: nothing -> sword", "gold: 100 -> 50" })
  equal(history[4].changes, { { path = "", after = { name = "Ann", gold = 100, bag = { "rope" } } } })
  for i, entry in ipairs(history) do
    equal(entry.who, nil)
    equal(type(entry.time), "number")
    assert(entry.time >= (history[i + 1] or entry).time)
  end
  assert(history.since <= history[4].time and math.abs(os.time() - history.since) < 3600)
end)

test("a history is bounded, and goes on where it ended", function(store)
  local players = store:collection "player"
  local written = {}
  for i = 1, 50 do
    written[51 - i] = assert(players:put("42", { n = i }))
  end
  local newest = assert(players:history "42")
  equal(#newest, 20)
  equal(revs(newest), { (table.unpack or rawget(_G, "unpack"))(written, 1, 20) })
  equal({ newest.complete, newest.next_rev }, { false, written[20] })
  equal(lines(newest[20]), { "n: 30 -> 31" })
  local found, before = {}, nil
  repeat
    local page = assert(players:history("42", { limit = 7, before = before }))
    for _, entry in ipairs(page) do
      found[#found + 1] = entry.rev
    end
    before = page.next_rev
  until not before
  equal(found, written)
  local all = assert(players:history("42", { limit = 50 }))
  equal({ #all, all.complete, all.next_rev }, { 50, true })
end)

test("a record that was never written has an empty history", function(store)
  local history = assert(store:collection("player"):history "42")
  equal({ #history, history.complete, history.next_rev }, { 0, true })
end)

peers.test("a history names the process that wrote, also when its session is over", function(open)
  local reader, battle = assert(open()), assert(open "battle-3")
  assert(battle:collection("player"):put("42", 1))
  local expected = { service = "battle", instance = "battle-3", session = battle:session().id }
  equal(assert(reader:collection("player"):history "42")[1].who, expected)
  assert(battle:close())
  equal(assert(reader:collection("player"):history "42")[1].who, expected)
end)

test("a history reads its own writes", function(store)
  local players = store:collection "player"
  for i = 1, 100 do
    local rev = assert(players:put("42", i))
    equal(assert(players:history("42", { limit = 1 }))[1].rev, rev)
  end
end)

test("values of every kind are told as they were written", function(store)
  local items = store:collection "item"
  local odd = stillpoint.map { [10] = "a" }
  local values = { false, stillpoint.null, odd, stillpoint.array {}, 1.5, { ["a b"] = { 1, 2 } } }
  for _, value in ipairs(values) do
    assert(items:put("x", value))
  end
  local history = assert(items:history "x")
  for i, value in ipairs(values) do
    equal(history[#values + 1 - i].value, value)
  end
  assert(items:patch("x", { { "remove_at", { "a b", 1 }, 1 } }) == nil)
  assert(items:patch("x", { { "remove_at", { "a b" }, 1 } }))
  equal(lines(assert(items:history("x", { limit = 1 }))[1]), { '["a b"][1]: 1 -> nothing' })
end)

test("misuse is raised, and a bad key is refused", function(store)
  local players = store:collection "player"
  spec.misuse("key: a string expected, got nil (called with '.' in place of ':'?)", function()
    players:history()
  end)
  spec.misuse("option 'limit': a whole number above 0 expected, got 0", function()
    players:history("42", { limit = 0 })
  end)
  spec.misuse("unknown option 'after': use before, deadline, limit", function()
    players:history("42", { after = 1 })
  end)
  fails("invalid", "key", players:history "")
end)

test("a history waits in a coroutine while others run", function(store)
  if not spec.has_server then
    spec.not_here "it has no descriptor"
  end
  local players = store:collection "player"
  assert(players:put("42", 1))
  local count = 0
  for _ = 1, 5 do
    store:go(function()
      equal(#assert(players:history "42"), 1)
      count = count + 1
    end)
  end
  store:run()
  equal(count, 5)
end)

spec.finish()
