-- The native verbs as the Lua layer sees them: what they answer, the shape of errors, what is misuse. Runs on a server
-- whose address is in STILLPOINT_SPEC_URL.

local core = require "stillpoint_core"

local function connect(options)
    options.endpoints = options.endpoints or { assert(os.getenv "STILLPOINT_SPEC_URL") }
    options.namespace = options.namespace or "core-spec"
    return core.connect(options)
end

local function describe(value)
    if value == core.null then
        return "null"
    elseif type(value) == "number" then
        return ("%.14g"):format(value)
    elseif type(value) ~= "table" then
        return tostring(value)
    end
    local entries = {}
    for k, v in pairs(value) do
        entries[#entries + 1] = tostring(k) .. "=" .. describe(v)
    end
    table.sort(entries)
    return "{" .. table.concat(entries, " ") .. "}"
end

local function pack(...)
    return { n = select("#", ...), ... }
end

local function answers(expected, ...)
    local results, shown = pack(...), {}
    for i = 1, results.n do
        shown[i] = describe(results[i])
    end
    local got = table.concat(shown, " ")
    if got ~= expected then
        error(("\n  got      %s\n  expected %s"):format(got, expected), 2)
    end
end

local function fails(reason, message, ok, err)
    assert(not ok, "it succeeded")
    assert(getmetatable(err) == core.error_mt, "the error's metatable")
    assert(type(err.retryable) == "boolean" and type(err.maybe_applied) == "boolean")
    if err.reason ~= reason or not err.message:find(message, 1, true) then
        error(("\n  got      %s: %s\n  expected %s: %s"):format(err.reason, err.message, reason, message), 2)
    end
    return err
end

local function raises(message, fn, ...)
    local ok, err = pcall(fn, ...)
    assert(not ok, "nothing was raised")
    if not tostring(err):find(message, 1, true) then
        error(("\n  raised   %s\n  expected %s"):format(tostring(err), message), 2)
    end
end

local handle = assert(connect { client_name = "core_spec", deadline = 5 })
local function call(...)
    return core.call(handle, 5, ...)
end

-- One operation each.
answers("true", call("get", "p", "1"))
answers("true 1 1", call("put", "p", "1", { gold = 5, bag = { 1, 2, 3 } }, { schema = 3 }))
answers("true {bag={1=1 2=2 3=3} gold=5} 1 1 3", call("get", "p", "1"))
answers("true 2 1", call("put", "p", "2", core.null, { if_absent = true, if_exists = false, durability = "applied" }))
answers(
    "true 3 2 {1=null 2=3 3=5 4=1 5=true 6=true 7=true}",
    call("patch", "p", "1", {
        { "set", "title", "Dr" },
        { "add", "gold", -2, { min = 0, max = 9 } },
        { "append", "bag", 4, 5 },
        { "remove_at", { "bag" }, 1 },
        { "insert", "tags", "x" },
        { "remove", "tags", "x" },
        { "unset", "title" },
    })
)
local ok, rev, version, results, record = call("patch", "p", "9", {}, { create = true, return_record = true, ttl = 60 })
assert(ok and rev == 4 and version == 1 and #results == 0)
assert(next(record.value) == nil and record.rev == 4 and record.expires_at > 1e9)
answers(
    "true {1={rev=3 schema=3 value={bag={1=2 2=3 3=4 4=5} gold=3 tags={}} version=2} 2=false 3={rev=2 schema=0 value=null version=1}} 4",
    call("batch_get", { "p", "1", "p", "none", "p", "2" })
)
answers(
    "true true 5 {1={rev=2 schema=0 value=null version=1} 2=false 3={rev=5 version=1} 4={results={1=4} rev=5 version=3} 5={existed=true rev=5} 6={existed=false}}",
    call("txn", {
        { "p", "1", "rev", 3 },
        { "p", "1", "version", 2 },
        { "p", "2", "exists", true },
        { "p", "1", "field", "gold", ">=", 3 },
        { "p", "1", "field", { "nothing" }, "missing" },
    }, {
        { "get", "p", "2" },
        { "get", "p", "none" },
        { "put", "p", "3", { 1 } },
        { "patch", "p", "1", { { "add", "gold", 1 } } },
        { "delete", "p", "9" },
        { "delete", "p", "none" },
    })
)
answers("true false 5 {1=false}", call("txn", { { "p", "1", "rev", 3 } }, { { "delete", "p", "1" } }, { { "get", "p", "9" } }))
answers("true {1={key=1 rev=5 schema=3 version=3}} 2 5", call("scan", "p", { keys_only = true, limit = 1 }))
answers(
    "true {1={key=3 rev=5 schema=0 value={1=1} version=1}} nil 5",
    call("scan", "p", { start = "3", end_ = "4", prefix = "3", reverse = true })
)
answers("true true 6", call("delete", "p", "3", { if_rev = 5 }))
answers("true false", call("delete", "p", "3"))

-- Errors carry what a retry needs.
local err = fails("version_conflict", "revision 5", call("put", "p", "1", {}, { if_rev = 1 }))
answers("5 {bag={1=2 2=3 3=4 4=5} gold=4 tags={}} {collection=p key=1}", err.current.rev, err.current.value, err.key)
assert(err.retryable)
fails("version_conflict", "", call("put", "p", "1", {}, { where = { { "gold", "<", 0 } } }))
fails("bound_violation", "gold", call("patch", "p", "1", { { "add", "gold", -50, { min = 0 } } }))
fails("invalid", "the key", call("get", "p", ""))
fails("invalid", "collection", call("get", "No Such", "1"))
fails("deadline_exceeded", "", core.call(handle, 0, "get", "p", "1"))

-- Values that cannot be stored, with the record, the step and the path.
local function f() end
err = fails("invalid", "cannot store a function (at players[3].bag)", call("put", "p", "1", { players = { 1, 2, { bag = f } } }))
answers("{collection=p key=1}", err.key)
fails("invalid", "step 2: cannot store a function (at x)", call("patch", "p", "1", { { "unset", "a" }, { "set", "a", { x = f } } }))
fails("invalid", "cannot store a function", call("txn", {}, { { "put", "p", "1", f } }))
fails("too_large", "the limit is 1048576", call("put", "p", "1", ("x"):rep(1048577)))
local deep = 1
for _ = 1, 65 do
    deep = { deep }
end
fails("too_large", "nested deeper than 64 levels", call("put", "p", "1", deep))
answers("true 7 1", call("put", "p", "deep", deep[1]))

-- Paths, steps, comparisons.
for path, message in pairs {
    ["a."] = 'invalid path "a.": it ends with a dot',
    ["a..b"] = 'invalid path "a..b": a field or [number] expected at byte 3',
    ["a[x]"] = 'invalid path "a[x]": a field or [number] expected at byte 2',
    ["a]"] = "invalid path \"a]\": '.' or '[' expected at byte 2",
    ["\255"] = 'invalid path "\\255": it is not UTF-8',
} do
    fails("invalid", "step 1: " .. message, call("patch", "p", "1", { { "set", path, 1 } }))
end
fails("invalid", "segment 2 of the path", call("patch", "p", "1", { { "set", { "a", 1.5 }, 1 } }))
fails("invalid", "a path is a string or a table", call("patch", "p", "1", { { "set", 5, 1 } }))
fails("invalid", "step 1: unknown step \"sett\": use set, unset", call("patch", "p", "1", { { "sett", "a", 1 } }))
fails("invalid", "a step is a table", call("patch", "p", "1", { "set" }))
fails("invalid", 'unknown comparison "="', call("delete", "p", "1", { where = { { "a", "=", 1 } } }))

-- Many at a time: by id, in order of completion, forgotten.
local ids, count = {}, 200
for i = 1, count do
    ids[i] = assert(core.submit(handle, 5, i % 3, "put", "q", "k" .. i, { i = i }))
end
answers("true", (core.wait(handle, ids[count], 5)))
local gone = fails("unavailable", "is not one of this process", core.take(handle, ids[count]))
assert(gone.maybe_applied and not gone.retryable)
fails("unavailable", "is not one of this process", core.wait(handle, ids[count], 5))
core.forget(handle, ids[1])
local taken = 0
while taken < count - 2 do
    assert(core.poll(handle, 5) > 0, "completions come")
    for id in core.next, handle do
        assert(core.take(handle, id))
        taken = taken + 1
    end
end
answers("0 nil", core.poll(handle, 0), core.next(handle))
assert(core.fd(handle) > 0 and core.fd(handle) == core.fd(handle))
local ok_id, why = core.submit(handle, 5, 0, "put", "p", "1", f)
fails("invalid", "cannot store a function", ok_id, why)

-- What is known of the store.
local info = core.info(handle)
assert(info.connected and info.max_nesting == 64 and info.max_value_bytes == 1048576 and info.incarnation == 1)
assert(info.store_id:match("^" .. ("%x"):rep(32) .. "$") and info.revision >= 7 and info.server_version)

-- The clock.
local before = core.now()
core.sleep(0.01)
assert(core.now() - before >= 0.01)

-- Misuse raises, whatever it is called with.
raises("a connection expected", core.call, nil, 1, "get", "p", "1")
raises("a connection expected", core.info, io.stdout)
raises("a connection expected", core.poll, setmetatable({}, {}), 1)
raises('unknown operation "gett"', call, "gett", "p", "1")
raises("key: a string expected", call, "get", "p")
raises("collection: a string expected", call, "get", 5, "1")
raises('unknown option "if_revv"', call, "put", "p", "1", 1, { if_revv = 1 })
raises("if_rev: a whole number", call, "put", "p", "1", 1, { if_rev = "7" })
raises("if_rev: a whole number from 0", call, "put", "p", "1", 1, { if_rev = -1 })
raises("durability:", call, "put", "p", "1", 1, { durability = "maybe" })
raises("deadline: a number of seconds", core.call, handle, "soon", "get", "p", "1")
raises("options: a table expected", call, "put", "p", "1", 1, 5)
raises('unknown guard "revv"', call, "txn", { { "p", "1", "revv", 1 } }, {})
raises('"scan" is no operation of a transaction', call, "txn", {}, { { "scan", "p" } })
raises("only known options", connect, { namespce = "x" })
raises("service and instance, or neither", connect, { service = "spec" })
raises("version: a whole number from 0 to 2^32-1", connect, { schemas = { player = -1 } })
raises("version: a whole number from 0 to 2^32-1", connect, { schemas = { player = 4294967296 } })
raises("raw: a boolean", call, "get", "p", "1", 1)
raises("raw: a boolean", call, "scan", "p", { raw = "yes" })
raises("claim options: only wait, steal and load", call, "claim", "p", "1", { waits = 1 })
raises("timer options: only known options", call, "set_timer", "t", { delays = 1 })
raises("missed:", call, "set_timer", "t", { delay = 1, missed = "never" })
raises("due_ms: a whole number", call, "finish_timer", "t", { due_ms = "soon" })
raises("position: a string expected", call, "set_cursor", "c")
raises("once: only name and since", call, "put", "p", "1", 1, { once = { names = "x" } })
raises("transaction options: only once and durability", call, "txn", {}, {}, nil, { twice = 1 })
raises("watch options: only known options", core.watch, handle, { prefixes = "a" })
raises("watch options: a table expected", core.watch, handle)
raises("keep_claims: a boolean expected", core.end_session, handle)

-- A session, and what belongs to it.
answers("nil", core.session(handle))
fails("invalid", "session", core.end_session(handle, false, 0, 1))
fails("invalid", "session", call("claim", "p", "1"))
local owner = assert(connect {
    namespace = "core-spec-2",
    service = "spec",
    instance = "spec-1",
    ttl = 5,
    labels = { zone = "eu" },
    code_version = "1.2",
    schemas = { player = 0 },
    deadline = 5,
})
local function owner_call(...)
    return core.call(owner, 5, ...)
end
local session = core.session(owner)
answers("spec spec-1 5 false 0 0 attached", session.service, session.instance, session.ttl, session.succeeded, session.claims, session.gap, session.state)
assert(session.id:find "^spec/spec%-1/" and session.fence > 0 and session.resume_token:find "^%x+$")
local held = fails("not_owner", "spec", connect { namespace = "core-spec-2", service = "spec", instance = "spec-1", deadline = 5 })
assert(held.holder ~= "", "the holder")
fails("invalid", "resume_token: pairs of hexadecimal digits", connect { service = "spec", instance = "spec-1", resume_token = "abc" })
core.unsaved(owner, 3, 1.5)
core.unsaved(owner, 0)

-- Claims.
local other = assert(connect { namespace = "core-spec-2", deadline = 5 })
answers("true nil", core.call(other, 5, "owner", "p", "1"))
local claimed, token, missing = owner_call("claim", "p", "1", { load = true })
assert(claimed and token > session.fence and missing == nil)
answers("2", (select("#", owner_call("claim", "p", "1", { load = true }))))
assert(owner_call("put", "p", "1", { gold = 5 }, { schema = 3 }))
local _, _, gold, value_rev, value_version, schema = owner_call("claim", "p", "1", { load = true, wait = 0.5, steal = true })
answers("{gold=5} 1 3", gold, value_version, schema)
answers("5 3", select(2, owner_call("get", "p", "1", true)).gold, (select(5, owner_call("get", "p", "1", true))))
answers("{gold=5} 3", select(2, owner_call("scan", "p", { raw = true }))[1].value, select(2, owner_call("scan", "p", { raw = true }))[1].schema)
assert(value_rev > token)
local _, holder = core.call(other, 5, "owner", "p", "1")
answers("spec spec-1", holder.service, holder.instance)
assert(holder.token == token and holder.session == session.id)
local asked = assert(core.submit(other, 5, 0, "owner", "p", "1"))
local got = assert(core.submit(other, 5, 0, "get", "p", "1"))
local taken_ok, taken_owner = core.wait(other, asked, 5)
assert(taken_ok and taken_owner.service == "spec")
assert(select(2, core.wait(other, got, 5)).gold == 5)
local denied = fails("not_owner", "", core.call(other, 5, "put", "p", "1", 1))
assert(denied.holder == "spec/spec-1")
answers("true true", owner_call("release", "p", "1"))
answers("true false", owner_call("release", "p", "1"))

-- Timers.
local set, due = owner_call("set_timer", "t", { due = 2000000000.5, period = 60, payload = { 1 }, owner = { "p", "1" }, missed = "all" })
assert(set and due == 2000000000.5)
fails("version_conflict", "", owner_call("finish_timer", "t", { due_ms = 1 }))
answers("true true", owner_call("cancel_timer", "t"))
answers("true false", owner_call("cancel_timer", "t", { service = "spec" }))
fails("invalid", "payload: cannot store a function", owner_call("set_timer", "t", { delay = 1, payload = print }))
local txn_ok, _, _, txn_results = owner_call("txn", {}, {
    { "set_timer", "t", { delay = 0, payload = { level = 3 } } },
    { "cancel_timer", "u" },
}, nil, { once = { name = "set t", since = core.info(owner).revision }, durability = "applied" })
assert(txn_ok and txn_results[1].due > 1e9 and txn_results[2].existed == false)
local fired
while not fired do
    assert(core.poll(owner, 5) > 0, "the timer fires")
    fired = core.event(owner)
end
answers("timer spec t 1 {level=3} nil", fired.type, fired.service, fired.name, fired.count, fired.payload, fired.owner)
assert(math.abs(fired.due_ms / 1000 - fired.due) < 0.001)
answers("true nil", owner_call("finish_timer", "t", { service = "spec", due_ms = fired.due_ms }))
answers("nil", core.event(owner))

-- Watches.
local function next_item(watch)
    while true do
        local item = assert(core.watch_next(owner, watch, 5))
        if item.type ~= "bookmark" then
            return item
        end
    end
end
local watch = assert(core.watch(owner, { collection = "p" }))
local started = next_item(watch)
assert(started.type == "started" and type(started.position) == "string")
assert(owner_call("put", "p", "2", { gold = 1 }, { ttl = 60 }))
local item = next_item(watch)
assert(item.type == "commits" and #item.commits == 1 and #item.commits[1].events == 1)
local commit, event = item.commits[1], item.commits[1].events[1]
answers("put p 2 {gold=1} 1 0", event.type, event.collection, event.key, event.value, event.version, event.schema)
assert(event.rev == commit.rev and event.expires_at > commit.time and commit.session == session.id)
answers("true", (owner_call("set_cursor", "c", item.position)))
assert(owner_call("delete", "p", "2"))
answers("delete", next_item(watch).commits[1].events[1].type)
core.unwatch(owner, watch)
local again = assert(core.watch(owner, { collection = "p", cursor = "c", skip_own = false, keys_only = true, prefix = "2" }))
answers("started", next_item(again).type)
local deleted = next_item(again).commits[1].events[1]
answers("delete 2 nil nil", deleted.type, deleted.key, deleted.value, deleted.rev)
local whole = assert(core.watch(owner, { snapshot = true }))
answers("started", next_item(whole).type)
local begin = next_item(whole)
answers("resync_begin nil", begin.type, begin.position)
assert(begin.reason ~= "")
local data = next_item(whole)
answers("resync_data 1 put 1 {gold=5}", data.type, #data.events, data.events[1].type, data.events[1].key, data.events[1].value)
local resync_end = next_item(whole)
assert(resync_end.type == "resync_end" and resync_end.rev > 0 and resync_end.position)
core.unwatch(owner, whole)
fails("invalid", "", core.watch_next(owner, whole, 0))

-- The end of a session, and one that is taken over.
local successor = assert(connect { namespace = "core-spec-2", service = "spec", instance = "spec-1", resume_token = session.resume_token, deadline = 5 })
assert(core.session(successor).succeeded and core.session(successor).fence > session.fence)
local fenced
repeat
    assert(core.poll(owner, 5) > 0, "the session is fenced")
    fenced = core.event(owner)
until fenced and fenced.type == "fenced"
assert(fenced.fence == core.session(successor).fence and fenced.message ~= "")
answers("fenced", core.session(owner).state)
fails("fenced", "", owner_call("put", "p", "1", 1))
answers("true", core.end_session(successor, true, 30, 5))
answers("closed", core.session(successor).state)
core.close(successor, 5)
core.close(owner, 5)
core.close(other, 5)

-- Connecting fails with an error, not by raising.
fails("invalid", "namespace", connect { namespace = "No Such" })
fails("unavailable", "/nowhere/stillpoint.sock", connect { endpoints = { "unix:/nowhere/stillpoint.sock" } })

-- Results are pushed whole while finalizers call the core.
local function with_finalizer(fn)
    if rawget(_G, "newproxy") then
        getmetatable(newproxy(true)).__gc = fn
    else
        setmetatable({}, { __gc = fn })
    end
end
for i = 1, 300 do
    with_finalizer(function()
        core.forget(handle, ids[1])
        core.decode(core.encode { "finalizer" })
    end)
    local key = "k" .. (i % count + 1)
    local found, value = call("get", "q", key)
    assert(found and "k" .. value.i == key)
end

-- And while a debug hook does.
debug.sethook(function()
    core.encode { "hook" }
end, "c")
for _ = 1, 20 do
    local found, value = call("get", "q", "k7")
    assert(found and value.i == 7)
end
debug.sethook()

-- After close nothing works, and closing twice is no harm.
answers("true", core.close(handle, 5))
fails("unavailable", "closed", call("get", "p", "1"))
fails("unavailable", "closed", core.submit(handle, 1, 0, "get", "p", "1"))
core.close(handle, 0)

print(("core: passed under %s"):format(core.lua_version))
