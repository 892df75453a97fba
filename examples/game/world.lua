-- How every script of the game reaches its world.

local shape = require "shape"
local stillpoint = require "stillpoint"

local world = {}

---Records of other programs in the same store have other namespaces, and nothing to do with ours.
world.NAMESPACE = "game"

---The folder of the demo: this script is in DIR/game/.
world.dir = (arg and arg[0] or ""):match "^(.*)/[^/]*$" or "."
world.dir = world.dir .. "/.."

local URL = os.getenv "STILLPOINT_URL" or ("unix:" .. world.dir .. "/data/stillpoint.sock")

local function connect(options)
  options[1] = URL
  options.namespace = world.NAMESPACE
  -- If the store goes away for a moment, a call waits for it to come back, up to so many seconds. The game notices a
  -- pause, nothing else.
  options.deadline = 30
  local store, err = stillpoint.connect(options)
  if not store then
    error(err, 0)
  end
  return store
end

---Connects to the store that STILLPOINT_URL names, or else to the demo's own.
---@param client_name string So that the operator sees who this is.
---@return stillpoint.Store
function world.connect(client_name)
  return connect { client_name = client_name }
end

---Connects as a worker, with a *session*: at any time one process at most is the worker of this name. What it claims is
---its own, and goes to the process that succeeds it, planned or after a kill.
---@param name string
---@return stillpoint.Store
function world.connect_worker(name)
  return connect {
    client_name = name,
    service = "game",
    instance = name,
    -- What form of the documents we read and write: the store may have them in another by now. (Without a session, as
    -- the other scripts are, one gets the form that the store has.)
    schema = shape.schema,
    -- For the operator, to see and to select by.
    code_version = tostring(shape.code),
    labels = { code = tostring(shape.code) },
    -- We may be started before the store has noticed that the one before us was killed: then it is waited for.
    session_wait = 30,
    -- As long does the store believe a worker that cannot be heard, and whose connection still stands.
    ttl = 60,
    patience = 30, -- while no store answers
  }
end

return world
