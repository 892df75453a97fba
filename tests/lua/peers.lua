-- Specs with several processes of one store: each is a store of its own, in the same namespace.

local spec = require "spec"
local stillpoint = require "stillpoint"

local peers = {}

local worlds = 0

---Seconds.
local STUCK_AFTER = 10

---Runs a test with `open(instance, opts)`, which connects a process of the service "battle"; `open()` one without a
---session. All are closed in the end.
---@param name string A sentence.
---@param fn fun(open: fun(instance?: string, opts?: table): stillpoint.Store|nil, stillpoint.Error|nil)
function peers.test(name, fn)
  spec.test(name, function()
    worlds = worlds + 1
    local namespace = ("peers-%x-%s-%d"):format(os.time(), tostring({}):match "(%x+)$", worlds)
    local stores = {}
    if not spec.has_server then
      stores[1] = stillpoint.memory { namespace = namespace }
    end
    local function open(instance, opts)
      opts = opts or {}
      opts.namespace = namespace
      opts.service, opts.instance = instance and "battle", instance
      local store, err
      if spec.has_server then
        opts[1] = os.getenv "STILLPOINT_SPEC_URL"
        store, err = stillpoint.connect(opts)
      else
        opts.share = stores[1]
        store, err = stillpoint.memory(opts)
      end
      stores[#stores + 1] = store
      return store, err
    end
    local ok, err = xpcall(function()
      fn(open)
    end, function(err)
      return type(err) == "table" and err or debug.traceback(tostring(err), 2)
    end)
    for _, store in ipairs(stores) do
      pcall(store.close, store, 1)
    end
    if not ok then
      error(err, 0)
    end
  end)
end

---Polls stores until something holds.
---@param what string
---@param holds fun(): any
---@param ... stillpoint.Store
---@return any # What `holds` answered.
function peers.await(what, holds, ...)
  local stores = { ... }
  local now = stores[1]._link.core.now
  local ends = now() + STUCK_AFTER
  local held = holds()
  while not held do
    if now() > ends then
      error(("%s: not within %d s"):format(what, STUCK_AFTER), 2)
    end
    for _, store in ipairs(stores) do
      store:poll(0.005)
    end
    held = holds()
  end
  return held
end

return peers
