-- Sessions and claims of a store without a server: who may write what.
--
-- A claim that has to wait is answered later, when the owner has released the record: by another coroutine, or by
-- another store of this process (`stillpoint.memory { share = store }`). While a call blocks nobody can, so then the
-- time to wait counts as over at once.

local core = require "stillpoint_core"
local refusal = require "stillpoint.memory.refusal"

---@class stillpoint.memory.Session
---@field id string
---@field service string
---@field instance string
---@field fence integer
---@field resume_token string
---@field gone_at number|nil When it ends unless a successor comes; nil: its holder is there.

---@class stillpoint.memory.Waiting
---@field handle stillpoint.memory.Handle
---@field id integer The operation.
---@field caller stillpoint.memory.Session
---@field ends number By the core's clock.
---@field args any[] Collection, key, options.

local ownership = { ops = {} }

local refuse = refusal.raise

---As the server's default, in seconds.
local TTL = 10

local READS = { get = true, batch_get = true, scan = true, owner = true, history = true }

local function name_of(session)
  return session.service .. "/" .. session.instance
end

local function session_of(records, id)
  return records:peek("@session", id)
end

local function tell(records, session, ev)
  local handle = session and records.holders[session.id]
  if handle then
    handle.events:push(ev)
  end
end

local function claim_of(records, collection, key)
  return records:peek("@claim", collection .. "\0" .. key)
end

---Refuses an operation of a session that is over, or has a successor. Reading it may.
---@param records stillpoint.memory.Records
---@param op string
function ownership.check_caller(records, op)
  local caller = records.caller
  if not caller or READS[op] then
    return
  end
  local session = session_of(records, caller.id)
  if not session then
    refuse("session_expired", ("the session %s is over: connect again"):format(caller.id))
  elseif session.fence ~= caller.fence then
    refuse("fenced", ("the session %s has a successor"):format(caller.id), nil, nil, name_of(session))
  end
end

---Refuses a write of a record that another session owns.
---@param records stillpoint.memory.Records
---@param collection string
---@param key string
function ownership.permit(records, collection, key)
  local claim = claim_of(records, collection, key)
  if claim and not (records.caller and records.caller.id == claim.session) then
    local holder = name_of(session_of(records, claim.session))
    refuse("not_owner", ("%s/%s is owned by %s"):format(collection, key, holder), collection, key, holder)
  end
end

local function grant(records, collection, key, opts)
  local id = collection .. "\0" .. key
  local claim = records:peek("@claim", id)
  if not claim or claim.session ~= records.caller.id then
    claim = { session = records.caller.id, collection = collection, key = key }
    records:write("@claim", id, claim)
  end
  local token = math.max(claim.rev, records.caller.fence)
  local stored = opts.load and records:find(collection, key)
  if stored then
    return token, core.decode(stored.bytes), stored.rev, stored.version, stored.schema, stored.expires_at
  end
  return token
end

function ownership.ops.claim(records, collection, key, opts)
  opts = opts or {}
  local caller = records.caller
  if not caller then
    refuse("invalid", "a claim belongs to a session: connect with a service and an instance", collection, key)
  end
  -- Checks the key, too.
  records:find(collection, key)
  local claim = claim_of(records, collection, key)
  if claim and claim.session ~= caller.id then
    local owner = session_of(records, claim.session)
    if not (opts.steal and opts.is_over) then
      if not opts.is_over and (opts.wait or 0) > 0 then
        tell(records, owner, {
          type = "release_wanted",
          collection = collection,
          key = key,
          wanted_by = name_of(caller),
          within = opts.wait,
          steals = opts.steal or false,
        })
      end
      local holder = name_of(owner)
      refuse("not_owner", ("%s/%s is owned by %s"):format(collection, key, holder), collection, key, holder)
    end
    tell(records, owner, { type = "claim_lost", collection = collection, key = key, taken_by = name_of(caller) })
  end
  return grant(records, collection, key, opts)
end

function ownership.ops.release(records, collection, key)
  local claim = claim_of(records, collection, key)
  if not claim or not records.caller or claim.session ~= records.caller.id then
    return false
  end
  records:write("@claim", collection .. "\0" .. key, nil)
  return true
end

function ownership.ops.owner(records, collection, key)
  local claim = claim_of(records, collection, key)
  if claim then
    local session = session_of(records, claim.session)
    return {
      service = session.service,
      instance = session.instance,
      session = session.id,
      token = math.max(claim.rev, session.fence),
    }
  end
end

-- Begins with a commit of its own.
local function open(records, handle, opts)
  local id = opts.service .. "/" .. opts.instance
  local before = session_of(records, id)
  if before and not before.gone_at and not opts.takeover and opts.resume_token ~= before.resume_token then
    local message = "the session %s has a holder: close it, or take it over with its resume token or `takeover`"
    refuse("not_owner", message:format(id), nil, nil, id)
  end
  local session = { id = id, service = opts.service, instance = opts.instance }
  session.fence = records:write("@session", id, session)
  session.resume_token = ("%032x"):format(session.fence)
  if before then
    tell(records, before, { type = "fenced", message = "it has a successor", fence = session.fence, holder = "" })
  end
  records.holders[id] = handle
  return session, before ~= nil
end

---Opens a session for a handle, or takes it over.
---@param records stillpoint.memory.Records
---@param handle stillpoint.memory.Handle
---@param opts table
---@return boolean ok
---@return stillpoint.memory.Session|stillpoint.Error session Or why not.
---@return boolean|nil succeeded
function ownership.open(records, handle, opts)
  ownership.end_lingering(records)
  return records:change(open, handle, opts)
end

local function claims_of(records, id)
  local claims = {}
  for key, claim in pairs(records.collections["@claim"] or {}) do
    if claim.session == id then
      claims[#claims + 1] = key
    end
  end
  return claims
end

---@return integer # How many records a session owns.
function ownership.count(records, id)
  return #claims_of(records, id)
end

local function end_session(records, id)
  for _, key in ipairs(claims_of(records, id)) do
    records:write("@claim", key, nil)
  end
  records:write("@session", id, nil)
end

---The holder of a session goes: at once with its claims, or leaving them to a successor for a time.
---@param records stillpoint.memory.Records
---@param session stillpoint.memory.Session
---@param linger number|nil Seconds; nil: it ends.
function ownership.leave(records, session, linger)
  local stored = session_of(records, session.id)
  if not stored or stored.fence ~= session.fence then
    return
  end
  records.holders[session.id] = nil
  if linger then
    stored.gone_at = records.now() + (linger > 0 and linger or TTL)
  else
    records:change(end_session, session.id)
  end
end

---Ends the sessions for which no successor came in time.
---@param records stillpoint.memory.Records
function ownership.end_lingering(records)
  local over = {}
  for id, session in pairs(records.collections["@session"] or {}) do
    if session.gone_at and session.gone_at <= records.now() then
      over[#over + 1] = id
    end
  end
  for _, id in ipairs(over) do
    records:change(end_session, id)
  end
end

return ownership
