-- The verbs of the native core on records in this process: what `stillpoint.memory()` runs on. An operation is done
-- when it is submitted (but for a claim that waits); only hearing of it waits for `poll`, as with a server.

local Feed = require "stillpoint.memory.feed"
local Queue = require "stillpoint.memory.queue"
local Records = require "stillpoint.memory.records"
local commands = require "stillpoint.memory.commands"
local core = require "stillpoint_core"
local failure = require "stillpoint.failure"
local ownership = require "stillpoint.memory.ownership"
local timers = require "stillpoint.memory.timers"

local unpack = table.unpack or rawget(_G, "unpack")

---@class stillpoint.memory.Handle
---@field records stillpoint.memory.Records
---@field results table<integer, any[]> Not yet taken.
---@field done stillpoint.memory.Queue Of operations that were not announced yet.
---@field last integer The newest operation.
---@field lowest integer The newest that a finalizer submitted; these are numbered downwards from -1.
---@field session stillpoint.memory.Session|nil
---@field succeeded boolean|nil
---@field state string|nil Of the session.
---@field events stillpoint.memory.Queue Not yet taken.
---@field asked table<integer, stillpoint.memory.Asked> Commands that are not answered to the end.
---@field watches table<integer, stillpoint.memory.Watch>
---@field watch_count integer

local memory = { now = core.now, sleep = core.sleep, answer = commands.answer, awaited = commands.awaited }

---While something may happen by itself, a poll that waits looks so often, in seconds.
local LOOK_EVERY = 0.01

---@param opts {now: nil|fun(): number, share: stillpoint.Store|nil, service: string|nil, instance: string|nil}
---@return stillpoint.memory.Handle|nil handle
---@return stillpoint.Error|nil err
function memory.new(opts)
  local records = opts.share and opts.share._link.handle.records or Records.new(opts.now or os.time)
  local handle = {
    records = records,
    results = {},
    done = Queue.new(),
    last = 0,
    lowest = 0,
    events = Queue.new(),
    asked = {},
    watches = {},
    watch_count = 0,
  }
  if opts.service then
    local ok, session, succeeded = records:exclusively(ownership.open, records, handle, opts)
    if not ok then
      return nil, session
    end
    handle.session, handle.succeeded, handle.state = session, succeeded, "attached"
    handle.code_version = opts.code_version or ""
  end
  return handle
end

function memory.close(handle)
  if handle.state == "attached" then
    handle.records:exclusively(ownership.leave, handle.records, handle.session, 0)
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
    code_version = handle.code_version,
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
    local left_for = keep_claims and linger or nil
    handle.records:exclusively(ownership.leave, handle.records, handle.session, left_for)
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
  handle.done:push(id)
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

local function begin_next(handle, deadline, op, ...)
  local id = handle.last + 1
  handle.last = id
  begin(handle, id, deadline, op, ...)
  return id
end

function memory.submit(handle, deadline, _, op, ...)
  local records = handle.records
  if not records.is_busy then
    return records:exclusively(begin_next, handle, deadline, op, ...)
  end
  -- By a finalizer, amid something else.
  local id, args = handle.lowest - 1, pack(...)
  handle.lowest = id
  records.deferred:push(function()
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
  handle.records:exclusively(try_waiting, handle.records)
  return memory.take(handle, id)
end

function memory.call(handle, deadline, op, ...)
  return memory.wait(handle, memory.submit(handle, deadline, 0, op, ...))
end

function memory.forget(handle, id)
  handle.results[id] = nil
end

-- Passes over what was taken already.
local function first_done(handle)
  local id = handle.done:peek()
  while id and not handle.results[id] do
    handle.done:pop()
    id = handle.done:peek()
  end
  return id
end

function memory.next(handle)
  return first_done(handle) and handle.done:pop()
end

function memory.event(handle)
  local ev = handle.events:pop()
  if ev and ev.type == "fenced" then
    handle.state = "fenced"
  end
  return ev
end

local function announce_watches(handle)
  for id, watch in pairs(handle.watches) do
    if not watch.announced and watch:has_news() then
      watch.announced = true
      handle.events:push { type = "watch", id = id }
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
  return (first_done(handle) and handle.done:count() or 0) + handle.events:count()
end

function memory.poll(handle, seconds)
  local ends = core.now() + seconds
  local count = handle.records:exclusively(look, handle)
  while count == 0 and core.now() < ends do
    core.sleep(math.min(ends - core.now(), LOOK_EVERY))
    count = handle.records:exclusively(look, handle)
  end
  return count
end

function memory.watch(handle, opts)
  handle.watch_count = handle.watch_count + 1
  local session = handle.session and handle.session.id
  local records = handle.records
  handle.watches[handle.watch_count] = records:exclusively(Feed.watch, records, session, opts)
  return handle.watch_count
end

function memory.watch_next(handle, id, seconds)
  local watch = handle.watches[id]
  if not watch then
    return nil, failure.new("invalid", "this watch was closed")
  end
  local records, ends = handle.records, core.now() + seconds
  local item = records:exclusively(watch.next, watch)
  while not item and core.now() < ends do
    core.sleep(math.min(ends - core.now(), LOOK_EVERY))
    records:exclusively(records.expire, records)
    item = records:exclusively(watch.next, watch)
  end
  watch.announced = item ~= nil and watch.announced
  return item or false
end

function memory.unwatch(handle, id)
  handle.watches[id] = nil
end

return memory
