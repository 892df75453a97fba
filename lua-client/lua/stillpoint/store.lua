-- A connection to the store.

local Async = require "stillpoint.async"
local Batch = require "stillpoint.batch"
local Collection = require "stillpoint.collection"
local Commands = require "stillpoint.commands"
local Future = require "stillpoint.future"
local Link = require "stillpoint.link"
local Timers = require "stillpoint.timers"
local Watch = require "stillpoint.watch"
local check = require "stillpoint.check"
local closing = require "stillpoint.closing"
local driver = require "stillpoint.driver"
local results = require "stillpoint.results"
local txn = require "stillpoint.txn"

---@class stillpoint.Session
---@field id string A successor gets the same one.
---@field service string
---@field instance string
---@field fence integer Greater than that of every process before: to be sent along to what is used beside the store.
---@field resume_token string Lets a successor take the session over from this living process. A secret.
---@field ttl number Seconds that the session lives without a word from its process.
---@field succeeded boolean Whether there was a session to take over.
---@field claims integer Records it owned when it was opened.
---@field gap number Seconds that the process before had been silent when it was taken over.
---@field state "attached"|"detached"|"fenced"|"closed" "detached": the connection is lost, and coming back.

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
  local link = open_link(self)
  link:drive()
  return Future.spawn(link, true, fn, ...)
end

---Has calls wait in the coroutines of an event loop; see stillpoint.driver. Handlers and callbacks are then run by that
---loop, which a session keeps from ending until the store is closed.
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
  link:listen()
  return self
end

---A descriptor that is readable while `poll` has something to do. It belongs to the store: do not read or close it.
---nil for `stillpoint.memory()`.
---@return integer|nil
function Store:fd()
  local link = open_link(self)
  return (link.core.fd(link.handle))
end

