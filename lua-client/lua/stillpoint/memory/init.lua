-- The verbs of the native core on records in this process: what `stillpoint.memory()` runs on. An operation is done
-- when it is submitted (but for a claim that waits); only hearing of it waits for `poll`, as with a server.

local Feed = require "stillpoint.memory.feed"
local Records = require "stillpoint.memory.records"
local core = require "stillpoint_core"
local failure = require "stillpoint.failure"
local ownership = require "stillpoint.memory.ownership"
local timers = require "stillpoint.memory.timers"

local unpack = table.unpack or rawget(_G, "unpack")

---@class stillpoint.memory.Handle
---@field records stillpoint.memory.Records
---@field results table<integer, any[]> Not yet taken.
---@field done integer[] Operations that were not announced yet.
---@field last integer The newest operation.
---@field session stillpoint.memory.Session|nil
---@field succeeded boolean|nil
---@field state string|nil Of the session.
---@field events table[] Not yet taken.
---@field watches table<integer, stillpoint.memory.Watch>
---@field watch_count integer

local memory = { now = core.now, sleep = core.sleep }

---While something may happen by itself, a poll that waits looks so often, in seconds.
local LOOK_EVERY = 0.01

---@param opts {now: nil|fun(): number, share: stillpoint.Store|nil, service: string|nil, instance: string|nil}
---@return stillpoint.memory.Handle|nil handle
---@return stillpoint.Error|nil err
function memory.new(opts)
  local records = opts.share and opts.share._link.handle.records or Records.new(opts.now or os.time)
  local handle = { records = records, results = {}, done = {}, last = 0, events = {}, watches = {}, watch_count = 0 }
  if opts.service then
    local ok, session, succeeded = ownership.open(records, handle, opts)
    if not ok then
      return nil, session
    end
    handle.session, handle.succeeded, handle.state = session, succeeded, "attached"
  end
  return handle
end

function memory.close(handle)
  if handle.state == "attached" then
    ownership.leave(handle.records, handle.session, 0)
    handle.state = "closed"
  end
  return true
end

function memory.info(handle)
  return {
    server_version = "memory",
    revision = handle.records.revision,
    incarnation = 1,
    store_id = ("0"):rep(32),
    connected = true,
  }
end

function memory.session(handle)
  local session = handle.session
  if not session then
    return nil
  end
  return {
    id = session.id,
    service = session.service,
    instance = session.instance,
    fence = session.fence,
    resume_token = session.resume_token,
    ttl = 10,
    succeeded = handle.succeeded,
    claims = ownership.count(handle.records, session.id),
    gap = 0,
    state = handle.state,
  }
end

function memory.end_session(handle, keep_claims, linger)
  if handle.state == "attached" then
    ownership.leave(handle.records, handle.session, keep_claims and linger or nil)
    handle.state = "closed"
  end
  return true
end

-- There is no operator to tell.
function memory.unsaved() end

-- There is nothing to wait for.
function memory.fd()
  return nil
end

local function pack(...)
  return { n = select("#", ...), ... }
end

local function finish(handle, id, result)
  handle.results[id] = result
  handle.done[#handle.done + 1] = id
end

-- Tries again what waits: the owner may have released, the time may be over.
local function try_waiting(records)
  local waiting = records.waiting
  records.waiting = {}
  for _, claim in ipairs(waiting) do
    local collection, key, opts = unpack(claim.args, 1, 3)
    local is_over = core.now() >= claim.ends
    local request = { steal = opts.steal, load = opts.load, is_over = true }
    request.steal = opts.steal and is_over
    local result = pack(records:execute(claim.handle.session, 1, "claim", collection, key, request))
    if result[1] or is_over or result[2].reason ~= "not_owner" then
      finish(claim.handle, claim.id, result)
    else
      table.insert(records.waiting, claim)
    end
  end
end

local function begin(handle, id, deadline, op, ...)
  local records = handle.records
  local result = pack(records:execute(handle.session, deadline, op, ...))
  if op == "claim" and not result[1] and result[2].reason == "not_owner" then
    local opts = select(3, ...) or {}
    local ends = core.now() + math.min(opts.wait or 0, deadline)
    table.insert(records.waiting, { handle = handle, id = id, ends = ends, args = { (...), (select(2, ...)), opts } })
  else
    finish(handle, id, result)
  end
  if #records.waiting > 0 then
    try_waiting(records)
  end
end

function memory.submit(handle, deadline, _, op, ...)
  handle.last = handle.last + 1
  local id, records = handle.last, handle.records
  if not records.is_busy then
    begin(handle, id, deadline, op, ...)
    return id
  end
  -- By a finalizer, within another operation.
  local args = pack(...)
  table.insert(records.deferred, function()
    begin(handle, id, deadline, op, unpack(args, 1, args.n))
  end)
  return id
end

function memory.take(handle, id)
  local result = handle.results[id]
  if result then
    handle.results[id] = nil
    return unpack(result, 1, result.n)
  end
end

-- Nobody can release anything while this blocks.
function memory.wait(handle, id)
  for _, claim in ipairs(handle.records.waiting) do
    if claim.handle == handle and claim.id == id then
      claim.ends = core.now()
    end
  end
  try_waiting(handle.records)
  return memory.take(handle, id)
end

function memory.call(handle, deadline, op, ...)
  return memory.wait(handle, memory.submit(handle, deadline, 0, op, ...))
end

function memory.forget(handle, id)
  handle.results[id] = nil
end

-- Drops from the list what was taken already.
local function first_done(handle)
  local done = handle.done
  while done[1] and not handle.results[done[1]] do
    table.remove(done, 1)
  end
  return done[1]
end

function memory.next(handle)
  local id = first_done(handle)
  if id then
    return table.remove(handle.done, 1)
  end
end

function memory.event(handle)
  local ev = table.remove(handle.events, 1)
  if ev and ev.type == "fenced" then
    handle.state = "fenced"
  end
  return ev
end

local function announce_watches(handle)
  for id, watch in pairs(handle.watches) do
    if not watch.announced and watch:has_news() then
      watch.announced = true
      handle.events[#handle.events + 1] = { type = "watch", id = id }
    end
  end
end

-- How many things there are to be heard of.
local function look(handle)
  local records = handle.records
  records:expire()
  try_waiting(records)
  if handle.state == "attached" then
    timers.fire(records, handle)
  end
  announce_watches(handle)
  return (first_done(handle) and #handle.done or 0) + #handle.events
end

function memory.poll(handle, seconds)
  local ends = core.now() + seconds
  local count = look(handle)
  while count == 0 and core.now() < ends do
    core.sleep(math.min(ends - core.now(), LOOK_EVERY))
    count = look(handle)
  end
  return count
end

function memory.watch(handle, opts)
  handle.watch_count = handle.watch_count + 1
  local session = handle.session and handle.session.id
  handle.watches[handle.watch_count] = Feed.watch(handle.records, session, opts)
  return handle.watch_count
end

function memory.watch_next(handle, id, seconds)
  local watch = handle.watches[id]
  if not watch then
    return nil, failure.new("invalid", "this watch was closed")
  end
  local ends = core.now() + seconds
  local item = watch:next()
  while not item and core.now() < ends do
    core.sleep(math.min(ends - core.now(), LOOK_EVERY))
    handle.records:expire()
    item = watch:next()
  end
  watch.announced = item ~= nil and watch.announced
  return item or false
end

function memory.unwatch(handle, id)
  handle.watches[id] = nil
end

return memory
