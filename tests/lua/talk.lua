-- What the processes of a test share: they say what they see, a line each, and are told what to do next.

local stillpoint = require "stillpoint"

local talk = {}

---How long anything may take, in seconds.
local STUCK_AFTER = 60

---A store; as an instance of a service if the environment names one.
---@param service string
---@param schema? table<string, integer> The versions that it speaks.
---@return stillpoint.Store|nil store
---@return stillpoint.Error|nil err
function talk.open(service, schema)
  local instance = os.getenv "STILLPOINT_SPEC_INSTANCE"
  return stillpoint.connect {
    os.getenv "STILLPOINT_SPEC_URL",
    namespace = "spec",
    service = instance and service,
    instance = instance,
    takeover = os.getenv "STILLPOINT_SPEC_TAKEOVER" == "1" or nil,
    schema = schema,
    deadline = STUCK_AFTER,
  }
end

---The same, where that cannot fail.
---@param service string
---@return stillpoint.Store
function talk.connect(service)
  return assert(talk.open(service))
end

function talk.say(...)
  print(...)
  io.stdout:flush()
end

---Polls until something holds.
---@param store stillpoint.Store
---@param what string
---@param holds fun(): any
function talk.await(store, what, holds)
  local now = store._link.core.now
  local ends = now() + STUCK_AFTER
  while not holds() do
    assert(now() < ends, what .. ": too late")
    store:poll(1)
  end
end

---Does what it is told, a line each: the first word names a function, which is given the rest, and says what it returns.
---@param verbs table<string, fun(rest: string): ...>
function talk.obey(verbs)
  for line in io.lines() do
    local verb, rest = line:match "^(%S+) ?(.*)$"
    talk.say(verbs[verb](rest))
  end
end

return talk
