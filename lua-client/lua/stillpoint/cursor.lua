-- A durable cursor as a watch moves it: forward only, by writes of which one at most is under way. Where the watch got
-- meanwhile is written next, positions in between never are.

local Future = require "stillpoint.future"
local results = require "stillpoint.results"

---@class stillpoint.Cursor
---@field link stillpoint.Link
---@field name string
---@field wanted string|nil A position that is not yet on its way.
---@field flight stillpoint.Future|nil The write under way.
---@field at integer The revision it was moved to last, or is to be.
---@field moved number When, by the core's clock.
---@field err stillpoint.Error|nil Why it can no longer be moved.
---@field on_failed fun(err: stillpoint.Error)
local Cursor = {}
Cursor.__index = Cursor

---Past what is not watched it moves when it is behind by so many revisions, no more often than this, in seconds ...
local BEHIND_MAX = 1000
local PASS_EVERY_MIN = 1

---... or after this time. Not at each chance: moving it is a commit, too, which all cursors then have to move past.
local PASS_EVERY_MAX = 60

---A write that failed for a reason that passes is repeated with the next position; what others mean does not pass.
local function is_final(err)
  return not err.retryable and not err.maybe_applied
end

---@param link stillpoint.Link
---@param name string
---@param on_failed fun(err: stillpoint.Error) Called once, when it can no longer be moved.
---@return stillpoint.Cursor
function Cursor.new(link, name, on_failed)
  return setmetatable({ link = link, name = name, on_failed = on_failed, at = 0, moved = link.core.now() }, Cursor)
end

---Moves it here, at once or after the write under way.
---@param position string
---@param rev integer|nil The revision that the position is behind, if known.
function Cursor:move(position, rev)
  self.wanted = position
  self.at = rev or self.at
  self.moved = self.link.core.now()
  self:send()
end

---Moves it past what is not watched, now and then.
---@param position string
---@param rev integer
function Cursor:pass(position, rev)
  local behind, since = rev - self.at, self.link.core.now() - self.moved
  if self.wanted then
    -- What was to be written before failed.
    self:send()
  elseif behind >= BEHIND_MAX and since >= PASS_EVERY_MIN or behind > 0 and since >= PASS_EVERY_MAX then
    self:move(position, rev)
  end
end

---Sends what is wanted, unless a write is under way.
function Cursor:send()
  local link = self.link
  if self.flight then
    -- Its callback, which clears it, may have to run still.
    self.flight:done()
  end
  if self.flight or self.err or not self.wanted or not link.handle then
    return
  end
  local position = self.wanted
  self.wanted = nil
  self.flight = Future.submit(link, results.value, link.deadline, 0, "set_cursor", self.name, position)
  self.flight:on_done(function(_, err)
    self.flight = nil
    if not err then
      self:send()
    elseif is_final(err) then
      self.err = err
      self.on_failed(err)
    else
      self.wanted = self.wanted or position
    end
  end)
end

return Cursor
