-- The verbs of the native core on records in this process: what `stillpoint.memory()` runs on. An operation is done
-- when it is submitted; only hearing of it waits for `poll`, as with a server.

local Records = require "stillpoint.memory.records"
local core = require "stillpoint_core"

local unpack = table.unpack or rawget(_G, "unpack")

---@class stillpoint.memory.Handle
---@field records stillpoint.memory.Records
---@field results table<integer, any[]> Not yet taken.
---@field first integer The oldest operation that was not announced.
---@field last integer The newest operation.

local memory = { now = core.now, sleep = core.sleep }

---@param opts {now: nil|fun(): number}
---@return stillpoint.memory.Handle
function memory.new(opts)
  return { records = Records.new(opts.now or os.time), results = {}, first = 1, last = 0 }
end

function memory.close()
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

-- There is nothing to wait for.
function memory.fd()
  return nil
end

function memory.call(handle, deadline, op, ...)
  return handle.records:execute(deadline, op, ...)
end

local function pack(...)
  return { n = select("#", ...), ... }
end

function memory.submit(handle, deadline, _, op, ...)
  handle.last = handle.last + 1
  handle.results[handle.last] = pack(handle.records:execute(deadline, op, ...))
  return handle.last
end

function memory.take(handle, id)
  local result = handle.results[id]
  if result then
    handle.results[id] = nil
    return unpack(result, 1, result.n)
  end
end

memory.wait = memory.take

function memory.forget(handle, id)
  handle.results[id] = nil
end

function memory.next(handle)
  while handle.first <= handle.last do
    local id = handle.first
    handle.first = id + 1
    if handle.results[id] then
      return id
    end
  end
end

function memory.poll(handle, seconds)
  while handle.first <= handle.last and not handle.results[handle.first] do
    handle.first = handle.first + 1
  end
  local count = handle.last - handle.first + 1
  if count == 0 and seconds > 0 then
    core.sleep(seconds)
  end
  return count
end

return memory
