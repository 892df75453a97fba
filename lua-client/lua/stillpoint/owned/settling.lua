-- Waiting for what a claimed document has on its way: for room, for good values, until all is saved. In a coroutine of
-- the driver others run meanwhile; else the program blocks.

local failure = require "stillpoint.failure"

local settling = {}

-- Waits until the value is what the store has, if a change was refused.
local function recover(changes, ends)
  changes.unread = nil
  while changes.is_stale and not changes.lost do
    local ok, err = changes:read()
    if not ok then
      return nil, err
    end
    local left = ends - changes.link.core.now()
    if left <= 0 then
      local message = "a change was refused, and the record could not be read again in time"
      return nil, failure.new("deadline_exceeded", message)
    end
    changes:wait(left)
    if changes.unread then
      return nil, changes.unread
    end
  end
  return true
end

-- Waits for answers until there is room for another change.
local function make_room(changes)
  while not changes.lost and changes.steps >= changes.unsaved_max do
    local ok, err = changes:flush()
    if not ok then
      return nil, err
    end
    changes:wait()
  end
  if not changes.lost and changes.ledger:is_full() then
    return changes.ledger:make_room()
  end
  return true
end

---Waits until there is room for another change and the value is good.
---@param changes stillpoint.Changes
---@return true|nil ok
---@return stillpoint.Error|nil err
function settling.prepare(changes)
  changes:done()
  repeat
    local ok, err = true, nil
    if changes.is_stale and not changes.lost then
      ok, err = recover(changes, changes.link.core.now() + changes.link.deadline)
    end
    if ok then
      ok, err = make_room(changes)
    end
    if not ok or changes.lost then
      return nil, changes.lost or err
    end
  until not changes.is_stale
  return true
end

---Waits until all is in the store.
---@param changes stillpoint.Changes
---@param seconds number
---@return true|nil ok
---@return stillpoint.Error|nil err What was refused since the last time; or why it is not saved.
function settling.save(changes, seconds)
  local now = changes.link.core.now
  local ends = now() + seconds
  while not changes.lost and (changes.gathered or changes:is_waiting() or changes.is_stale) do
    local ok, err = changes:flush()
    if ok and changes.is_stale then
      ok, err = recover(changes, ends)
    end
    if not ok then
      return nil, err
    end
    local left = ends - now()
    if left > 0 then
      changes:wait(left)
    elseif changes:is_waiting() and not changes:done() then
      local message = ("not all is saved after %g s; it goes on"):format(seconds)
      return nil, failure.new("deadline_exceeded", message, true)
    end
  end
  local refused = changes.refused
  changes.refused = nil
  if changes.lost or refused then
    return nil, changes.lost or refused
  end
  return true
end

---Gives the record back behind all that was sent; the handle is then dead.
---@param changes stillpoint.Changes
---@param why string
---@param seconds? number How long to wait until it is done; not at all unless given.
---@return true|nil ok
---@return stillpoint.Error|nil err
function settling.release(changes, why, seconds)
  local ok, err = changes:give_back()
  if not ok then
    return nil, err
  end
  changes.lost = failure.new("not_owner", ("%s/%s: %s"):format(changes.collection, changes.key, why))
  local now = changes.link.core.now
  local ends = now() + (seconds or 0)
  while seconds and changes:is_waiting() and now() < ends do
    changes:wait(ends - now())
  end
  return true
end

return settling
