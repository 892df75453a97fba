-- Bad input: what is misuse and raised at the caller, what is refused with `nil, err`, and the exact words for each.

local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, misuse, test = spec.equal, spec.misuse, spec.test

test("wrong types of arguments are misuse", function(store)
  local players = store:collection "player"
  misuse("key: a string expected, got a number", function()
    players:get(42)
  end)
  misuse("key: a string expected, got nil (called with '.' in place of ':'?)", function()
    players.get(players)
  end)
  misuse("key: a string expected, got a table", function()
    players:put({}, 1)
  end)
  misuse("value: nil cannot be stored: use stillpoint.null, or delete the record", function()
    players:put("1", nil)
  end)
  misuse("fn: a function expected, got nil", function()
    players:update "1"
  end)
  misuse("steps: a table expected, got a string", function()
    players:patch("1", "set")
  end)
  misuse("path: a string expected, got a number", function()
    players:add("1", 5, 1)
  end)
  misuse("amount: a number expected, got nil", function()
    players:add("1", "gold")
  end)
  misuse("options: a table expected, got a number", function()
    players:get("1", 5)
  end)
  misuse("options: a table expected, got a string", function()
    players:scan "prefix"
  end)
  misuse("fn: a function expected, got a table", function()
    store:txn {}
  end)
  misuse("fn: a function expected, got nil", function()
    store:go()
  end)
  misuse("seconds: a number of seconds expected, got a string", function()
    store:poll "1"
  end)
  misuse("seconds: a number of seconds expected, got -1", function()
    store:sleep(-1)
  end)
  misuse("callback: a function expected, got nil", function()
    store.async:get("player", "1"):on_done()
  end)
  misuse("key: a string expected, got a boolean", function()
    store.async:get("player", true)
  end)
  misuse("key: a string expected, got a number", function()
    store:batch():delete("player", 1)
  end)
  store:txn(function(tx)
    misuse("key: a string expected, got a number", function()
      tx:get("player", 1)
    end)
    misuse("value: nil cannot be stored: use stillpoint.null, or delete the record", function()
      tx:put("player", "1")
    end)
    tx:abort()
  end)
end)

test("unknown options are misuse, and the known ones are named", function(store)
  local players = store:collection "player"
  local write = "deadline, durability, if_absent, if_exists, if_rev, if_version, lane, once"
  misuse("unknown option 'if_ref': use " .. write .. ", schema, ttl, where", function()
    players:put("1", {}, { if_ref = 1 })
  end)
  misuse("unknown option 'ttl': use " .. write .. ", where", function()
    players:delete("1", { ttl = 1 })
  end)
  misuse("unknown option 'returns': use create, " .. write .. ", return_record, schema, ttl, where", function()
    players:patch("1", {}, { returns = true })
  end)
  misuse("unknown option '1': use deadline, lane, raw", function()
    players:get("1", { 5 })
  end)
  misuse("unknown option 'end': use deadline, keys_only, lane, limit, prefix, raw, reverse, start, stop", function()
    players:scan { ["end"] = "x" }
  end)
  misuse("unknown option 'retries': use deadline, once", function()
    store:txn(print, { retries = 5 })
  end)
  misuse("unknown option 'if_rev': use deadline, durability, ttl", function()
    players:update("1", print, { if_rev = 1 })
  end)
  local known = "client_name, code_version, deadline, driver, instance, labels, namespace, patience, resume_token, "
    .. "schema, service, session_wait, takeover, ttl"
  misuse("unknown option 'url': use " .. known, function()
    stillpoint.connect { url = "unix:./x.sock" }
  end)
end)

test("options of the wrong kind are misuse", function(store)
  local players = store:collection "player"
  misuse("option 'if_rev': a whole number, 0 or more expected, got '7'", function()
    players:put("1", {}, { if_rev = "7" })
  end)
  misuse("option 'if_version': a whole number, 0 or more expected, got 1.5", function()
    players:put("1", {}, { if_version = 1.5 })
  end)
  misuse("option 'if_absent': a boolean expected, got 1", function()
    players:put("1", {}, { if_absent = 1 })
  end)
  misuse("option 'ttl': a number of seconds above 0 expected, got -1", function()
    players:put("1", {}, { ttl = -1 })
  end)
  misuse("option 'deadline': a number of seconds above 0 expected, got a table", function()
    players:get("1", { deadline = {} })
  end)
  misuse("option 'durability': 'applied' or 'synced' expected, got 'none'", function()
    players:put("1", {}, { durability = "none" })
  end)
  misuse("option 'where': a list of { path, op, value } expected, got a table", function()
    players:put("1", {}, { where = { "gold", "==", 1 } })
  end)
  misuse("unknown option 'minimum': use max, min", function()
    players:patch("1", { { "add", "gold", 1, { minimum = 0 } } })
  end)
  misuse("step: a table expected, got a string", function()
    players:patch("1", { "set", "gold", 1 })
  end)
  misuse("option 'limit': a whole number above 0 expected, got 0", function()
    players:scan { limit = 0 }
  end)
  misuse("option 'deadline': a number of seconds above 0 expected, got '2'", function()
    stillpoint.connect { "unix:./x.sock", deadline = "2" }
  end)
  misuse("option 'now': a function expected, got 5", function()
    stillpoint.memory { now = 5 }
  end)
end)

