-- A durable cursor as a watch moves it: forward only, by writes of which one at most is under way. Where the watch got
-- meanwhile is written next, positions in between never are.

local Future = require "stillpoint.future"
local results = require "stillpoint.results"

---@class stillpoint.Cursor
---@field link stillpoint.Link
---@field name string
---@field wanted string|nil A position that is not yet on its way.
---@field flight stillpoint.Future|nil The write under way.
---@field moved number|nil When the last was begun, by the core's clock.
---@field err stillpoint.Error|nil Why it can no longer be moved.
---@field on_failed fun(err: stillpoint.Error)
local Cursor = {}
Cursor.__index = Cursor

---Bookmarks, after which nothing would be told again, move it no more often than this, in seconds.
local BOOKMARK_EVERY = 1

---A write that failed for a reason that passes is repeated with the next position; what others mean does not pass.
local function is_final(err)
  return not err.retryable and not err.maybe_applied
end

---@param link stillpoint.Link
---@param name string
---@param on_failed fun(err: stillpoint.Error) Called once, when it can no longer be moved.
---@return stillpoint.Cursor
function Cursor.new(link, name, on_failed)
  return setmetatable({ link = link, name = name, on_failed = on_failed }, Cursor)
end

---Moves it here, at once or after the write under way.
---@param position string
function Cursor:move(position)
  self.wanted = position
  self:send()
end

---Moves it past what is not watched, now and then.
---@param position string
function Cursor:pass(position)
  if not self.moved or self.link.core.now() >= self.moved + BOOKMARK_EVERY then
    self:move(position)
  end
end

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
  self.moved = link.core.now()
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
