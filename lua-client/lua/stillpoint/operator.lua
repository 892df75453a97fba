-- Plays the operator, for unit tests of what operators may ask of a program:
--
--     local operator = require "stillpoint.operator"
--     local store = stillpoint.memory { service = "battle", instance = "battle-1" }
--     store:command("kick", kick)
--     local answer, err = operator.command(store, "kick", { player = "42" })
--
-- On a server that is `stillpoint command kick --service battle`, from outside.

local check = require "stillpoint.check"
local commands = require "stillpoint.memory.commands"
local failure = require "stillpoint.failure"
local memory = require "stillpoint.memory"

local operator = {}

---@class stillpoint.OperatorOptions
---@field actor string|nil Who asks; "test" unless given.
---@field seconds number|nil How long to wait for the answer; 5 unless given.
---@field on_progress nil|fun(text: string) Called with each word of progress, before the answer is returned.
local COMMAND = { actor = "string", seconds = "seconds", on_progress = "function" }

---The longest wait for the next thing to happen, in seconds.
local STEP = 0.01

-- The store's handle. Called directly by public functions only.
local function holder(store)
  local link = type(store) == "table" and store._link
  if not link or link.core ~= memory or not link.handle then
    error("store: an open store of stillpoint.memory expected", 3)
  elseif not link.handle.session then
    error("store: it has no session, and commands come only to sessions: give it a service and an instance", 3)
  end
  return link.handle
end

local function gone(name)
  return failure.new("unavailable", ("the process is gone, and did not answer '%s'"):format(name))
end

---Runs a command in the process that a store stands for: polls the store until it is answered.
---@param store stillpoint.Store Of `stillpoint.memory`, with a session.
---@param name string
---@param args? any
---@param opts? stillpoint.OperatorOptions
---@return any answer
---@return nil|stillpoint.Error err With `traceback` and `unknown` if the command failed, of the reason `command_failed`.
function operator.command(store, name, args, opts)
  local handle = holder(store)
  check.name("command", name, 3)
  opts = opts or {}
  check.options(opts, COMMAND, 3)
  local seconds = opts.seconds or 5
  local ends = memory.now() + seconds
  local asked, err = commands.ask(handle, { name = name, args = args, within = seconds, actor = opts.actor or "test" })
  if not asked then
    return nil, err
  end
  while not asked.is_done do
    if not store._link.handle then
      return nil, gone(name)
    elseif memory.now() >= ends then
      return nil, failure.new("deadline_exceeded", ("no answer to '%s' within %g s"):format(name, seconds))
    end
    store:poll(STEP)
  end
  for _, text in ipairs(opts.on_progress and asked.progress or {}) do
    opts.on_progress(text)
  end
  if asked.err then
    err = failure.new("command_failed", asked.err.message)
    err.traceback, err.unknown = asked.err.traceback, asked.err.unknown
    return nil, err
  end
  return asked.value
end

---@class stillpoint.NoticeOptions
---@field actor string|nil Who tells it; "test" unless given.
local NOTICE = { actor = "string" }

---Tells the process something. It hears it when it polls.
---@param store stillpoint.Store Of `stillpoint.memory`, with a session.
---@param message string
---@param payload? any
---@param opts? stillpoint.NoticeOptions
---@return true|nil ok
---@return stillpoint.Error|nil err
function operator.notice(store, message, payload, opts)
  local handle = holder(store)
  check.type("string", message, "message", 3)
  opts = opts or {}
  check.options(opts, NOTICE, 3)
  return commands.notify(handle, { message = message, payload = payload, actor = opts.actor or "test" })
end

return operator