test("bad names of collections and namespaces are misuse", function(store)
  local rule = ": use 1 to 64 of a-z 0-9 _ . -"
  misuse('invalid collection name "Player"' .. rule, function()
    store:collection "Player"
  end)
  misuse("the collection is empty: name one", function()
    store:collection ""
  end)
  misuse('invalid collection name "' .. ("x"):rep(65) .. '"' .. rule, function()
    store:collection(("x"):rep(65))
  end)
  misuse("collection: a string expected, got nil", function()
    store:collection()
  end)
  misuse('invalid collection name "a b"' .. rule, function()
    store.async:get("a b", "1")
  end)
  misuse('invalid collection name "a/b"' .. rule, function()
    store:batch():put("a/b", "1", {})
  end)
  store:txn(function(tx)
    misuse('invalid collection name "A"' .. rule, function()
      tx:get("A", "1")
    end)
    tx:abort()
  end)
  misuse('invalid namespace name "World 1"' .. rule, function()
    stillpoint.connect { "unix:./x.sock", namespace = "World 1" }
  end)
end)

test("keys may come from anywhere, so a bad one is refused, not raised", function(store)
  local players = store:collection "player"
  spec.fails("invalid", "^the key is empty: use 1 to 512 bytes$", players:get "")
  spec.fails("invalid", "^the key has 513 bytes: use 1 to 512$", players:put(("k"):rep(513), {}))
end)

test("values that cannot be stored are refused with the path", function(store)
  local players = store:collection "player"
  local cycle = { bag = {} }
  cycle.bag.owner = cycle
  local deep = {}
  for _ = 1, 64 do
    deep = { a = deep }
  end
  for _, case in ipairs {
    { { bag = { { use = print } } }, "cannot store a function (at bag[1].use)" },
    { coroutine.create(function() end), "cannot store a coroutine" },
    { { file = io.stdout }, "(at file)" },
    { { 1, 2, nil, 4 }, "hole" },
    { { 1, 2, name = "x" }, nil },
    { { bag = { [10] = "a" } }, "(at bag)" },
    { { a = { [0 / 1 + 0.5] = 1 } }, "(at a)" },
    { cycle, "(at bag.owner" },
    { { a = setmetatable({}, { __index = {} }) }, "(at a)" },
    { deep, "nested deeper than 64 levels (at a.a" },
  } do
    local value, text = case[1], case[2]
    local rev, err = players:put("1", value)
    equal(rev, nil, text)
    assert(err.reason == "invalid" or err.reason == "too_large", tostring(err))
    if text then
      assert(err.message:find(text, 1, true), tostring(err))
    end
    local bytes, message = stillpoint.encode(value)
    equal({ bytes, message }, { nil, err.message })
  end
  equal(players:get "1", nil)
end)

test("a value that is too large is refused with its size and the limit", function(store)
  local players = store:collection "player"
  assert(players:put("1", ("x"):rep(1024 * 1024 - 5)))
  local err = spec.fails("too_large", "the limit is 1048576", players:put("1", ("x"):rep(1024 * 1024)))
  assert(err.message:find "value has 1048581 bytes", tostring(err))
end)

test("an unreachable server is an error with a remedy, not a crash", function()
  local store, err = stillpoint.connect { "unix:./no-such-directory/stillpoint.sock", deadline = 0.2 }
  spec.fails("unavailable", "no%-such%-directory/stillpoint.sock", store, err)
  equal({ err.retryable, err.maybe_applied }, { true, false })
end)

test("an endpoint that is none is refused", function()
  local store, err = stillpoint.connect { "ftp://example.org", deadline = 0.2 }
  spec.fails("invalid", "ftp://example.org", store, err)
end)

test("a deadline that cannot be met is an error", function(store)
  if not spec.has_server then
    spec.not_here "memory() answers at once"
  end
  local value, err = store:collection("player"):get("1", { deadline = 1e-9 })
  spec.fails("deadline_exceeded", nil, value, err)
end)

test("marks and encoding check their arguments", function()
  misuse("array: a table expected, got a string", function()
    stillpoint.array "x"
  end)
  misuse("map: the table has a metatable of its own", function()
    stillpoint.map(setmetatable({}, {}))
  end)
  misuse("int64: a whole number from -2^63 to 2^64-1 expected, got 1.5", function()
    stillpoint.int64(1.5)
  end)
  misuse("int64: a whole number from -2^63 to 2^64-1 expected, got 18446744073709551616", function()
    stillpoint.int64 "18446744073709551616"
  end)
  misuse("ext: a type from -128 to 127 expected, got 200", function()
    stillpoint.ext(200, "")
  end)
  misuse("ext data: a string expected, got nil", function()
    stillpoint.ext(1)
  end)
  misuse("bytes: a string expected, got a number", function()
    stillpoint.decode(5)
  end)
end)

test("errors work in .., tostring and error", function(store)
  local _, err = store:collection("player"):get ""
  equal(tostring(err), "invalid: the key is empty: use 1 to 512 bytes")
  equal("failed: " .. err, "failed: invalid: the key is empty: use 1 to 512 bytes")
  equal(err .. "!", "invalid: the key is empty: use 1 to 512 bytes!")
  local ok, raised = pcall(error, err)
  equal({ ok, raised == err }, { false, true })
  ok, raised = pcall(function()
    for _ in store:collection("player"):scan { start = ("x"):rep(10), deadline = 1e-9 } do
      error "no record is there"
    end
  end)
  assert(ok or raised.reason == "deadline_exceeded", tostring(raised))
end)

spec.finish()
