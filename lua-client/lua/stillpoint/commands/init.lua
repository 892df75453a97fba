-- What an operator asks of this process: named commands, each a function, run one after another in the order in which
-- they were sent. No command runs code that comes with it.
--
-- The client acknowledges a command when it comes; it is run here when the program polls, in a coroutine, so that the
-- verbs it calls wait without holding up the others. Whatever comes of it is an answer: what it raises, and what of its
-- result cannot be sent, too. The program never ends because of a command.

local fleet = require "stillpoint.commands.fleet"
local process = require "stillpoint.commands.process"
local protect = require "stillpoint.protect"

---@class stillpoint.CommandContext
---@field name string The command's.
---@field actor string Who asks, as they call themselves.
---@field within number The operator waits that long for the answer, in seconds.
---@field _link stillpoint.Link
---@field _id integer
---@field _answered boolean|nil
local Context = {}
Context.__index = Context
Context.__name = "stillpoint.CommandContext"

---Tells the operator how far the command is.
---@param text string
function Context:progress(text)
  local link = self._link
  if link.handle then
    link.core.answer(link.handle, self._id, "progress", tostring(text))
  end
end

-- For built-in commands whose last answer comes before they are done.
function Context:_answer(value)
  local link = self._link
  self._answered = true
  link.core.answer(link.handle, self._id, "ok", value)
end

---@class stillpoint.Commands
---@field link stillpoint.Link
---@field own table<string, fun(args: any, ctx: stillpoint.CommandContext): any, any> The program's, by name.
local Commands = {}
Commands.__index = Commands

---Bytes of a traceback that are sent, so that a deep recursion does not make an answer too large.
local TRACEBACK_BYTES_MAX = 16 * 1024

---The same for messages.
local MESSAGE_BYTES_MAX = 4 * 1024

---Commands that every process has.
---@type table<string, fun(args: any, ctx: stillpoint.CommandContext, link: stillpoint.Link): any, any>
local builtins = {}
for _, file in ipairs { process, fleet } do
  for name, fn in pairs(file.commands) do
    builtins[name] = fn
  end
end

---@param link stillpoint.Link
---@return stillpoint.Commands
function Commands.new(link)
  return setmetatable({ link = link, own = {} }, Commands)
end

---@param name string
---@return boolean
function Commands.is_builtin(name)
  return builtins[name] ~= nil
end

---@param name string
---@param fn function|nil
function Commands:set(name, fn)
  self.own[name] = fn
end

---Whether the program has commands of its own.
---@return boolean
function Commands:are_any()
  return next(self.own) ~= nil
end

---The names of all commands, by name.
---@return string[]
function Commands:names()
  local names = {}
  for _, list in ipairs { builtins, self.own } do
    for name in pairs(list) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

local function clip(text, bytes_max)
  return #text > bytes_max and text:sub(1, bytes_max) .. " ..." or text
end

-- What an error is to the operator: its text, and its traceback if it has one. It may be a text, an error table, or any
-- table with a message.
local function describe(err)
  if type(err) ~= "table" then
    return tostring(err)
  end
  local traceback = type(err.traceback) == "string" and err.traceback or nil
  local mt = getmetatable(err)
  if type(mt) == "table" and mt.__tostring or type(err.message) ~= "string" then
    return tostring(err), traceback
  end
  return err.message, traceback
end

local function fail(ctx, err, traceback, unknown)
  local link = ctx._link
  -- Whatever is raised may have metamethods, and these may raise.
  local ok, message, own_traceback = pcall(describe, err)
  if not ok or type(message) ~= "string" then
    message = ("a %s was raised that has no text"):format(type(err))
  end
  message, traceback = clip(message, MESSAGE_BYTES_MAX), own_traceback or traceback
  link.core.answer(link.handle, ctx._id, "error", message, clip(traceback or "", TRACEBACK_BYTES_MAX), unknown or false)
end

-- Keeps where an error comes from beside it.
local function trace(err, co)
  local traceback = co and debug.traceback(co) or debug.traceback("", 2)
  return { err = err, traceback = (traceback:gsub("^%s+", "")) }
end

local function run(fn, args, ctx)
  local link = ctx._link
  local ok, result, err = protect.call(trace, fn, args, ctx, link)
  if ctx._answered then
    -- Nobody but the program can be told any more.
    if not ok then
      error(result.err, 0)
    end
    return
  elseif not link.handle or not link.core.awaited(link.handle, ctx._id) then
    return
  end
  if not ok then
    return fail(ctx, result.err, result.traceback)
  elseif not result and err ~= nil then
    return fail(ctx, err)
  end
  local sent, refusal = link.core.answer(link.handle, ctx._id, "ok", result)
  if sent == nil then
    fail(ctx, ("the answer of '%s' cannot be sent: %s"):format(ctx.name, refusal.message))
  end
end

---Takes a command that has come.
---@param ev table
function Commands:hear(ev)
  local link = self.link
  link.mailbox:post("command", function()
    -- One whose connection is lost was reported as gone: it is not to happen later, unasked.
    if not link.core.awaited(link.handle, ev.id) then
      return
    end
    local ctx = setmetatable({ name = ev.name, actor = ev.actor, within = ev.within }, Context)
    ctx._link, ctx._id = link, ev.id
    local fn = builtins[ev.name] or self.own[ev.name]
    if fn then
      run(fn, ev.args, ctx)
    else
      local text = "no command '%s' here: there are %s"
      fail(ctx, text:format(ev.name, table.concat(self:names(), ", ")), nil, true)
    end
  end)
end

---The session or the connection is lost, or the store closed: what was prepared for a fleet is dropped.
function Commands:drop()
  fleet.drop(self.link)
end

return Commands
