-- Timers of a store without a server: due by its clock, they fire when an instance of their service is polled.

local core = require "stillpoint_core"
local refusal = require "stillpoint.memory.refusal"

local timers = { ops = {} }

local refuse = refusal.raise

-- The collection's key of a timer.
local function id_of(records, name, opts)
  local service = opts and opts.service or records.caller and records.caller.service
  if not service then
    refuse("invalid", "a timer belongs to a service: connect with one, or name it")
  elseif name == "" or #name > 512 then
    refuse("invalid", ("the timer's name has %d bytes: use 1 to 512"):format(#name))
  end
  return service .. "\0" .. name, service
end

function timers.ops.set_timer(records, name, opts)
  opts = opts or {}
  local id, service = id_of(records, name, opts)
  local due_ms = math.floor((opts.due or records.now() + (opts.delay or 0)) * 1000)
  records:write("@timer", id, {
    service = service,
    name = name,
    due_ms = due_ms,
    period_ms = math.floor((opts.period or 0) * 1000),
    payload = opts.payload ~= nil and refusal.encode(opts.payload) or nil,
    owner = opts.owner and { opts.owner[1], opts.owner[2] },
    missed = opts.missed or "once",
  })
  return due_ms / 1000
end

function timers.ops.cancel_timer(records, name, opts)
  local id = id_of(records, name, opts)
  if not records:peek("@timer", id) then
    return false
  end
  records:write("@timer", id, nil)
  return true
end

local function with_due(timer, due_ms)
  local changed = {}
  for field, value in pairs(timer) do
    changed[field] = value
  end
  changed.due_ms, changed.told_to, changed.count = due_ms, nil, nil
  return changed
end

function timers.ops.finish_timer(records, name, opts)
  local id = id_of(records, name, opts)
  local timer = records:peek("@timer", id)
  if not timer or timer.due_ms ~= opts.due_ms then
    refuse("version_conflict", ("this firing of the timer %s was consumed, or the timer set anew"):format(name))
  elseif timer.period_ms == 0 then
    records:write("@timer", id, nil)
    return nil
  end
  local next_due = timer.due_ms + timer.period_ms * (timer.count or 1)
  records:write("@timer", id, with_due(timer, next_due))
  return next_due / 1000
end

local function skip(records, id, timer, periods)
  records:write("@timer", id, with_due(timer, timer.due_ms + timer.period_ms * periods))
end

-- Whether a timer fires at this session.
local function is_for(records, timer, session)
  if timer.service ~= session.service then
    return false
  elseif timer.owner then
    local claim = records:peek("@claim", timer.owner[1] .. "\0" .. timer.owner[2])
    return claim ~= nil and claim.session == session.id
  end
  local told = timer.told_to and records.holders[timer.told_to.id]
  return not (told and told.session == timer.told_to)
end

local function fire(records, handle, id, timer)
  local late = math.floor(records.now() * 1000) - timer.due_ms
  local missed = timer.period_ms > 0 and math.floor(late / timer.period_ms) or 0
  if missed > 0 and timer.missed == "skip" then
    records:change(skip, id, timer, missed + 1)
    return
  end
  timer.told_to = handle.session
  timer.count = timer.missed == "once" and missed + 1 or 1
  handle.events:push {
    type = "timer",
    service = timer.service,
    name = timer.name,
    due = timer.due_ms / 1000,
    due_ms = timer.due_ms,
    count = timer.count,
    payload = timer.payload and core.decode(timer.payload),
    owner = timer.owner and { timer.owner[1], timer.owner[2] },
  }
end

---Has the timers that are due fire at a handle, each firing once as long as its session lives.
---@param records stillpoint.memory.Records
---@param handle stillpoint.memory.Handle
function timers.fire(records, handle)
  local session, now_ms = handle.session, records.now() * 1000
  local due = {}
  for id, timer in pairs(session and records.collections["@timer"] or {}) do
    if timer.due_ms <= now_ms and timer.told_to ~= session and is_for(records, timer, session) then
      due[#due + 1] = id
    end
  end
  table.sort(due)
  for _, id in ipairs(due) do
    fire(records, handle, id, records:peek("@timer", id))
  end
end

return timers
