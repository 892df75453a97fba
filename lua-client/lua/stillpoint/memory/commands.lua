-- Commands to a store without a server: who plays the operator puts them among its events, see stillpoint.operator.

local core = require "stillpoint_core"
local failure = require "stillpoint.failure"

local commands = {}

---@class stillpoint.memory.Asked
---@field progress string[]
---@field is_done boolean
---@field value any With is_done.
---@field err {message: string, traceback: string, unknown: boolean}|nil With is_done.

-- A value as it comes out of a message.
local function sent(value)
  local bytes, message = core.encode(value)
  if not bytes then
    return nil, failure.unfit(message)
  end
  return core.decode(bytes)
end

local last_id = 0

---Asks a holder.
---@param handle stillpoint.memory.Handle
---@param ev {name: string, args: any, within: number, actor: string}
---@return stillpoint.memory.Asked|nil asked What is answered, as it comes.
---@return stillpoint.Error|nil err
function commands.ask(handle, ev)
  local args, err
  if ev.args ~= nil then
    args, err = sent(ev.args)
    if err then
      return nil, err
    end
  end
  last_id = last_id + 1
  local asked = { progress = {}, is_done = false }
  handle.asked[last_id] = asked
  handle.events:push {
    type = "command",
    id = last_id,
    name = ev.name,
    args = args,
    within = ev.within,
    actor = ev.actor,
  }
  return asked
end

---Tells a holder something.
---@param handle stillpoint.memory.Handle
---@param ev {message: string, payload: any, actor: string}
---@return true|nil ok
---@return stillpoint.Error|nil err
function commands.notify(handle, ev)
  local payload, err
  if ev.payload ~= nil then
    payload, err = sent(ev.payload)
    if err then
      return nil, err
    end
  end
  handle.events:push { type = "notice", message = ev.message, payload = payload, actor = ev.actor }
  return true
end

---The verb `answer` of the core.
function commands.answer(handle, id, kind, what, traceback, unknown)
  local asked = handle.asked[id]
  if not asked then
    return false
  elseif kind == "progress" then
    asked.progress[#asked.progress + 1] = what
    return true
  elseif kind == "error" then
    asked.err = { message = what, traceback = traceback or "", unknown = unknown or false }
  elseif what ~= nil then
    local value, err = sent(what)
    if err then
      return nil, err
    end
    asked.value = value
  end
  asked.is_done = true
  handle.asked[id] = nil
  return true
end

---The verb `awaited` of the core.
function commands.awaited(handle, id)
  return handle.asked[id] ~= nil
end

return commands
