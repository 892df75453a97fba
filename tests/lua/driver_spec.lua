-- Calls in the coroutines of an event loop wait without blocking it.

local spec = require "spec"

local equal, test = spec.equal, spec.test

-- Per loop: how tasks are started, and how the loop is run until they are done. A loop that watches on for nothing is
-- stopped, and the run fails.
local loops = {}

---Seconds.
local STUCK_AFTER = 10

function loops.luv(uv)
  return function(fn)
    local co = coroutine.create(fn)
    assert(coroutine.resume(co))
  end, function()
    local guard, stuck = uv.new_timer(), false
    guard:start(STUCK_AFTER * 1000, 0, function()
      stuck = true
      uv.stop()
    end)
    guard:unref()
    uv.run()
    guard:stop()
    guard:close()
    assert(not stuck, "the loop does not end")
  end
end

function loops.cqueues(cqueues)
  local controller = cqueues.new()
  return function(fn)
    controller:wrap(fn)
  end, function()
    assert(controller:loop(STUCK_AFTER))
    assert(controller:empty(), "the loop does not end")
  end
end

function loops.copas(copas)
  return copas.addthread, function(is_done)
    while not is_done() do
      copas.step(1)
    end
  end
end

-- For which Lua versions Debian has the loop: there its absence is a failure, if all has to be tested.
local PACKAGED = {
  luv = { ["Lua 5.1"] = true, ["Lua 5.2"] = true, ["Lua 5.3"] = true, ["Lua 5.4"] = true },
  cqueues = { ["Lua 5.1"] = true, ["Lua 5.2"] = true, ["Lua 5.3"] = true, ["Lua 5.4"] = true },
  copas = { ["Lua 5.1"] = true, ["Lua 5.2"] = true },
}

local function with(name, store)
  if not spec.has_server then
    spec.not_here "memory() has no descriptor"
  end
  local found, library = pcall(require, name)
  if not found then
    local why = name .. " is not installed for " .. _VERSION
    if PACKAGED[name][_VERSION] then
      spec.skip(why)
    end
    spec.not_here(why)
  end
  store:use(require("stillpoint.driver." .. name))
  return loops[name](library)
end

for name in pairs(loops) do
  test(name .. ": a hundred tasks wait side by side", function(store)
    local spawn, run = with(name, store)
    local players = store:collection "player"
    local done, running, most = 0, 0, 0
    for i = 1, 100 do
      spawn(function()
        running = running + 1
        most = math.max(most, running)
        local key = "k" .. i
        assert(players:put(key, { i = 0 }))
        for _ = 1, 5 do
          assert(players:update(key, function(p)
            p.i = p.i + 1
            return p
          end))
        end
        assert(store:txn(function(tx)
          local p = tx:get("player", key)
          p.done = true
          tx:put("player", key, p)
        end))
        equal(players:get(key), { i = 5, done = true })
        running, done = running - 1, done + 1
      end)
    end
    run(function()
      return done == 100
    end)
    equal({ done, most > 1 }, { 100, true })
  end)

  test(name .. ": futures are waited for, and callbacks run", function(store)
    local spawn, run = with(name, store)
    local heard, waited
    spawn(function()
      store.async:put("player", "1", { gold = 1 }):on_done(function(rev)
        heard = rev
      end)
      local future = store.async:update("player", "1", function(p)
        p.gold = p.gold + 1
        return p
      end)
      waited = future:wait()
    end)
    run(function()
      return heard and waited
    end)
    assert(heard)
    equal(waited, { gold = 2 })
  end)

  test(name .. ": the loop ends if answers were taken by calls that blocked", function(store)
    local spawn, run = with(name, store)
    local heard = {}
    local function hear(value)
      heard[#heard + 1] = value
    end
    local outside = store.async:put("player", "1", "outside")
    spawn(function()
      local future = store.async:put("player", "2", "inside"):on_done(hear)
      outside:on_done(hear)
      repeat
        local done = future:done()
      until done
    end)
    outside:wait()
    run(function()
      return #heard == 2
    end)
    equal(#heard, 2)
    store.async:get("player", "2"):on_done(hear):wait()
    equal(heard[3], "inside")
    run(function()
      return true
    end)
  end)

  test(name .. ": handlers and callbacks are run by the loop, which a session keeps going", function()
    if not spec.has_server then
      spec.not_here "memory() has no descriptor"
    end
    local store = spec.store { service = "battle", instance = "b1" }
    local spawn, run = with(name, store)
    local log = store:collection "log"
    local seen, closed = {}, false
    local function note(what)
      assert(log:put(what, true))
      seen[what] = true
      if seen.timer and seen.watch and not closed then
        closed = true
        assert(store:close())
      end
    end
    store:on("timer", function()
      note "timer"
    end)
    spawn(function()
      assert(store:collection("player"):watch({}, function()
        note "watch"
      end))
      assert(store:timer("t", { after = 0.05 }))
      assert(store:collection("player"):put("1", 1))
    end)
    run(function()
      return closed
    end)
    equal({ seen.timer, seen.watch, closed }, { true, true, true })
  end)

  test(name .. ": a task waits for events while others run", function(store)
    local spawn, run = with(name, store)
    local players = store:collection "player"
    local keys, done = {}, false
    spawn(function()
      local watch = players:watch()
      spawn(function()
        for i = 1, 3 do
          assert(players:put(tostring(i), i))
        end
      end)
      for i = 1, 3 do
        keys[i] = assert(watch:next(STUCK_AFTER)).key
      end
      watch:close()
      done = true
    end)
    run(function()
      return done
    end)
    equal(keys, { "1", "2", "3" })
  end)

  test(name .. ": calls outside of tasks block as ever", function(store)
    with(name, store)
    assert(store:collection("player"):put("1", 1))
    equal(store:collection("player"):get "1", 1)
    spec.misuse("this store is driven by " .. name .. ": run that loop", function()
      store:run()
    end)
  end)
end

spec.finish()
