-- The verbs of a collection.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, fails, test = spec.equal, spec.fails, spec.test

test("a put record can be read, and is a copy", function(store)
  local players = store:collection "player"
  local ann = { name = "Ann", bag = { gold = 3 } }
  local rev = assert(players:put("42", ann))
  ann.name = "Bob"
  equal(players:get "42", { name = "Ann", bag = { gold = 3 } })
  local record = assert(players:read "42")
  equal(record.value, { name = "Ann", bag = { gold = 3 } })
  equal({ record.rev, record.version, record.schema, record.expires_at }, { rev, 1, 0, nil })
end)

test("a missing record is an answer, not an error", function(store)
  local players = store:collection "player"
  equal({ n = select("#", players:get "none"), players:get "none" }, { n = 1 })
  equal({ players:read "none" }, {})
  equal({ players:delete "none" }, { false })
end)

test("false and null can be records", function(store)
  local flags = store:collection "flag"
  assert(flags:put("a", false))
  assert(flags:put("b", stillpoint.null))
  equal({ flags:get "a" }, { false })
  equal(flags:get "b", stillpoint.null)
end)

test("keys are any bytes, and collections are separate", function(store)
  local key = "\0\255 \n\128/."
  local a, b = store:collection "a", store:collection "b"
  assert(a:put(key, { 1 }))
  equal(a:get(key), { 1 })
  equal(b:get(key), nil)
  assert(a:put(("k"):rep(512), { 2 }))
  equal(a:get(("k"):rep(512)), { 2 })
end)

test("revisions grow, versions count the writes of a key", function(store)
  local players = store:collection "player"
  local first = assert(players:put("1", {}))
  local second = assert(players:put("1", {}))
  assert(second > first)
  equal(players:read("1").version, 2)
  equal(players:delete "1", true)
  assert(players:put("1", {}))
  equal(players:read("1").version, 1)
end)

test("a guarded put is refused with the record as it is", function(store)
  local players = store:collection "player"
  local rev = assert(players:put("1", { gold = 1 }))
  local newer = assert(players:put("1", { gold = 2 }, { if_rev = rev }))
  local err = fails("version_conflict", "^player/1: the record is at revision %d+, not %d+$", players:put("1", {}, {
    if_rev = rev,
  }))
  equal({ err.retryable, err.maybe_applied }, { true, false })
  equal(err.key, { collection = "player", key = "1" })
  equal({ err.current.value, err.current.rev, err.current.version }, { { gold = 2 }, newer, 2 })
  fails("version_conflict", "the record is at version 2, not 1", players:put("1", {}, { if_version = 1 }))
  fails("version_conflict", "the record exists", players:put("1", {}, { if_absent = true }))
  err = fails("version_conflict", "the record does not exist", players:put("2", {}, { if_exists = true }))
  equal(err.current, nil)
  equal(players:get "1", { gold = 2 })
end)

test("places in the record can be guards", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 5, name = "Ann", bag = { 1, 2 } }))
  for _, case in ipairs {
    { { "gold", "==", 5 }, true },
    { { "gold", "~=", 5 }, false },
    { { "gold", "<", 5.5 }, true },
    { { "gold", ">=", 6 }, false },
    { { "gold", "<=", 5 }, true },
    { { "gold", ">", "4" }, false },
    { { "name", ">", "Aaa" }, true },
    { { "bag[2]", "==", 2 }, true },
    { { { "bag", -1 }, "==", 2 }, true },
    { { "bag", "==", { 1, 2 } }, true },
    { { "bag[9]", "missing" }, true },
    { { "none", "exists" }, false },
    { { "none", "~=", 1 }, true },
    { { "none.deeper", "==", 1 }, false },
  } do
    local guard, holds = case[1], case[2]
    local rev, err = players:put("1", players:get "1", { where = { guard } })
    local name = tostring(guard[1]) .. " " .. guard[2]
    equal(rev ~= nil, holds, name)
    if not holds then
      equal(err.reason, "version_conflict", name)
    end
  end
end)

test("a guarded delete", function(store)
  local players = store:collection "player"
  local rev = assert(players:put("1", {}))
  fails("version_conflict", nil, players:delete("1", { if_rev = rev + 1 }))
  equal(players:delete("1", { if_rev = rev }), true)
  equal(players:get "1", nil)
end)

test("update writes what the function returns", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 10 }, { schema = 3 }))
  local doc = assert(players:update("1", function(p)
    p.gold = p.gold - 1
    return p
  end))
  equal(doc, { gold = 9 })
  equal(players:get "1", { gold = 9 })
  equal(players:read("1").schema, 3)
  assert(players:update("2", function(p)
    equal(p, nil)
    return { new = true }
  end))
  equal(players:get "2", { new = true })
