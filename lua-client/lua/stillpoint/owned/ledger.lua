-- What the claimed documents of one connection have not saved yet: how much it is, how old, and whose turn it is.
--
-- It outlives the handles: a document that nobody has any more still has its changes sent, its refusals told, and its
-- claim released.

---@class stillpoint.Ledger
---@field link stillpoint.Link
---@field kept table<string, stillpoint.Changes> Of all claims not given back, by collection .. "\0" .. key.
---@field claiming table<string, integer> Claims on their way, by record.
---@field losses table<string, boolean> Records lost; the notice is still to come, or may come again.
---@field unsaved table<stillpoint.Changes, boolean> Those that have something unsaved.
---@field documents integer How many these are.
---@field patches integer Patches on their way.
---@field bytes integer About how much memory unsaved changes take.
---@field queues table<number, table> By seconds of autosave: those that gather, soonest first.
---@field attention stillpoint.Changes[] Those with a refusal that nobody was told of.
---@field dropped stillpoint.Changes[] Those to be released without a handle.
---@field releasing table<stillpoint.Changes, boolean> Those being released.
---@field told_at number When the store was last told what is unsaved, by the core's clock.
local Ledger = {}
Ledger.__index = Ledger

---Patches of one store that may be on their way at once; a further one waits for an answer first.
local PATCHES_MAX = 4096

---The same for the memory that unsaved changes take, in bytes.
local BYTES_MAX = 8 * 1024 * 1024

---The store is told what is unsaved so often, in seconds.
local TELL_EVERY = 0.5

---The ledger of a connection, made with its first claim.
---@param link stillpoint.Link
---@return stillpoint.Ledger
function Ledger.of(link)
  local ledger = link.ledger
  if not ledger then
    ledger = setmetatable({
      link = link,
      kept = {},
      claiming = {},
      losses = {},
      unsaved = {},
      documents = 0,
      patches = 0,
      bytes = 0,
      queues = {},
      attention = {},
      dropped = {},
      releasing = {},
      told_at = 0,
    }, Ledger)
    link.ledger = ledger
    link.on_poll[ledger] = true
  end
  return ledger
end

---Notes that a document has something unsaved, or no longer has.
---@param changes stillpoint.Changes
---@param is_unsaved boolean
function Ledger:mark(changes, is_unsaved)
  if (self.unsaved[changes] or false) == is_unsaved then
    return
  end
  self.unsaved[changes] = is_unsaved or nil
  self.documents = self.documents + (is_unsaved and 1 or -1)
  if self.documents == 0 or is_unsaved and self.documents == 1 then
    self:tell()
  end
end

---Tells the store what is unsaved, for its operator.
function Ledger:tell()
  local link = self.link
  if not link.handle then
    return
  end
  local now = link.core.now()
  local oldest = now
  for changes in pairs(self.unsaved) do
    oldest = math.min(oldest, changes:since() or now)
  end
  self.told_at = now
  link.core.unsaved(link.handle, self.documents, now - oldest)
end

---Whether there is no room for another change.
---@return boolean
function Ledger:is_full()
  return self.patches >= PATCHES_MAX or self.bytes >= BYTES_MAX
end

---Waits until there is room: for answers, of gathered changes after these are sent.
---@return true|nil ok
---@return stillpoint.Error|nil err
function Ledger:make_room()
  while self:is_full() and self.link.handle do
    local changes = next(self.unsaved)
    local ok, err = changes:flush()
    if not ok then
      return nil, err
    end
    changes:wait()
  end
  return true
end

---Has gathered changes sent when their time is over.
---@param changes stillpoint.Changes
function Ledger:enqueue(changes)
  local queue = self.queues[changes.autosave]
  if not queue then
    queue = { first = 1, last = 0 }
    self.queues[changes.autosave] = queue
  end
  changes.is_queued = true
  local due = changes.gathered.at + changes.autosave
  -- All of one queue gather for the same time, so mostly the newest comes last.
  local i = queue.last
  while i >= queue.first and queue[i].due > due do
    queue[i + 1] = queue[i]
    i = i - 1
  end
  queue[i + 1] = { changes = changes, due = due }
  queue.last = queue.last + 1
end

-- What was sent before its time may gather again by now.
local function send_due(ledger, queue, now)
  while queue.first <= queue.last and queue[queue.first].due <= now do
    local changes = queue[queue.first].changes
    queue[queue.first] = nil
    queue.first = queue.first + 1
    changes.is_queued = false
    changes:flush_due(now)
    if changes.gathered then
      ledger:enqueue(changes)
    end
  end
  return queue.first <= queue.last and queue[queue.first].due - now or nil
end

---Sends what has gathered for its time.
---@return number|nil # In how many seconds there is something to do again.
function Ledger:autosave()
  local now, soonest = self.link.core.now(), nil
  for _, queue in pairs(self.queues) do
    local left = send_due(self, queue, now)
    soonest = left and math.min(left, soonest or left) or soonest
  end
  return soonest
end

---Sends all that has gathered.
function Ledger:flush()
  local gathering = {}
  for changes in pairs(self.unsaved) do
    gathering[#gathering + 1] = changes
  end
  for _, changes in ipairs(gathering) do
    changes:flush()
  end
end

---Gives back what was dropped without having been released.
function Ledger:reap()
  local dropped = self.dropped
  if #dropped == 0 then
    return
  end
  self.dropped = {}
  for _, changes in ipairs(dropped) do
    if not changes:give_back() then
      -- It could not be sent just now.
      table.insert(self.dropped, changes)
    end
  end
end

---Has a refusal told at one of the next polls.
---@param changes stillpoint.Changes
function Ledger:attend(changes)
  self.attention[#self.attention + 1] = changes
end

local function tell_refusals(ledger)
  local attention = ledger.attention
  if #attention == 0 then
    return
  end
  ledger.attention = {}
  for _, changes in ipairs(attention) do
    if not changes:report() then
      ledger:attend(changes)
    end
  end
end

---Called by each poll.
---@return number|nil # In how many seconds to call it again.
function Ledger:_tick()
  self:reap()
  tell_refusals(self)
  local again = self:autosave()
  if self.documents > 0 then
    if self.link.core.now() >= self.told_at + TELL_EVERY then
      self:tell()
    end
    again = math.min(again or TELL_EVERY, TELL_EVERY)
  end
  return again
end

return Ledger
