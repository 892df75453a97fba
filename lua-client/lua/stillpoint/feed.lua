-- What a watch is told, message by message from the core, as single events; and how far they are handled.

---@class stillpoint.Feed
---@field link stillpoint.Link
---@field id integer The core's number of the watch.
---@field is_over boolean Nothing more comes.
---@field err stillpoint.Error|nil Why.
---@field at string|nil The position behind all that was handled.
---@field cursor stillpoint.Cursor|nil Moved there.
---@field queue stillpoint.WatchEvent[] Of the message at hand, from `next` on.
---@field next integer
---@field behind string|nil The position behind that message.
---@field rev integer|nil The revision that it tells up to, if known.
---@field in_resync boolean
local Feed = {}
Feed.__index = Feed

---@param link stillpoint.Link
---@param id integer
---@return stillpoint.Feed
function Feed.new(link, id)
  return setmetatable({ link = link, id = id, is_over = false, queue = {}, next = 1, in_resync = false }, Feed)
end

-- Puts a message's events into the queue.
local unpack_item = {}

function unpack_item.started() end

function unpack_item.bookmark() end

function unpack_item.commits(queue, item)
  for _, commit in ipairs(item.commits) do
    local events = commit.events
    for i, ev in ipairs(events) do
      ev.rev = ev.rev or commit.rev
      ev.time, ev.session, ev.last = commit.time, commit.session, i == #events
      queue[#queue + 1] = ev
    end
  end
end

function unpack_item.resync_begin(queue, item)
  queue[1] = { type = "resync", reason = item.reason, last = false, snapshot = true }
end

function unpack_item.resync_data(queue, item)
  for _, ev in ipairs(item.events) do
    ev.last, ev.snapshot = false, true
    queue[#queue + 1] = ev
  end
end

function unpack_item.resync_end(queue, item)
  queue[1] = { type = "synced", rev = item.rev, last = true, snapshot = true }
end

-- Within a resync there is no place to go on from.
local function position_of(feed, item)
  if feed.in_resync or item.position == "" then
    return nil
  end
  return item.position
end

local function load_item(feed, item)
  if item.type == "resync_begin" then
    feed.in_resync = true
  elseif item.type == "resync_end" then
    feed.in_resync = false
  end
  local position = position_of(feed, item)
  local commits = item.commits
  feed.rev = commits and #commits > 0 and commits[#commits].rev or item.rev
  feed.queue, feed.next, feed.behind = {}, 1, position
  unpack_item[item.type](feed.queue, item)
  if item.type == "bookmark" and position then
    feed.at, feed.behind = position, nil
    if feed.cursor and item.rev then
      feed.cursor:pass(position, item.rev)
    end
  end
end

---Takes in the next message. The one before is handled.
---@param seconds number How long to wait for it; with 0 nothing is driven.
---@return string|nil kind The message's; nil: there is none yet, or the feed is over.
function Feed:fetch(seconds)
  if self.is_over then
    return nil
  end
  local item, err = self.link.core.watch_next(self.link.handle, self.id, seconds)
  if item then
    load_item(self, item)
    return item.type
  elseif item == nil then
    self:finish(err)
  end
end

---Takes the next event, if it is there.
---@return stillpoint.WatchEvent|nil
function Feed:take()
  while self.next > #self.queue do
    if not self:fetch(0) then
      return nil
    end
  end
  local ev = self.queue[self.next]
  self.queue[self.next] = false
  self.next = self.next + 1
  return ev
end

---Gives the event taken last back, to be taken again.
---@param ev stillpoint.WatchEvent
function Feed:give_back(ev)
  self.next = self.next - 1
  self.queue[self.next] = ev
end

---Notes that all events taken are handled.
function Feed:acknowledge()
  if self.behind and self.next > #self.queue then
    self.at, self.behind = self.behind, nil
    if self.cursor then
      self.cursor:move(self.at, self.rev)
    end
  end
end

---@param err stillpoint.Error|nil nil: it was closed.
function Feed:finish(err)
  if not self.is_over then
    self.is_over, self.err = true, err
    -- What was taken may yet be acknowledged, what was not will not be.
    if self.next <= #self.queue then
      self.behind = nil
    end
  end
end

return Feed
