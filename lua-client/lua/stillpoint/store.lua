-- A connection to the store.

local Async = require "stillpoint.async"
local Batch = require "stillpoint.batch"
local Collection = require "stillpoint.collection"
local Future = require "stillpoint.future"
local Link = require "stillpoint.link"
local Scheduler = require "stillpoint.scheduler"
local check = require "stillpoint.check"
local driver = require "stillpoint.driver"
local txn = require "stillpoint.txn"

---@class stillpoint.Store
---@field async stillpoint.Async The verbs as futures.
---@field _link stillpoint.Link
local Store = {}
Store.__index = Store
Store.__name = "stillpoint.Store"

---@param core table The verbs.
---@param handle any
---@param deadline number
---@return stillpoint.Store
function Store.new(core, handle, deadline)
  local link = Link.new(core, handle, deadline)
  local store = setmetatable({ _link = link }, Store)
  store.async = Async.new(link)
  return store
end

local function open_link(store)
  local link = store._link
  if not link.handle then
    error("the store is closed", 3)
  end
  return link
end

-- The built-in driver, unless the store already has it.
local function scheduled(link)
  link.driver = link.driver or Scheduler.new(link.core)
  return link
end

---The records of one collection. Costs nothing; the collection needs no declaration.
---@param name string 1 to 64 of `a-z 0-9 _ . -`.
---@return stillpoint.Collection
function Store:collection(name)
  check.name("collection", name, 3)
  return Collection.new(self._link, name)
end

---Runs a transaction: `fn(tx)` reads and writes through `tx`, and either all of it happens, as if nothing else had
---happened meanwhile, or nothing. If another writer was faster, `fn` is run again, until the deadline is over (then
---`err.reason` is `version_conflict`); so it should do nothing but compute, read and write.
---
---An error raised in `fn` comes out of `txn`, and nothing is written. It and an abort are reported only after the store
---has confirmed that what `fn` read was consistent.
---@param fn fun(tx: stillpoint.Tx): ...
---@param opts? stillpoint.TxnOptions
---@return true|nil ok
---@return any ... What `fn` returned; or the error, with reason `aborted` after `tx:abort`.
function Store:txn(fn, opts)
  txn.check(fn, opts, 4)
  return txn.run(open_link(self), fn, opts)
end

---Collects independent operations, to be sent together.
---@return stillpoint.Batch
function Store:batch()
  return Batch.new(open_link(self))
end

---Starts a coroutine in which every verb waits without blocking: it runs until it first waits, and on in `poll` and
---`run`. `coroutine.yield()` lets others run. (Calls in a coroutine that it makes itself block, as everywhere.)
---
---An error in it comes out of `poll` or `run`, unless something waits for the future: then it comes out of `wait`.
---@param fn function
---@param ... any Its arguments.
---@return stillpoint.Future # For what it returns.
function Store:go(fn, ...)
  check.callable(fn, "fn", 3)
  return Future.spawn(scheduled(open_link(self)), true, fn, ...)
end

---Has calls wait in the coroutines of an event loop; see stillpoint.driver.
---@param loop stillpoint.Driver E.g. `require "stillpoint.driver.luv"`.
---@return stillpoint.Store self
function Store:use(loop)
  local link = open_link(self)
  local problem = driver.problem(loop)
  if problem then
    error(problem, 2)
  end
  if link.driver and link.driver ~= loop then
    error(("this store is already driven by %s"):format(link.driver.name or "another driver"), 2)
  end
  if link.core.fd(link.handle) == nil then
    error("this store has no descriptor that an event loop could watch: leave the driver out", 2)
  end
  link.driver = loop
  return self
end

---A descriptor that is readable while `poll` has something to do. It belongs to the store: do not read or close it.
---nil for `stillpoint.memory()`.
---@return integer|nil
function Store:fd()
  local link = open_link(self)
  return (link.core.fd(link.handle))
end

---Runs the callbacks of futures that are done, and resumes coroutines.
---@param seconds? number How long to wait for the first; 0 unless given.
---@return integer # How many things happened.
function Store:poll(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  return open_link(self):poll(seconds or 0)
end

---Polls until every coroutine of `go` has ended and every callback has run.
function Store:run()
  local link = open_link(self)
  if link.driver and not link.driver.run_ready then
    error(("this store is driven by %s: run that loop"):format(link.driver.name or "another driver"), 2)
  end
  link:run()
end

---Pauses: in a coroutine, others run meanwhile; else the program blocks.
---@param seconds number
function Store:sleep(seconds)
  check.seconds(seconds, "seconds", 3)
  open_link(self):sleep(seconds)
end

---What is known of the connection: the server's limits and version, `revision`, `incarnation`, `store_id`, `connected`.
---@return table
function Store:info()
  local link = open_link(self)
  return (link.core.info(link.handle))
end

---Waits for what is in flight, then closes. Every later use raises; closing again is fine.
---@param seconds? number How long to wait; the store's deadline unless given.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Store:close(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  return self._link:close(seconds or self._link.deadline)
end

function Store:__tostring()
  return self._link.handle and "stillpoint.Store" or "stillpoint.Store (closed)"
end

-- `local store <close> = ...` (Lua 5.4). A store that is merely dropped is closed by the core, when its handle goes.
function Store:__close()
  self._link:close(self._link.deadline)
end

return Store
