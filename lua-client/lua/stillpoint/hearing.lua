-- Hears from the core which operations are done, and what the store tells unasked: settles tickets and futures, hands
-- events on, has handlers and coroutines run.

local protect = require "stillpoint.protect"

local hearing = {}

---The longest time handed to the core at once, in seconds.
local WAIT_MAX = 3600

---As long does `run` wait at once: between two waits Lua sees to signals, so that Ctrl-C ends a script.
local RUN_WAIT_MAX = 1

---While nothing is heard of, operations that this process does not know are looked for so often, in seconds.
local SEARCH_EVERY = 1

local function pack(...)
  return { n = select("#", ...), ... }
end

-- An operation is done.
local function settle(link, id)
  local ticket = link.tickets[id]
  if ticket then
    link.tickets[id] = nil
    return link:wake(ticket)
  end
  local future = link.futures[id]
  if future then
    return future:done()
  end
  link.core.forget(link.handle, id)
end

-- Settles what the core will never tell of: in a forked process, the operations of the one before. Taking an answer
-- tells; so it is asked for each, but seldom.
local function settle_lost(link)
  local core, now = link.core, link.core.now()
  if now < link.searched + SEARCH_EVERY then
    return
  end
  link.searched = now
  local tickets, futures = {}, {}
  for id, ticket in pairs(link.tickets) do
    tickets[id] = ticket
  end
  for _, future in pairs(link.futures) do
    futures[#futures + 1] = future
  end
  for id, ticket in pairs(tickets) do
    local results = link.handle and link.tickets[id] and pack(core.take(link.handle, id)) or {}
    if results[1] ~= nil then
      link.tickets[id] = nil
      ticket.results = results
      link:wake(ticket)
    end
  end
  for _, future in ipairs(futures) do
    if link.handle then
      future:done()
    end
  end
end

-- Calls those who asked to be called by each poll.
local function tick(link)
  link.tick_at = nil
  if not link.handle or next(link.on_poll) == nil then
    return nil
  end
  local now, objects, raised = link.core.now(), {}, nil
  for object in pairs(link.on_poll) do
    objects[#objects + 1] = object
  end
  for _, object in ipairs(objects) do
    raised = protect.attempt(raised, function()
      local again = object:_tick()
      if again then
        link.tick_at = math.min(link.tick_at or math.huge, now + again)
      end
    end)
  end
  return raised
end

---Hears which operations are done and what the store tells: runs callbacks and handlers, resumes coroutines.
---@param link stillpoint.Link
---@param seconds number How long to wait for the first.
---@return integer # How many things happened.
function hearing.poll(link, seconds)
  local driver, core, mailbox = link.driver, link.core, link.mailbox
  if driver and driver.patience then
    seconds = driver:patience(seconds)
  end
  if link.tick_at then
    seconds = math.min(seconds, math.max(link.tick_at - core.now(), 0))
  end
  local count = core.poll(link.handle, mailbox:is_waiting() and 0 or math.min(seconds, WAIT_MAX))
  for _ = 1, count do
    local id = link.handle and core.next(link.handle)
    if not id then
      break
    end
    settle(link, id)
  end
  for _ = 1, count do
    local ev = link.handle and core.event(link.handle)
    if not ev then
      break
    end
    link.events:hear(ev)
  end
  if count == 0 and link.pending > 0 then
    settle_lost(link)
  end
  local raised = tick(link)
  if mailbox:is_waiting() then
    raised = protect.attempt(raised, mailbox.run, mailbox)
  end
  protect.reraise(raised)
  -- The driver may have come with the first handler.
  driver = link.driver
  if driver and driver.run_ready then
    count = count + driver:run_ready()
  end
  return count
end

---Takes what is done, so that futures nobody has do not pile up in a program that never polls. Only while no callback
---and no coroutine waits: these belong to `poll`, and to a loop that watches the descriptor.
---@param link stillpoint.Link
function hearing.sweep(link)
  local id = link.core.next(link.handle)
  while id do
    settle(link, id)
    id = link.core.next(link.handle)
  end
end

---Polls until no coroutine and no callback waits any more, and nothing is to be told to a handler either.
---@param link stillpoint.Link
function hearing.run(link)
  link.stopped = false
  while link.handle and not link.stopped do
    local driver = link.driver
    if link.pending == 0 and not (driver and driver.ready and driver:ready()) and not link.events:holds() then
      return
    end
    link:poll(RUN_WAIT_MAX)
  end
end

return hearing
