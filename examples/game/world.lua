-- How every script of the game reaches its world.

local stillpoint = require "stillpoint"

local world = {}

---Records of other programs in the same store have other namespaces, and nothing to do with ours.
world.NAMESPACE = "game"

---The folder of the demo: this script is in DIR/game/.
world.dir = (arg and arg[0] or ""):match "^(.*)/[^/]*$" or "."
world.dir = world.dir .. "/.."

---Connects to the store that STILLPOINT_URL names, or else to the demo's own.
---@param client_name string So that the operator sees who this is.
---@param patience? number Seconds to keep trying while no store answers; 0 unless given.
---@return stillpoint.Store
function world.connect(client_name, patience)
  local url = os.getenv "STILLPOINT_URL" or ("unix:" .. world.dir .. "/data/stillpoint.sock")
  local store, err = stillpoint.connect {
    url,
    namespace = world.NAMESPACE,
    client_name = client_name,
    patience = patience,
    -- If the store goes away for a moment, a call waits for it to come back, up to so many seconds. The game notices a
    -- pause, nothing else.
    deadline = 30,
  }
  if not store then
    error(err, 0)
  end
  return store
end

return world
