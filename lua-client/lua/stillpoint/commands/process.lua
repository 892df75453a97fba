-- The built-in commands about the process itself.

local closing = require "stillpoint.closing"
local core = require "stillpoint_core"

local process = { commands = {} }

local commands = process.commands

-- Optional: programs need not use it.
local function reload_kit()
  return package.loaded["stillpoint.reload"]
end

function commands.ping()
  return { lua = core.lua_version, time = os.time() }
end

-- How many things a table has.
local function count(list)
  local n = 0
  for _ in pairs(list) do
    n = n + 1
  end
  return n
end

function commands.info(_, _, link)
  local session = link.core.session(link.handle) or {}
  local kit = reload_kit()
  local status = kit and kit.status()
  return {
    pid = core.pid(),
    lua = core.lua_version,
    client = core.version,
    service = session.service,
    instance = session.instance,
    fence = session.fence,
    code_version = session.code_version,
    uptime = link.core.now() - link.opened,
    claims = session.claims,
    documents = count(link.documents),
    unsaved = link.ledger and link.ledger.documents or 0,
    waiting = link.pending,
    watches = count(link.watches),
    commands = link.commands:names(),
    reload = status and { generation = status.generation, program = status.program, stale = status.stale },
  }
end

function commands.gc()
  local before = collectgarbage "count"
  -- The second round takes what the finalizers of the first let go.
  collectgarbage()
  collectgarbage()
  return { before_kb = before, after_kb = collectgarbage "count" }
end

function commands.memory(_, _, link)
  return {
    kb = collectgarbage "count",
    documents = count(link.documents),
    futures = count(link.futures),
    watches = count(link.watches),
    modules = count(package.loaded),
  }
end

-- Saves first, so that the answer is true: what cannot be saved is an error, and the process goes on.
function commands.drain(_, ctx, link)
  local handled = link.events:handle("drain", { type = "drain", actor = ctx.actor })
  if handled == true then
    return { drains = "the program" }
  end
  local ends = link.core.now() + link.deadline
  local ok, err = closing.save(link, link.deadline)
  if not ok then
    return nil, err
  end
  ctx:_answer { drains = "the client" }
  ok, err = closing.close(link, math.max(ends - link.core.now(), 0), { keep_claims = true })
  if not ok then
    -- Out of the program's `poll` or `run`: the operator has been told.
    error("draining: " .. tostring(err), 0)
  end
end

return process
