-- A process of a fleet, as (`battle`, its name), whose program is in files and is reloaded with the kit. It works all the
-- time. Where it was told to, it waits for a line, and says so before.
--
--     LUA worker.lua URL NAME ROOT

local stillpoint = require "stillpoint"

local url, name, root = ...

---Seconds between two pieces of work.
local PACE = 0.01

local function say(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.flush()
end

-- Places at which it waits, the next time that it comes there.
local armed = {}

---For the modules of the program.
_G.process = name
function _G.wait_at(place)
  if not armed[place] then
    return
  end
  armed[place] = nil
  say("at", place)
  if io.read "*l" == "fail" then
    error("told to fail at " .. place)
  end
end

require("stillpoint.reload").setup { roots = { root .. "/?.lua" } }
local rules = require "rules"

local store = assert(stillpoint.connect {
  url,
  namespace = "world1",
  service = "battle",
  instance = name,
  -- Whoever had the name before may not be missed yet.
  session_wait = 60,
  patience = 60,
  deadline = 60,
})

local done, failed, leaving = 0, {}, false

store:on("drain", function()
  leaving = true
end)

store:go(function()
  local work = store:collection "work"
  while not leaving do
    local ran, version = pcall(rules.version)
    local ok, err = ran, version
    if ran then
      ok, err = work:put(name, { n = done, version = version })
    end
    if ok then
      done = done + 1
    else
      failed[#failed + 1] = tostring(err)
    end
    if not leaving then
      store:sleep(PACE)
    end
  end
end)

store:command("arm", function(place)
  armed[place] = true
  return true
end)

store:command("hold", function()
  armed.hold = true
  _G.wait_at "hold"
  return true
end)

store:command("load", function()
  return require("extra").version()
end)

store:command("work", function()
  return { version = rules.version(), done = done, failed = table.concat(failed, "; ") }
end)

say "ready"
store:run()
say "ended"
