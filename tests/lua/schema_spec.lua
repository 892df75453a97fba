-- Versions of data schemas, as far as it takes no migration: what is declared, what is told, what is refused.

local peers = require "peers"
local spec = require "spec"
local stillpoint = require "stillpoint"

local peer_test = peers.test
local equal, fails, misuse, test = spec.equal, spec.fails, spec.misuse, spec.test

test("the versions that a session declares are checked", function()
  misuse("option 'schema': a table expected, got 3", function()
    stillpoint.connect { "unix:./x.sock", service = "battle", instance = "b1", schema = 3 }
  end)
  misuse("option 'schema': a table of versions by collection expected, as in { player = 3 }", function()
    stillpoint.connect { "unix:./x.sock", service = "battle", instance = "b1", schema = { 3 } }
  end)
  misuse('invalid collection name "Player": use 1 to 64 of a-z 0-9 _ . -', function()
    stillpoint.connect { "unix:./x.sock", service = "battle", instance = "b1", schema = { Player = 3 } }
  end)
  local whole = "a whole number from 0 to 4294967295 expected for 'player', got "
  for got, version in pairs { ["-1"] = -1, ["1.5"] = 1.5, ["'3'"] = "3", ["a table"] = {} } do
    misuse("option 'schema': " .. whole .. got, function()
      stillpoint.connect { "unix:./x.sock", service = "battle", instance = "b1", schema = { player = version } }
    end)
  end
  local many = {}
  for i = 1, 1025 do
    many["c" .. i] = 1
  end
  misuse("option 'schema': 1025 collections: the limit is 1024", function()
    stillpoint.connect { "unix:./x.sock", service = "battle", instance = "b1", schema = many }
  end)
  misuse("option 'schema': only a session speaks a version: give 'service' and 'instance', too", function()
    stillpoint.connect { "unix:./x.sock", schema = { player = 1 } }
  end)
end)

test("stillpoint.memory checks them, too, and has any version", function()
  misuse("option 'schema': only a session speaks a version: give 'service' and 'instance', too", function()
    stillpoint.memory { schema = { player = 1 } }
  end)
  misuse("option 'schema': a table expected, got 3", function()
    stillpoint.memory { service = "battle", instance = "b1", schema = 3 }
  end)
  local versions = { player = 4294967295, shop = 0 }
  local store = assert(stillpoint.memory { service = "battle", instance = "b1", schema = versions })
  local players = store:collection "player"
  assert(players:put("1", { gold = 5 }))
  equal(players:read("1").schema, 0)
  store:close()
end)

peer_test("a session may declare the version that the store has", function(open)
  local store = assert(open("b1", { schema = { player = 0, shop = 0 } }))
  local players = store:collection "player"
  assert(players:put("1", { gold = 5 }))
  equal(players:get "1", { gold = 5 })
  equal(players:read("1").schema, 0)
end)

peer_test("a store that is behind is told with the command that helps", function(open)
  if not spec.has_server then
    spec.not_here "stillpoint.memory has any version"
  end
  local err = fails("schema_unsupported", "stillpoint migrate apply", open("b1", { schema = { player = 2 }, patience = 60 }))
  assert(err.message:find("player", 1, true), err.message)
  equal({ err.retryable, err.maybe_applied }, { false, false })
  -- It has left nothing behind.
  equal(assert(open "b1"):session().succeeded, false)
end)

test("the version that a value was written in is told wherever the record is", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 5 }, { schema = 4294967295 }))
  equal(players:read("1").schema, 4294967295)
  for _, value, meta in players:scan() do
    equal({ value, meta.schema, meta.unreadable }, { { gold = 5 }, 4294967295, nil })
  end
  equal(players:history("1")[1].schema, 4294967295)
  for ev in players:watch { snapshot = true } do
    if ev.type == "put" then
      equal({ ev.value, ev.schema, ev.unreadable }, { { gold = 5 }, 4294967295, nil })
    elseif ev.type == "synced" then
      break
    end
  end
  assert(players:patch("1", { { "add", "gold", 1 } }))
  assert(players:update("1", function(player)
    player.gold = player.gold + 1
    return player
  end))
  equal({ players:read("1").schema, players:get("1") }, { 4294967295, { gold = 7 } })
  misuse("option 'schema': a whole number from 0 to 4294967295 expected, got 4294967296", function()
    players:put("1", {}, { schema = 4294967296 })
  end)
end)

test("a write names the version that it means, be it 0, and without migrations a patch leaves the record's", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 5 }, { schema = 3 }))
  assert(players:patch("1", { { "set", "gold", 6 } }, { schema = 0, where = { { "gold", "==", 5 } } }))
  equal(players:add("1", "gold", 1, { schema = 4 }), 7)
  equal(players:read("1").schema, 3)
  assert(players:put("1", { gold = 8 }, { schema = 0 }))
  equal(players:read("1").schema, 0)
  assert(players:put("1", { gold = 8 }, { schema = 3 }))
  assert(store:txn(function(tx)
    local player = tx:get("player", "1")
    tx:put("player", "1", { gold = player.gold + 1 })
  end))
  -- What was made of a record that was read has the version of that.
  equal({ players:read("1").schema, players:get("1") }, { 3, { gold = 9 } })
  misuse("option 'schema': a whole number from 0 to 4294967295 expected, got -1", function()
    players:patch("1", { { "set", "gold", 6 } }, { schema = -1 })
  end)
end)

test("an update ends where a refusal cannot tell what the record is now", function()
  local update = require "stillpoint.update"
  -- As a refusal is told again, after a migration.
  local refusal = { reason = "version_conflict", current = { rev = 2, schema = 1, unreadable = "no gold" } }
  local link = { core = {}, deadline = 1 }
  function link.core.now()
    return 0
  end
  function link.call(_, _, verb)
    if verb == "get" then
      return true, { gold = 5 }, 1, 1, 0
    end
    return false, refusal
  end
  function link.backoff()
    return true
  end
  function link.last_error(err)
    return err
  end
  local seen = {}
  local value, err = update.run(link, "player", "1", function(player)
    seen[#seen + 1] = player and player.gold or "nothing"
    return #seen == 1 and player or nil
  end)
  equal({ value, err, seen }, { nil, refusal, { 5 } })
end)

test("every read can ask for the stored form", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 5 }, { schema = 3 }))
  equal(players:get("1", { raw = true }), { gold = 5 })
  equal(players:get("2", { raw = true }), nil)
  equal(players:get("1", { raw = false }), { gold = 5 })
  equal(players:read("1", { raw = true }).schema, 3)
  equal(store.async:get("player", "1", { raw = true }):wait(), { gold = 5 })
  equal(store.async:read("player", "1", { raw = true }):wait().schema, 3)
  local results, failed = store:batch():get("player", "1", { raw = true }):get("player", "2", { raw = true }):commit()
  equal({ failed, results[1].value, results[1].schema, results[2].value }, { 0, { gold = 5 }, 3, nil })
  local seen = 0
  for key, value, meta in players:scan { raw = true } do
    seen = seen + 1
    equal({ key, value, meta.schema }, { "1", { gold = 5 }, 3 })
  end
  equal(seen, 1)
  equal(players:scan_page({ raw = true }).entries[1].value, { gold = 5 })
  equal(store.async:scan_page("player", { raw = true }):wait().entries[1].value, { gold = 5 })
  misuse("option 'raw': a boolean expected, got 1", function()
    players:get("1", { raw = 1 })
  end)
  misuse("unknown option 'raw': use deadline, lane", function()
    players:owner("1", { raw = true })
  end)
end)

spec.finish()
