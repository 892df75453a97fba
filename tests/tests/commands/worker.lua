-- A process that operators have commands for, as (`battle`, its name). Says what happens to it, a line at a time.
--
--     LUA worker.lua URL NAME [ROOTS]      with ROOTS, its program is there, and it uses the reload kit
--     LUA worker.lua URL NAME loop LOOP    driven by luv, cqueues or copas

local stillpoint = require "stillpoint"

local url, name, roots, loop = ...

local function say(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.flush()
end

local store = assert(stillpoint.connect {
  url,
  namespace = "world1",
  service = "battle",
  instance = name,
  code_version = "1.4.2",
  -- All of the fleet start at once.
  patience = 30,
  deadline = 30,
})

store:command("add", function(args, ctx)
  ctx:progress "adding"
  assert(store:collection("log"):put(name, args))
  return args[1] + args[2]
end)

store:command("break", function()
  error "it broke"
end)

store:command("hang", function()
  say "hangs"
  while true do -- luacheck: ignore 512
    math.sqrt(2)
  end
end)

store:on("notice", function(ev)
  say("notice", ev.message, ev.payload.at)
end)

if loop then
  local found, library = pcall(require, loop)
  if not found then
    say "no loop"
    store:close()
    return
  end
  say "has loop"
  local function drive()
    store:use(require("stillpoint.driver." .. loop))
  end
  if loop == "cqueues" then
    -- It watches a descriptor only from within a controller.
    local controller = library.new()
    controller:wrap(drive)
    assert(controller:loop())
  elseif loop == "luv" then
    drive()
    library.run()
  else
    drive()
    -- The loop of an old copas never ends by itself.
    repeat
      library.step(0.05)
    until tostring(store):find "closed"
  end
  say(tostring(store))
  return
end

if roots then
  require("stillpoint.reload").setup { roots = { roots .. "/?.lua" } }
  local rules = require "rules"
  store:command("price", function()
    return rules.price()
  end)
end

say "ready"
store:run()
say "ended"
