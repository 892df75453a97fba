-- Operations on one record on their way to the store, in the record's lane: they take effect, and are answered, in the
-- order sent.
--
-- Towards the connection an outbox acts as a future: `done`, `wait_blocking`, `give_up`.

local failure = require "stillpoint.failure"
local lane_of = require "stillpoint.lane"

---@class stillpoint.Sent An operation on its way.
---@field kind string What its answer is for, see `_hear`.
---@field id integer
---@field steps integer How many changes it carries.
---@field bytes integer About how much memory these take.
---@field at number When the oldest of them was made, by the core's clock.
---@field generation integer Of the handle that sent it.

---@class stillpoint.Outbox
---@field link stillpoint.Link
---@field ledger stillpoint.Ledger
---@field collection string
---@field key string
---@field lane integer
---@field patience number Seconds that an operation may take.
---@field generation integer How many handles there were.
---@field sent stillpoint.Sent[] Not yet answered, from `first` to `last`.
---@field first integer
---@field last integer
---@field steps integer Changes not yet answered.
---@field tickets stillpoint.Ticket[]|nil Of coroutines that wait for an answer.
---@field _hear fun(outbox: stillpoint.Outbox, sent: stillpoint.Sent, ok: boolean, ...) Takes an answer.
local Outbox = {}

---The longest time handed to the core at once, in seconds.
local WAIT_MAX = 3600

---@param outbox table What it is to be part of.
---@param ledger stillpoint.Ledger
---@param collection string
---@param key string
function Outbox.init(outbox, ledger, collection, key)
  outbox.link, outbox.ledger = ledger.link, ledger
  outbox.collection, outbox.key = collection, key
  outbox.lane = lane_of(collection, key)
  outbox.generation = 0
  outbox.sent, outbox.first, outbox.last = {}, 1, 0
  outbox.steps = 0
end

---Whether something is on its way.
---@return boolean
function Outbox:is_waiting()
  return self.first <= self.last
end

---Counts changes as unsaved, or no longer.
---@param steps integer
---@param bytes integer
function Outbox:count(steps, bytes)
  self.steps = self.steps + steps
  self.ledger.bytes = self.ledger.bytes + bytes
  self.ledger:mark(self, self.steps > 0)
end

---Submits an operation on the record behind those before. The changes it carries are counted already.
---@param sent stillpoint.Sent Without id and generation.
---@param op string
---@param ... any What follows the key.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Outbox:submit(sent, op, ...)
  local link = self.link
  local core = link.core
  local id, err = core.submit(link.handle, self.patience, self.lane, op, self.collection, self.key, ...)
  if not id then
    return nil, err
  end
  sent.id, sent.generation = id, self.generation
  self.last = self.last + 1
  self.sent[self.last] = sent
  if sent.steps > 0 then
    self.ledger.patches = self.ledger.patches + 1
  end
  link:note(id, self)
  return true
end

-- Takes the answer to what was sent first; false: it is not there yet.
local function accept(outbox, ok, ...)
  if ok == nil then
    return false
  end
  local sent = outbox.sent[outbox.first]
  outbox.sent[outbox.first] = nil
  outbox.first = outbox.first + 1
  outbox.link.futures[sent.id] = nil
  if sent.steps > 0 then
    outbox.ledger.patches = outbox.ledger.patches - 1
    outbox:count(-sent.steps, -sent.bytes)
  end
  outbox:_hear(sent, ok, ...)
  return true
end

-- Lets the coroutines go on that wait for an answer.
local function wake(outbox)
  local link, tickets = outbox.link, outbox.tickets
  if tickets then
    outbox.tickets = nil
    link:release(outbox)
    for _, ticket in ipairs(tickets) do
      link:wake(ticket)
    end
    link:rest()
  end
end

---Takes the answers that are there.
---@return boolean # Whether there was one.
function Outbox:done()
  local link, any = self.link, false
  while link.handle and self.first <= self.last do
    if not accept(self, link.core.take(link.handle, self.sent[self.first].id)) then
      break
    end
    any = true
  end
  if any then
    wake(self)
  end
  return any
end

---Waits for the next answer while nothing else runs.
---@param seconds? number
function Outbox:wait_blocking(seconds)
  local link, sent = self.link, self.sent[self.first]
  seconds = math.min(seconds or WAIT_MAX, WAIT_MAX)
  if sent and accept(self, link.core.wait(link.handle, sent.id, seconds)) and not self:done() then
    wake(self)
  end
end

-- Takes back the ticket of a coroutine that waits no longer.
local function forget_ticket(outbox, ticket)
  for i, other in ipairs(outbox.tickets or {}) do
    if other == ticket then
      table.remove(outbox.tickets, i)
      break
    end
  end
  if outbox.tickets and #outbox.tickets == 0 then
    outbox.tickets = nil
    outbox.link:release(outbox)
    outbox.link:rest()
  end
end

---Waits for the next answer; in a coroutine others run meanwhile.
---@param seconds? number
function Outbox:wait(seconds)
  local link = self.link
  local task = link.driver and link.driver:current()
  if self.first > self.last then
    return
  elseif not task then
    return self:wait_blocking(seconds)
  elseif self:done() then
    return
  end
  local ticket = { link = link, task = task, done = false }
  self.tickets = self.tickets or {}
  table.insert(self.tickets, ticket)
  link:keep(self)
  link:wait(ticket, seconds)
  if not ticket.done then
    forget_ticket(self, ticket)
  end
end

---The store was closed: what is on its way has failed.
function Outbox:give_up()
  local err = failure.new("unavailable", "the store was closed before the answer came", true)
  while self.first <= self.last do
    accept(self, false, err)
  end
  wake(self)
end

return Outbox