end)

test("update tries again with the newer record when another writer was faster", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 0 }))
  local seen = {}
  assert(players:update("1", function(p)
    seen[#seen + 1] = p.gold
    if #seen < 3 then
      assert(players:add("1", "gold", 10))
    end
    p.gold = p.gold + 1
    return p
  end))
  equal(seen, { 0, 10, 20 })
  equal(players:get "1", { gold = 21 })
end)

test("update tries again when the record appears or disappears meanwhile", function(store)
  local players = store:collection "player"
  local seen = {}
  assert(players:update("1", function(p)
    seen[#seen + 1] = p or "missing"
    if #seen == 1 then
      assert(players:put("1", { gold = 1 }))
    elseif #seen == 2 then
      assert(players:delete "1")
    end
    return { gold = 7 }
  end))
  equal(seen, { "missing", { gold = 1 }, "missing" })
  equal(players:get "1", { gold = 7 })
end)

test("update gives up at its deadline with the conflict", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 0 }))
  local function always_slower(p)
    assert(players:add("1", "gold", 1))
    return p
  end
  local value, err = players:update("1", always_slower, { deadline = 0.05 })
  assert(value == nil and (err.reason == "version_conflict" or err.maybe_applied), tostring(err))
end)

test("update writes nothing if the function returns nil or raises", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 1 }))
  equal({ players:update("1", function() end) }, {})
  fails("aborted", "^poor$", players:update("1", function()
    return nil, "poor"
  end))
  local ok, err = pcall(players.update, players, "1", function()
    error({ code = 7 }, 0)
  end)
  equal({ ok, err }, { false, { code = 7 } })
  equal(players:read("1").version, 1)
end)

test("update leaves a lifetime as it is", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 1 }, { ttl = 1000 }))
  local before = players:read("1").expires_at
  assert(before)
  assert(players:update("1", function(p)
    p.gold = 2
    return p
  end))
  local record = players:read "1"
  equal({ record.value, record.expires_at }, { { gold = 2 }, before })
  assert(players:update("1", function(p)
    return p
  end, { ttl = 5000 }))
  assert(players:read("1").expires_at > before + 1000)
end)

test("add adds on the server, within bounds", function(store)
  local players = store:collection "player"
  assert(players:put("1", { bag = { gold = 100 } }))
  equal(players:add("1", "bag.gold", -30, { min = 0 }), 70)
  local err = fails("bound_violation", "would make it %-30, below its min of 0", players:add("1", "bag.gold", -100, {
    min = 0,
  }))
  equal({ err.retryable, err.key }, { false, { collection = "player", key = "1" } })
  fails("bound_violation", "would make it 71, above its max of 70", players:add("1", "bag.gold", 1, { max = 70 }))
  equal(players:add("1", { "bag", "silver" }, 1.5), 1.5)
  equal(players:get "1", { bag = { gold = 70, silver = 1.5 } })
  fails("version_conflict", "does not exist", players:add("2", "gold", 1))
  equal(players:add("2", "gold", 1, { create = true }), 1)
end)

test("patch answers with the revision and each step's result", function(store)
  local players = store:collection "player"
  assert(players:put("1", { log = { "a" }, tags = { "x" } }))
  local rev, err, results, record = players:patch("1", {
    { "set", "title", "Dr" },
    { "append", "log", "b", "c" },
    { "insert", "tags", "x" },
    { "insert", "tags", "y" },
    { "remove_at", "log", 1 },
    { "unset", "none" },
  }, { return_record = true })
  equal(err, nil)
  equal(results, { stillpoint.null, 3, false, true, "a", false })
  equal(record.rev, rev)
  equal(record.value, { title = "Dr", log = { "b", "c" }, tags = { "x", "y" } })
  equal(players:get "1", record.value)
end)

test("a patch that fails changes nothing", function(store)
  local players = store:collection "player"
  assert(players:put("1", { gold = 1 }))
  fails("bound_violation", "^step 2", players:patch("1", { { "set", "a", 1 }, { "add", "gold", -2, { min = 0 } } }))
  equal(players:get "1", { gold = 1 })
end)

