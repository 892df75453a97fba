-- What operators may ask of a process: its own commands, and those that every process has.

local operator = require "stillpoint.operator"
local spec = require "spec"
local stillpoint = require "stillpoint"

local equal, fails, misuse = spec.equal, spec.fails, spec.misuse

-- A test with a process that has a session.
local function test(name, fn)
  spec.test(name, function()
    local store = stillpoint.memory { service = "battle", instance = "b1", code_version = "1.4.2" }
    local ok, err = xpcall(function()
      fn(store)
    end, debug.traceback)
    store:close()
    assert(ok, err)
  end)
end

test("a command gets its arguments, and what it returns is the answer", function(store)
  local heard
  store:command("kick", function(args, ctx)
    heard = { args, ctx.name, ctx.actor, ctx.within }
    return { kicked = args.player, left = stillpoint.array {} }
  end)
  local answer = assert(operator.command(store, "kick", { player = "42" }, { actor = "ann", seconds = 3 }))
  equal(answer, { kicked = "42", left = {} })
  equal(heard, { { player = "42" }, "kick", "ann", 3 })
end)

test("a command without arguments gets nil, and may answer nothing", function(store)
  local count
  store:command("reset", function(...)
    count = select("#", ...) > 0 and (...) == nil
  end)
  local answer, err = operator.command(store, "reset")
  equal({ answer, err, count }, { nil, nil, true })
end)

test("a command that fails says why: nil and a text, or an error of the store", function(store)
  store:command("poor", function()
    return nil, "not enough gold"
  end)
  store:command("no", function()
    return false, "no"
  end)
  store:command("off", function()
    return false
  end)
  store:command("put", function()
    return store:collection("player"):put("", 1)
  end)
  local err = fails("command_failed", "^not enough gold$", operator.command(store, "poor"))
  equal({ err.traceback, err.unknown }, { "", false })
  fails("command_failed", "^no$", operator.command(store, "no"))
  equal(operator.command(store, "off"), false)
  fails("command_failed", "^invalid: .*key", operator.command(store, "put"))
end)

local function deep()
  error("it broke", 0)
end

test("a command that raises is an error with where it was, and the program goes on", function(store)
  store:command("break", function()
    deep()
    return true
  end)
  store:command("throw", function()
    error { code = 7 }
  end)
  local err = fails("command_failed", "^it broke$", operator.command(store, "break"))
  assert(err.traceback:find "command_spec.lua", err.traceback)
  fails("command_failed", "^table: ", operator.command(store, "throw"))
  assert(operator.command(store, "ping"))
end)

test("an error that cannot be made a text is told all the same, and the program goes on", function(store)
  local no_text = setmetatable({}, {
    __tostring = function()
      error "no text"
    end,
  })
  store:command("throw", function()
    error(no_text)
  end)
  store:command("refuse", function()
    return nil, no_text
  end)
  store:command("nothing", function()
    error(nil)
  end)
  fails("command_failed", "^a table was raised that has no text$", operator.command(store, "throw"))
  fails("command_failed", "^a table was raised that has no text$", operator.command(store, "refuse"))
  fails("command_failed", "^nil$", operator.command(store, "nothing"))
  assert(operator.command(store, "ping"))
end)

test("an unknown command is told with those that there are", function(store)
  store:command("kick", function() end)
  local err = fails("command_failed", "^no command 'kik' here: there are .*kick.*ping", operator.command(store, "kik"))
  equal(err.unknown, true)
  store:command("kick", nil)
  err = fails("command_failed", "^no command 'kick' here", operator.command(store, "kick"))
  assert(not err.message:find ", kick,", err.message)
end)

test("an answer that cannot be sent is an error that names the place", function(store)
  store:command("bad", function()
    return { players = { { bag = print } } }
  end)
  fails("command_failed", "^the answer of 'bad' cannot be sent: .*players%[1%]%.bag", operator.command(store, "bad"))
end)

