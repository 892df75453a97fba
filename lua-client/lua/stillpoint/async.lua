-- The verbs as futures: `store.async:get("player", "42")` sends and returns at once; `future:wait()` returns what the
-- blocking verb would. Many futures in flight travel in few frames.
--
-- Operations on one record take effect in the order submitted, as they share a *lane*; the option `lane` puts
-- operations on different records into one, or (0) frees them of any order. That holds among futures: a blocking verb
-- does not wait for them, so wait for those whose effect it has to see.
--
-- A future that nobody keeps is no trouble: its operation is done, the answer dropped.

local Future = require "stillpoint.future"
local check = require "stillpoint.check"
local lane_of = require "stillpoint.lane"
local requests = require "stillpoint.requests"
local results = require "stillpoint.results"
local txn = require "stillpoint.txn"
local update = require "stillpoint.update"

---@class stillpoint.Async
---@field _link stillpoint.Link
local Async = {}
Async.__index = Async
Async.__name = "stillpoint.Async"

---@param link stillpoint.Link
---@return stillpoint.Async
function Async.new(link)
  return setmetatable({ _link = link }, Async)
end

local function submit(link, finish, opts, deadline, op, collection, key, ...)
  check.name("collection", collection, 4)
  if not link.handle then
    error("the store is closed", 3)
  end
  local lane = opts and opts.lane or lane_of(collection, key)
  return Future.submit(link, finish, deadline, lane, op, collection, key, ...)
end

---@param collection string
---@param key string
---@param opts? stillpoint.ReadOptions
---@return stillpoint.Future
function Async:get(collection, key, opts)
  local link = self._link
  local future = submit(link, results.value, opts, requests.get(link, collection, key, opts))
  return future
end

---@param collection string
---@param key string
---@param opts? stillpoint.ReadOptions
---@return stillpoint.Future
function Async:read(collection, key, opts)
  local link = self._link
  local future = submit(link, results.record, opts, requests.get(link, collection, key, opts))
  return future
end

---@param collection string
---@param key string
---@param value any
---@param opts? stillpoint.PutOptions
---@return stillpoint.Future
function Async:put(collection, key, value, opts)
  local link = self._link
  local future = submit(link, results.value, opts, requests.put(link, collection, key, value, opts))
  return future
end

---@param collection string
---@param key string
---@param opts? stillpoint.WriteOptions
---@return stillpoint.Future
function Async:delete(collection, key, opts)
  local link = self._link
  local future = submit(link, results.value, opts, requests.delete(link, collection, key, opts))
  return future
end

---@param collection string
---@param key string
---@param steps any[][]
---@param opts? stillpoint.PatchOptions
---@return stillpoint.Future
function Async:patch(collection, key, steps, opts)
  local link = self._link
  local future = submit(link, results.patch, opts, requests.patch(link, collection, key, steps, opts))
  return future
end

---@param collection string
---@param key string
---@param path string|any[]
---@param amount number
---@param opts? stillpoint.AddOptions
---@return stillpoint.Future
function Async:add(collection, key, path, amount, opts)
  local link = self._link
  local future = submit(link, results.sum, opts, requests.add(link, collection, key, path, amount, opts))
  return future
end

---@param collection string
---@param opts? stillpoint.ScanOptions
---@return stillpoint.Future
function Async:scan_page(collection, opts)
  check.name("collection", collection, 3)
  local link = self._link
  if not link.handle then
    error("the store is closed", 2)
  end
  local deadline, op, name, request = requests.scan(link, collection, opts)
  local future = Future.submit(link, results.page, deadline, opts and opts.lane or 0, op, name, request)
  return future
end

-- Those that take several steps run in a coroutine of the store's driver.
local function spawn(link, run, ...)
  link:drive()
  return Future.spawn(link, false, run, link, ...)
end

local function as_it_is(...)
  return ...
end

---Its read keeps the order, its write comes when the read is answered. Goes on while the store is polled, also by
---`wait`. An error raised in `fn` comes out of `wait`.
---@param collection string
---@param key string
---@param fn fun(value: any): any
---@param opts? stillpoint.UpdateOptions
---@return stillpoint.Future
function Async:update(collection, key, fn, opts)
  check.name("collection", collection, 3)
  update.check(key, fn, opts, 4)
  local link = self._link
  if not link.handle then
    error("the store is closed", 2)
  end
  local deadline = opts and opts.deadline or link.deadline
  local first = Future.submit(link, as_it_is, deadline, lane_of(collection, key), "get", collection, key)
  local future = spawn(link, update.run, collection, key, fn, opts, first)
  return future
end

---Goes on while the store is polled, also by `wait`. An error raised in `fn` comes out of `wait`.
---@param fn fun(tx: stillpoint.Tx): ...
---@param opts? stillpoint.TxnOptions
---@return stillpoint.Future
function Async:txn(fn, opts)
  txn.check(fn, opts, 4)
  if not self._link.handle then
    error("the store is closed", 2)
  end
  local future = spawn(self._link, txn.run, fn, opts)
  return future
end

return Async
