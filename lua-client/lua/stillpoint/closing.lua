-- How a connection ends: what is unsaved is saved, what is in flight is waited for, and whoever still waits is told.
--
-- What callbacks and coroutines raise meanwhile must not leave the store half closed; the first error comes out at the
-- end.

local protect = require "stillpoint.protect"

local closing = {}

---@class stillpoint.Closing
---@field keep_claims boolean|nil
---@field linger number|nil

-- Has every claimed document save what it has. Answers with the first failure.
local function save_documents(link, ends, raised)
  local now = link.core.now
  local documents, failed = {}, nil
  for _, document in pairs(link.documents) do
    documents[#documents + 1] = document
  end
  for _, document in ipairs(documents) do
    raised = protect.attempt(raised, function()
      local ok, err = document:_drain(math.max(ends - now(), 0))
      failed = failed or not ok and err or nil
    end)
  end
  return failed, raised
end

-- Ends the watches; where a cursor has to be moved still, that is then in flight.
local function close_watches(link, raised)
  local watches = {}
  for _, watch in pairs(link.watches) do
    watches[#watches + 1] = watch
  end
  for _, watch in ipairs(watches) do
    raised = protect.attempt(raised, watch.close, watch)
  end
  return raised
end

-- Waits for the answers to come, as long as there is time.
local function settle(link, ends, raised)
  local now = link.core.now
  -- An answer may have another operation follow.
  repeat
    local futures = {}
    for _, future in pairs(link.futures) do
      futures[#futures + 1] = future
    end
    for _, future in ipairs(futures) do
      if link.handle then
        raised = protect.attempt(raised, future.wait_blocking, future, math.max(ends - now(), 0))
      end
    end
  until #futures == 0 or not link.handle or now() >= ends
  while link.handle and next(link.tickets) and now() < ends do
    raised = protect.attempt(raised, link.poll, link, ends - now())
  end
  return raised
end

-- Has all operations under way fail. Coroutines are woken before a callback can do anything.
local function give_up(link, raised)
  local tickets, futures = link.tickets, link.futures
  link.tickets, link.futures = {}, {}
  for _, ticket in pairs(tickets) do
    raised = protect.attempt(raised, link.wake, link, ticket)
  end
  for _, future in pairs(futures) do
    raised = protect.attempt(raised, future.give_up, future)
  end
  return raised
end

-- Lets the woken coroutines of the built-in driver go on; one that raises ends a round, so there are several.
local function run_woken(driver, raised)
  repeat
    local failed = protect.attempt(nil, driver.run_ready, driver)
    raised = raised or failed
  until not failed
  return raised
end

-- Settles the coroutines of the built-in driver: nobody resumes them any more.
local function end_coroutines(link, raised)
  raised = run_woken(link.driver, raised)
  local futures = {}
  for future in pairs(link.kept) do
    futures[#futures + 1] = future
  end
  for _, future in ipairs(futures) do
    raised = protect.attempt(raised, future.give_up, future)
  end
  return run_woken(link.driver, raised)
end

-- Gives the session back, or leaves it to a successor. A forked process has none.
local function end_session(link, how, ends)
  local session = link.core.session(link.handle)
  if not session or session.state == "fenced" or session.state == "closed" then
    return true
  end
  local left = math.max(ends - link.core.now(), 0)
  return link.core.end_session(link.handle, how.keep_claims or false, how.linger or 0, left)
end

---Has the claimed documents saved, as far as there is time.
---@param link stillpoint.Link
---@param seconds number
---@return true|nil ok
---@return stillpoint.Error|nil err
function closing.save(link, seconds)
  local failed, raised = save_documents(link, link.core.now() + seconds, nil)
  protect.reraise(raised)
  if failed then
    return nil, failed
  end
  return true
end

---Saves, waits for what is in flight, ends the session, closes. What is not done by then fails with `unavailable`, a
---coroutine of the built-in driver, too.
---@param link stillpoint.Link
---@param seconds number
---@param how stillpoint.Closing
---@return true|nil ok
---@return stillpoint.Error|nil err
function closing.close(link, seconds, how)
  if not link.handle then
    return true
  end
  local now = link.core.now
  local ends = now() + seconds
  local failed, raised = save_documents(link, ends, nil)
  raised = close_watches(link, raised)
  raised = settle(link, ends, raised)
  -- What ran meanwhile may have closed it.
  local handle, driver = link.handle, link.driver
  if handle then
    local ok, err = end_session(link, how, ends)
    failed = failed or not ok and err or nil
    if driver then
      driver:unwatch(link)
    end
    ok, err = link.core.close(handle, math.max(ends - now(), 0))
    failed = failed or not ok and err or nil
    link.handle = nil
    link.commands:drop()
    raised = give_up(link, raised)
    if driver and driver.run_ready then
      raised = end_coroutines(link, raised)
    end
  end
  protect.reraise(raised)
  if failed then
    return nil, failed
  end
  return true
end

return closing
