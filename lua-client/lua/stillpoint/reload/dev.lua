-- Development mode: what `stillpoint lua --watch FILE` runs.
--
-- Modules that the script requires are reloaded in place when their files change; the script itself, and whatever ended
-- with an error, is run again from its start, in a fresh Lua state (by the program, when `run` returns). The looks are
-- taken where a script waits anyway: while it sleeps, and when a store polls.

local Link = require "stillpoint.link"
local core = require "stillpoint_core"
local program = require "stillpoint.reload.program"
local reload = require "stillpoint.reload"
local stillpoint = require "stillpoint"

local dev = {}

---How often the files are looked at, in seconds.
local EVERY = 0.25

-- Raised through the script to end it.
local AGAIN = setmetatable({}, {
  __tostring = function()
    return "the script has changed: it is run again"
  end,
})

local function say(text)
  io.stderr:write("[watch] ", (text:gsub("\n(.)", "\n[watch] %1")), "\n")
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then
    file:close()
  end
  return text or false
end

-- Adds the files whose change may help against an error: those it names, also as missing.
local function add_named(text, seen)
  for _, pattern in ipairs { "no file '([^']+%.lua)'", "([^%s:'\"%[%]]+%.lua)[#%d]*:%d+:" } do
    for path in text:gmatch(pattern) do
      if seen[path] == nil then
        seen[path] = read(path)
      end
    end
  end
end

-- Blocks until one of the files has another content than was seen, twice the same.
local function wait_for_change(seen)
  while true do
    core.sleep(EVERY)
    for path, before in pairs(seen) do
      local now = read(path)
      if now ~= before then
        repeat
          local last = now
          core.sleep(EVERY / 2)
          now = read(path)
        until now == last
        return
      end
    end
  end
end

-- Calls `look` where the script waits; gives what puts an end to that.
local function hook(look)
  local sleep, connect, memory = Link.sleep, stillpoint.connect, stillpoint.memory
  local stores = {}
  Link.sleep = function(link, seconds)
    local ends = core.now() + seconds
    repeat
      look()
      sleep(link, math.max(0, math.min(EVERY, ends - core.now())))
    until core.now() >= ends
  end
  local ticker = {
    _tick = function()
      look()
      return EVERY
    end,
  }
  local function watched(store, ...)
    if store then
      store._link.on_poll[ticker] = true
      stores[#stores + 1] = store
    end
    return store, ...
  end
  stillpoint.connect = function(...)
    return watched(connect(...))
  end
  stillpoint.memory = function(...)
    return watched(memory(...))
  end
  return function()
    Link.sleep = sleep
    for _, store in ipairs(stores) do
      -- The script that is run again is its successor. A store that is closed already says so by raising.
      pcall(store.close, store, { keep_claims = true })
    end
  end
end

---Runs a script and watches over it. Returns when it is to be run again in a fresh state.
---@param script string Path of its file.
---@param ... string Its arguments.
function dev.run(script, ...)
  local text = read(script)
  local folder = script:match "^(.*)/" or "."
  reload.setup { roots = { folder .. "/?.lua", folder .. "/?/init.lua" } }
  local watch = reload.watch { every = EVERY, now = core.now, log = say }
  local checked, again = core.now(), false
  local unhook = hook(function()
    if not again and core.now() >= checked + EVERY then
      checked = core.now()
      local now = read(script)
      again = now and now ~= text
    end
    if again then
      error(AGAIN, 0)
    end
    watch:poll()
  end)

  local chunk, syntax = loadfile(script)
  local ok, err = false, syntax
  if chunk then
    local args = { ... }
    ok, err = xpcall(function()
      chunk((table.unpack or unpack)(args))
    end, function(raised)
      return raised == AGAIN and raised or debug.traceback(tostring(raised), 2)
    end)
  end
  unhook()
  if err == AGAIN or again then
    return say(tostring(AGAIN))
  end
  if not ok and err:match "^[^\n]*interrupted\n" then
    error(err, 0)
  end
  -- As they were run, since they may have changed again by now.
  local seen = { [script] = text }
  for _, unit in pairs(program.units) do
    seen[unit.path] = unit.source
  end
  if not ok then
    add_named(err, seen)
  end
  say(ok and script .. " has ended; it is run again when a file changes" or err .. "\nit is run again when a file changes")
  wait_for_change(seen)
end

return dev
