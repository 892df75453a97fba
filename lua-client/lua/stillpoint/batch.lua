-- Independent operations, sent together. Each succeeds or fails by itself, and those on one record take effect in the
-- order added. For all or nothing there is `store:txn`.

local Future = require "stillpoint.future"
local check = require "stillpoint.check"
local lane_of = require "stillpoint.lane"
local requests = require "stillpoint.requests"
local results = require "stillpoint.results"

---@class stillpoint.Batch
---@field _link stillpoint.Link
---@field _items any[][] The arguments of Future.submit.
local Batch = {}
Batch.__index = Batch
Batch.__name = "stillpoint.Batch"

---Operations in flight at once, so that a large batch does not overrun the connection's queue.
local IN_FLIGHT_MAX = 4096

local unpack = table.unpack or rawget(_G, "unpack")

---@param link stillpoint.Link
---@return stillpoint.Batch
function Batch.new(link)
  return setmetatable({ _link = link, _items = {} }, Batch)
end

local function add(batch, finish, opts, deadline, op, collection, key, ...)
  check.name("collection", collection, 4)
  local lane = opts and opts.lane or lane_of(collection, key)
  local item = { n = 6 + select("#", ...), finish, deadline, lane, op, collection, key, ... }
  table.insert(batch._items, item)
  return batch
end

---@param collection string
---@param key string
---@param opts? stillpoint.ReadOptions
---@return stillpoint.Batch self
function Batch:get(collection, key, opts)
  local batch = add(self, results.batch.get, opts, requests.get(self._link, collection, key, opts))
  return batch
end

---@param collection string
---@param key string
---@param value any Encoded at `commit`.
---@param opts? stillpoint.PutOptions
---@return stillpoint.Batch self
function Batch:put(collection, key, value, opts)
  local batch = add(self, results.batch.put, opts, requests.put(self._link, collection, key, value, opts))
  return batch
end

---@param collection string
---@param key string
---@param opts? stillpoint.WriteOptions
---@return stillpoint.Batch self
function Batch:delete(collection, key, opts)
  local batch = add(self, results.batch.delete, opts, requests.delete(self._link, collection, key, opts))
  return batch
end

---@param collection string
---@param key string
---@param steps any[][]
---@param opts? stillpoint.PatchOptions
---@return stillpoint.Batch self
function Batch:patch(collection, key, steps, opts)
  local batch = add(self, results.batch.patch, opts, requests.patch(self._link, collection, key, steps, opts))
  return batch
end

---@param collection string
---@param key string
---@param path string|any[]
---@param amount number
---@param opts? stillpoint.AddOptions
---@return stillpoint.Batch self
function Batch:add(collection, key, path, amount, opts)
  local batch = add(self, results.batch.add, opts, requests.add(self._link, collection, key, path, amount, opts))
  return batch
end

---@return integer # How many operations were added.
function Batch:__len()
  return #self._items
end

---Sends the operations, and empties the batch.
---@return stillpoint.BatchResult[] results One per operation, in order: `ok = true` and what it gave, or its error.
---@return integer failed How many failed.
function Batch:commit()
  local link, items = self._link, self._items
  if not link.handle then
    error("the store is closed", 2)
  end
  self._items = {}
  local futures, list, failed = {}, {}, 0
  local function collect(i)
    list[i] = futures[i]:wait()
    futures[i] = nil
    if not list[i].ok then
      failed = failed + 1
    end
  end
  for i, item in ipairs(items) do
    futures[i] = Future.submit(link, item[1], unpack(item, 2, item.n))
    if i > IN_FLIGHT_MAX then
      collect(i - IN_FLIGHT_MAX)
    end
  end
  for i = math.max(1, #items - IN_FLIGHT_MAX + 1), #items do
    collect(i)
  end
  return list, failed
end

return Batch