test("a command tells how far it is, and calls of the store in it wait without holding up others", function(store)
  local order, said = {}, {}
  store:command("count", function(_, ctx)
    for i = 1, 2 do
      store:sleep(0.01)
      assert(store:collection("log"):put(tostring(i), i))
      ctx:progress(i .. " done")
    end
    order[#order + 1] = "command"
    return 2
  end)
  store:go(function()
    order[#order + 1] = "other"
  end)
  local answer = operator.command(store, "count", nil, {
    on_progress = function(text)
      said[#said + 1] = text
    end,
  })
  equal(answer, 2)
  equal(said, { "1 done", "2 done" })
  equal(order, { "other", "command" })
  equal(store:collection("log"):get "2", 2)
end)

test("commands are run one after another, in order", function(store)
  local order = {}
  store:command("slow", function(n)
    order[#order + 1] = "begin " .. n
    store:sleep(0.02)
    order[#order + 1] = "end " .. n
  end)
  local commands = require "stillpoint.memory.commands"
  for n = 1, 2 do
    commands.ask(store._link.handle, { name = "slow", args = n, within = 5, actor = "ann" })
  end
  operator.command(store, "slow", 3)
  equal(order, { "begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3" })
end)

test("a command whose asker is gone before it was begun is not run", function(store)
  local runs = 0
  store:command("late", function()
    runs = runs + 1
  end)
  local commands = require "stillpoint.memory.commands"
  local handle = store._link.handle
  commands.ask(handle, { name = "late", within = 5, actor = "ann" })
  -- As when the connection is lost.
  handle.asked = {}
  operator.command(store, "late")
  equal(runs, 1)
end)

test("who does not answer in time has not answered", function(store)
  store:command("hang", function()
    store:sleep(60)
  end)
  fails("deadline_exceeded", "no answer to 'hang' within 0.05 s", operator.command(store, "hang", nil, { seconds = 0.05 }))
end)

test("a notice is told to its handler", function(store)
  local heard
  store:on("notice", function(ev)
    heard = ev
  end)
  assert(operator.notice(store, "back at nine", { at = 9 }, { actor = "ann" }))
  store:poll()
  equal({ heard.type, heard.message, heard.payload, heard.actor }, { "notice", "back at nine", { at = 9 }, "ann" })
end)

test("every process says what it is and how it is", function(store)
  local core = require "stillpoint_core"
  local ping = assert(operator.command(store, "ping"))
  equal(ping.lua, core.lua_version)
  assert(math.abs(ping.time - os.time()) < 5)
  assert(store:collection("player"):claim "1")
  local info = assert(operator.command(store, "info"))
  equal({ info.service, info.instance, info.code_version, info.fence }, {
    "battle",
    "b1",
    "1.4.2",
    store:session().fence,
  })
  equal({ info.pid, info.claims, info.unsaved, info.reload }, { core.pid(), 1, 0, nil })
  assert(info.uptime >= 0 and #info.commands >= 13)
  local memory = assert(operator.command(store, "memory"))
  assert(memory.kb > 0 and memory.modules > 10)
end)

test("gc gives back what nobody has", function(store)
  collectgarbage "stop"
  local function waste()
    local heap = {}
    for i = 1, 1e5 do
      heap[i] = {}
    end
    return #heap
  end
  equal(waste(), 1e5)
  local kb = assert(operator.command(store, "gc"))
  collectgarbage "restart"
  assert(kb.after_kb + 1000 < kb.before_kb, ("%g to %g"):format(kb.before_kb, kb.after_kb))
end)

test("run goes on while commands may come, and ends when the process is drained", function(store)
  store:command("kick", function() end)
  local other = stillpoint.memory { share = store, service = "battle", instance = "b2" }
  local doc = assert(store:collection("player"):claim("1", { autosave = 60 }))
  assert(doc:set("gold", 5))
  local commands = require "stillpoint.memory.commands"
  local asked = commands.ask(store._link.handle, { name = "drain", within = 5, actor = "ann" })
  store:run()
  equal({ asked.is_done, asked.err }, { true, nil })
  misuse("the store is closed", function()
    store:poll()
  end)
  equal(other:collection("player"):get "1", { gold = 5 })
  local successor = stillpoint.memory { share = other, service = "battle", instance = "b1" }
  equal({ successor:session().succeeded, successor:session().claims }, { true, 1 })
  successor:close()
  other:close()
end)

test("run does not wait for commands where none were given", function(store)
  store:run()
end)

test("a program with a loop of its own is told of draining first, and may see to it itself", function(store)
  local heard = {}
  store:on("drain", function(ev)
    heard[#heard + 1] = ev.actor
    return #heard == 1
  end)
  assert(operator.command(store, "drain", nil, { actor = "ann" }))
  assert(store:session().state == "attached")
  assert(operator.command(store, "drain"))
  equal(heard, { "ann", "test" })
  misuse("the store is closed", function()
    store:poll()
  end)
end)

test("a handler of draining that raises keeps the process, and the operator is told", function(store)
  store:on("drain", function()
    error("a battle is on", 0)
  end)
  fails("command_failed", "^a battle is on", operator.command(store, "drain"))
  equal(store:session().state, "attached")
end)

test("a command of the program cannot take a built-in name, and has a name as all have", function(store)
  misuse("the command 'ping' is built in: choose another name", function()
    store:command("ping", print)
  end)
  misuse("the command 'reload.commit' is built in: choose another name", function()
    store:command("reload.commit", print)
  end)
  misuse("invalid command name \"Kick\": use 1 to 64 of a-z 0-9 _ . -", function()
    store:command("Kick", print)
  end)
  misuse("command: a function expected, got a string", function()
    store:command("kick", "print")
  end)
end)

test("who plays the operator needs a process that stands for one", function(store)
  misuse("store: it has no session, and commands come only to sessions: give it a service and an instance", function()
    operator.command(stillpoint.memory(), "ping")
  end)
  misuse("store: an open store of stillpoint.memory expected", function()
    operator.notice({}, "hello")
  end)
  fails("invalid", "function", operator.command(store, "ping", print))
end)

spec.finish()
