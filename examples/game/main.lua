-- A worker: makes players trade. `stillpoint lua main.lua NAME [SEED [TRADES]]`
--
-- Any number of workers run at once, each with a name of its own; after TRADES trades it makes way for its successor.
-- Kill it at any moment, start it again: what it was about to do lies on its desk, a document that it owns, and whoever
-- succeeds it goes on with that. So every trade is brought to an end, and happens once.
--
-- Its code can be replaced while it works, too: between two trades it hears what the operator asks, e.g. a reload, or to
-- make way for a successor of another version.

require("stillpoint.reload").setup { roots = { (arg[0]:match "^(.*)/" or ".") .. "/?.lua" } }

local desk = require "desk"
local journal = require "journal"
local now = require("stillpoint_core").now
local shop = require "shop"
local trade = require "trade"
local world = require "world"

local name = arg[1] or error("usage: stillpoint lua main.lua NAME [SEED [TRADES]]", 0)
local seed = tonumber(arg[2]) or os.time()
local trades_max = tonumber(arg[3]) or math.huge

---How often we look whether we shall stop, in trades.
local LOOK_EVERY = 20

-- Refusals of which the rules of the game are the cause. Every other error would be a failure of the store.
local REFUSALS = {
  aborted = true, -- by ourselves: too poor, nothing to sell
  bound_violation = true, -- the shop's till is empty or full
  version_conflict = true, -- somebody else bought the item
}

local store = world.connect_worker(name)
local note = journal.open(name)
local session = store:session()
note("life", session.fence, session.succeeded)
local mine = desk.claim(store, name)
math.randomseed(seed * 1000 + mine.value.number)

local start = assert(store:collection("world"):get "start")
local keys = {}
for key in pairs(start.players) do
  keys[#keys + 1] = key
end

local function somebody()
  return keys[math.random(#keys)]
end

---Two players, not the same.
local function two_of_them()
  local one, other = somebody(), somebody()
  while one == other do
    other = somebody()
  end
  return one, other
end

---Thinks of a trade of a random kind; nil: the shop is sold out.
local function think()
  local dice = math.random(10)
  if dice == 1 then
    return { kind = "buys", seller = somebody() }
  elseif dice == 2 then
    local item, err = shop.look(store, math.random)
    if err then
      error(err, 0)
    end
    return item and { kind = "sells", buyer = somebody(), item = item }
  end
  local buyer, seller = two_of_them()
  return { kind = "between", buyer = buyer, seller = seller }
end

local kinds = {}

function kinds.buys(job)
  return shop.buys(store, job.id, job.seller, math.random, job.once)
end

function kinds.sells(job)
  return shop.sells(store, job.id, job.buyer, job.item, job.once)
end

function kinds.between(job)
  return trade.between(store, job.id, job.buyer, job.seller, math.random, job.once)
end

local function work(job)
  local ok, err = kinds[job.kind](job)
  if ok then
    note("done", job.id, now())
  elseif REFUSALS[err.reason] then
    note("refused", job.id, now(), err.reason)
  else
    error(err, 0)
  end
end

---Whether the operator wants us to stop: `stillpoint put --namespace game world/stop true`.
local function shall_stop()
  local stop, err = store:collection("world"):get "stop"
  if err then
    error(err, 0)
  end
  return stop
end

-- What lies on the desk was begun by the one before us. How far he came, we need not know: it happens once.
if mine.value.job then
  note("again", mine.value.job.id)
  work(mine.value.job)
end

-- `stillpoint restart` and `stillpoint drain` want us to end. Now is not the moment, but we see to it.
local leaves = false
store:on("drain", function()
  leaves = true
  return true
end)

local number = 0
while number < trades_max and not leaves and (number % LOOK_EVERY ~= 0 or not shall_stop()) do
  number = number + 1
  local job = think()
  if job then
    desk.lay(store, mine, job)
    note("start", job.id)
    work(job)
  end
  -- Here nothing is half done, so here the operator is heard.
  store:poll(0)
end
desk.clear(mine)
if number < trades_max and not leaves then
  assert(store:close())
else
  -- A planned restart: the session is left to a successor, and all claims with it.
  note "leave"
  assert(store:close { keep_claims = true, linger = 30 })
end