---Runs the callbacks of futures that are done and the handlers of events, and resumes coroutines. What one of them
---raises comes out of here; the others are run all the same, at the latest by the next poll.
---@param seconds? number How long to wait for the first; 0 unless given.
---@return integer # How many things happened.
function Store:poll(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  return open_link(self):poll(seconds or 0)
end

---Polls until every coroutine of `go` has ended and every callback has run; while a watch with a callback is open, or a
---session has commands or a handler for timers, notices or draining, until these are closed, the session is over, the
---store is closed, as by an operator who drains the process, or `stop`.
---
---A session alone does not keep it: in a program that has none of these, nor a coroutine, it returns at once. One that is
---there only to be asked or drained by operators gives it something to wait for, such as
---`store:on("notice", function() end)`.
function Store:run()
  local link = open_link(self)
  if link.driver and not link.driver.run_ready then
    error(("this store is driven by %s: run that loop"):format(link.driver.name or "another driver"), 2)
  end
  link:run()
end

---Has `run` return, once what is happening has happened. Without a `run` it does nothing.
function Store:stop()
  open_link(self).stopped = true
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

---Who this process is to the store; nil: connected without `service` and `instance`.
---@return stillpoint.Session|nil
function Store:session()
  local link = open_link(self)
  return (link.core.session(link.handle))
end

---Has a function called when something happens; run by `poll`, `run` and the event loop, see stillpoint.events. nil
---takes the handler away. Types:
---
---    release_wanted   somebody waits for a document that this session claimed; unless the handler returns true (and
---                     sees to it), the document is then saved and released
---    claim_lost       a claimed document was taken away
---    refused          a change of a claimed document was refused, and taken back
---    fenced           the session has a successor, or is over: this process can write no more
---    timer            a timer fires; a handler that returns has handled it (see `ev:finish`, `tx:finish`)
---    reconnected      the connection was lost, and is back
---    restored         the store was restored from a backup: what is known of it may never have been
---    shutting_down    the store stops, and will be back
---    notice           an operator tells something
---    drain            an operator wants this process to end; after the handler, unless it returns true (and sees to it),
---                     what is claimed is saved, the session left to a successor, and the store closed, as by `drain`.
---                     `run` returns then, and another event loop if nothing else keeps it; to end one that goes on,
---                     call `store:drain()` here, then stop the loop, and return true
---@param kind string
---@param fn nil|fun(ev: stillpoint.Event)
function Store:on(kind, fn)
  local link = open_link(self)
  check.event(kind, link.events.TYPES, 3)
  if fn ~= nil then
    check.callable(fn, "handler", 3)
  end
  link.events:set(kind, fn)
end

---Lets operators run a function in this process: `stillpoint command NAME --service ...`. It is run when the program
---polls, in a coroutine, one command after another. What it returns is the answer, a value that can be stored; `nil, err`
---and what it raises are told as its failure. Commands come only to sessions. nil takes the command away.
---
---Every process has the commands ping, info, gc, memory and drain; one that uses the reload kit also reload.plan,
---reload.apply, reload.rollback, reload.status and reload.audit, and those by which a fleet reloads.
---@param name string 1 to 64 of `a-z 0-9 _ . -`; none of those that every process has.
---@param fn nil|fun(args: any, ctx: stillpoint.CommandContext): any, any
function Store:command(name, fn)
  local link = open_link(self)
  check.name("command", name, 3)
  if Commands.is_builtin(name) then
    error(("the command '%s' is built in: choose another name"):format(name), 2)
  end
  if fn ~= nil then
    check.callable(fn, "command", 3)
  end
  link.commands:set(name, fn)
end

---Watches all collections; see `Collection:watch`.
---@param opts? stillpoint.WatchOptions
---@param fn? fun(ev: stillpoint.WatchEvent)
---@return stillpoint.Watch|nil watch
---@return stillpoint.Error|nil err
function Store:watch(opts, fn)
  local watch, err, _, closes = Watch.open(open_link(self), nil, opts, fn, 4)
  return watch, err, nil, closes
end

---Sets a timer, in place of one of the same name. It is kept in the store, and fires at an instance of this session's
---service: `store:on("timer", fn)`. Within a transaction: `tx:timer`.
---@param name string
---@param opts stillpoint.TimerOptions
---@return number|nil due In seconds since 1970.
---@return stillpoint.Error|nil err
function Store:timer(name, opts)
  local link = open_link(self)
  return results.value(link:call(Timers.set(link, name, opts)))
end

---@param name string
---@param opts? stillpoint.TimerCancelOptions
---@return boolean|nil existed
---@return stillpoint.Error|nil err
function Store:cancel_timer(name, opts)
  local link = open_link(self)
  return results.value(link:call(Timers.cancel(link, name, opts)))
end

---Longest name of a write, in bytes.
local ONCE_BYTES_MAX = 128

---A token that names one write for ever, to be given as the option `once`: however often and by whomever the write is
---sent, it is applied once, and each gets the first answer. Make it before the first attempt, and keep it with the job
---that it is for. The store remembers for a bounded time: after that a repeat fails with `compacted`.
---@param name string 1 to 128 bytes; names this write alone in the namespace, e.g. "trade-77".
---@return string
function Store:once(name)
  check.type("string", name, "name", 3)
  if name == "" or #name > ONCE_BYTES_MAX then
    error(("name: 1 to %d bytes expected, got %d"):format(ONCE_BYTES_MAX, #name), 2)
  end
  local link = open_link(self)
  return ("%.0f:"):format(link.core.info(link.handle).revision) .. name
end

---@class stillpoint.CloseOptions
---@field keep_claims boolean|nil Leave the session with its claims to a successor, which takes it over at once.
---@field linger number|nil Seconds that it is kept for one; its ttl unless given.
---@field deadline number|nil Seconds for all of it; the store's unless given.
local CLOSE = { keep_claims = "boolean", linger = "seconds", deadline = "seconds" }

---Has claimed documents saved, waits for what is in flight, ends the session (its claims are free then, unless kept for
---a successor), closes. Every later use raises; closing again is fine.
---@param how? number|stillpoint.CloseOptions Seconds to wait, or options; the store's deadline unless given.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Store:close(how)
  if type(how) == "table" then
    check.options(how, CLOSE, 3)
  elseif how ~= nil then
    check.seconds(how, "seconds", 3)
    how = { deadline = how }
  end
  local link = self._link
  return closing.close(link, how and how.deadline or link.deadline, how or {})
end

---Hands over: has claimed documents saved, leaves the session with its claims to a successor, closes. After it the
---process may end. If not all could be saved in time, nothing is closed.
---@param seconds? number How long it may take; the store's deadline unless given.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Store:drain(seconds)
  if seconds ~= nil then
    check.seconds(seconds, "seconds", 3)
  end
  local link = open_link(self)
  local ends = link.core.now() + (seconds or link.deadline)
  local ok, err = closing.save(link, ends - link.core.now())
  if not ok then
    return nil, err
  end
  return closing.close(link, math.max(ends - link.core.now(), 0), { keep_claims = true })
end

function Store:__tostring()
  return self._link.handle and "stillpoint.Store" or "stillpoint.Store (closed)"
end

-- `local store <close> = ...` (Lua 5.4). A store that is merely dropped is closed by the core, when its handle goes.
function Store:__close()
  closing.close(self._link, self._link.deadline, {})
end

return Store
