-- A trader of the succession storm: gives gold to other traders until it is killed, as (`trader`, its name).
--
--     stillpoint lua trader.lua URL NAME TRADERS SEED PATIENCE [settle]
--
-- Before a trade is asked for, it lies on the trader's desk, a document that the trader owns, with a token that names
-- this one write for ever. A successor gets the desk with the session, and repeats what lies there: it cannot know how
-- that ended, and need not. With `settle` it does only that, and ends.
--
-- The journal is what it prints, a line at a time, so that a kill takes no word back. Times are by the machine's clock.
--
--     begin AT                  the script runs
--     open FENCE SUCCEEDED      it holds the session, and the desk
--     start ID                  from now on the trade may happen
--     done ID AT                the store said that it has
--     refused ID                the purse was too small; it has not, up to now

local now = require("stillpoint_core").now

local function say(...)
  assert(io.write(table.concat({ ... }, " "), "\n"))
  assert(io.flush())
end

say("begin", ("%.9f"):format(now()))

local stillpoint = require "stillpoint"

local url, name, traders, seed, patience, settle = ...
traders, patience = tonumber(traders), tonumber(patience)
math.randomseed(tonumber(seed))

local store = assert(stillpoint.connect {
  url,
  namespace = "storm",
  service = "trader",
  instance = name,
  -- The store may be told of a kill after the successor has begun, or be gone for a moment itself.
  session_wait = patience,
  patience = patience,
  deadline = patience,
  ttl = 600,
})
local desk = assert(store:collection("desk"):claim(name))
local session = store:session()
say("open", session.fence, tostring(session.succeeded))

local function trade(job)
  say("start", job.id)
  local ok, err = store:txn(function(tx)
    tx:patch("purse", name, { { "add", "gold", -job.gold, { min = 0 } } })
    tx:patch("purse", job.to, { { "add", "gold", job.gold } })
    -- Without a guard: that it happened twice would be seen by the record's version.
    tx:put("trade", job.id, { from = name, to = job.to, gold = job.gold })
  end, { once = job.once })
  if ok then
    say("done", job.id, ("%.9f"):format(now()))
  elseif err.reason == "bound_violation" then
    say("refused", job.id)
  else
    error(err, 0)
  end
end

-- Lays a new trade on the desk, durably.
local function think()
  local number = desk.value.number + 1
  local to
  repeat
    to = "t" .. math.random(traders)
  until to ~= name
  local id = name .. "-" .. number
  local job = { id = id, to = to, gold = math.random(30), once = assert(store:once(id)) }
  assert(desk:patch { { "set", "number", number }, { "set", "job", job } })
  assert(desk:save())
  return job
end

if desk.value == nil then
  assert(desk:put { number = 0 })
  assert(desk:save())
end
if desk.value.job then
  trade(desk.value.job)
end
while not settle do
  trade(think())
end
assert(store:close())