test("a scan goes over the keys in order", function(store)
  local items = store:collection "item"
  for _, key in ipairs { "b", "a/2", "a/10", "c", "a/1", "a\255" } do
    assert(items:put(key, { key = key }))
  end
  local function keys(opts)
    local list = {}
    for key, value, meta in items:scan(opts) do
      list[#list + 1] = key
      if not (opts and opts.keys_only) then
        equal(value, { key = key })
      else
        equal(value, nil)
      end
      assert(meta.rev > 0 and meta.version == 1)
    end
    return list
  end
  equal(keys(), { "a/1", "a/10", "a/2", "a\255", "b", "c" })
  equal(keys { reverse = true }, { "c", "b", "a\255", "a/2", "a/10", "a/1" })
  equal(keys { prefix = "a/" }, { "a/1", "a/10", "a/2" })
  equal(keys { prefix = "a/", reverse = true, limit = 2 }, { "a/2", "a/10" })
  equal(keys { start = "a/2", stop = "c" }, { "a/2", "a\255", "b" })
  equal(keys { start = "a/2", stop = "" }, { "a/2", "a\255", "b", "c" })
  equal(keys { limit = 2, keys_only = true }, { "a/1", "a/10" })
  equal(keys { prefix = "x" }, {})
end)

test("a guard that compares with nothing is refused, whether or not the others hold", function(store)
  local players = store:collection "player"
  assert(players:put("1", { n = 1 }))
  for _, op in ipairs { "==", "~=", "<", "<=", ">", ">=" } do
    fails("invalid", "cannot store nil", players:put("1", {}, { if_rev = 1, where = { { "n", op } } }))
  end
  fails("invalid", "cannot store a function", players:delete("none", { where = { { "n", "==", print } } }))
  fails("invalid", nil, players:patch("1", {}, { where = { { "n", "=" } } }))
  assert(players:put("1", {}, { where = { { "n", "exists" }, { "m", "missing" } } }))
end)

test("a value that is nested too deep is too large", function(store)
  local players, deep = store:collection "player", 1
  for _ = 1, 65 do
    deep = { deep }
  end
  assert(players:put("1", {}))
  fails("too_large", "nested deeper than", players:put("2", deep))
  fails("too_large", "nested deeper than", players:patch("1", { { "set", "x", deep } }))
  fails("too_large", "nested deeper than", players:patch("1", { { "set", "x", deep[1] } }))
  fails("too_large", "nested deeper than", players:put("1", {}, { where = { { "x", "==", deep } } }))
  equal(players:get "1", {})
end)

test("an operation of too many parts is refused before any is done", function(store)
  local players = store:collection "player"
  assert(players:put("1", {}))
  local function many(count, part)
    local list = {}
    for i = 1, count do
      list[i] = part
    end
    return list
  end
  local step, guard = { "add", "n", 1 }, { "n", "missing" }
  local append = { "append", "list", (table.unpack or unpack)(many(1025, 1)) }
  fails("too_many_ops", "1025 steps of a patch", players:patch("1", many(1025, step)))
  fails("too_many_ops", "1025 values of an append", players:patch("1", { append }))
  fails("too_many_ops", "1025 guards of an operation", players:put("1", 1, { where = many(1025, guard) }))
  fails("too_many_ops", "1025 operations of a transaction", store:txn(function(tx)
    for i = 1, 1025 do
      tx:put("player", "k" .. i, i)
    end
  end))
  fails("too_many_ops", "1025 guards of a transaction", store:txn(function(tx)
    for i = 1, 1025 do
      tx:get("player", "k" .. i)
    end
    tx:put("player", "1", 1)
  end))
  fails("too_many_ops", "1025 steps of a patch", store:txn(function(tx)
    tx:put("player", "2", 2)
    tx:patch("player", "1", many(1025, step))
  end))
  equal({ players:get "1", players:get "2" }, { {} })
  assert(players:patch("1", many(1024, step), { where = many(1024, guard) }))
  equal(players:get "1", { n = 1024 })
end)

test("a scan fetches page after page", function(store)
  local items = store:collection "item"
  local batch = store:batch()
  for i = 1, 2500 do
    batch:put("item", ("%05d"):format(i), i)
  end
  local _, failed = batch:commit()
  equal(failed, 0)
  for _, reverse in ipairs { false, true } do
    local count, sum, last = 0, 0, nil
    for key, value in items:scan { reverse = reverse } do
      assert(last == nil or (key > last) ~= reverse, "out of order")
      count, sum, last = count + 1, sum + value, key
    end
    equal({ count, sum }, { 2500, 2500 * 2501 / 2 })
  end
  local page = assert(items:scan_page { limit = 10, start = "00005" })
  equal({ #page.entries, page.entries[1].key, page.entries[10].value }, { 10, "00005", 14 })
  local nearly_all = 0
  for _ in items:scan { limit = 2400, keys_only = true } do
    nearly_all = nearly_all + 1
  end
  equal(nearly_all, 2400)
  local list, at, pages = {}, nil, 0
  repeat
    page = assert(items:scan_page { limit = 900, start = at, keys_only = true })
    for _, entry in ipairs(page.entries) do
      list[#list + 1] = entry.key
    end
    at, pages = page.next_key, pages + 1
  until not at
  equal({ #list, list[901], pages >= 3 }, { 2500, "00901", true })
end)

spec.finish()
