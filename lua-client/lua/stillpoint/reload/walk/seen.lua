-- What a walk has met, with a note for each: a weak table in pieces.
--
-- One table of a million keys would stand still for 40 to 100 ms when it grows (it is hashed anew as a whole). So it is
-- cut into pieces that are full at a size at which growing costs some milliseconds; a look-up asks each, the newest
-- first. Pieces get larger as they get many, so that there are never more than a few dozen.
--
-- Both keys and notes are weak: what is noted here lives as long as the program wants it.

---@class stillpoint.reload.Seen
---@field newest table The piece that is being filled.
---@field older integer How many full ones there are, at [1] to [older].
---@field room integer What the newest still takes.
---@field size integer Of the newest, when full.
local Seen = {}
Seen.__index = Seen

local WEAK = { __mode = "kv" }

---Objects in the first pieces; a power of two, since a table doubles.
local PIECE = 65536

---So many pieces of a size, before they get twice as large.
local PIECES = 8

---@return stillpoint.reload.Seen
function Seen.new()
  return setmetatable({ newest = setmetatable({}, WEAK), older = 0, room = PIECE, size = PIECE }, Seen)
end

---@param object any
---@return any note nil: not met yet.
function Seen:get(object)
  local note = self.newest[object]
  for i = self.older, 1, -1 do
    if note ~= nil then
      break
    end
    note = self[i][object]
  end
  return note
end

---@param object any Not there yet.
---@param note any
function Seen:add(object, note)
  if self.room == 0 then
    self.older = self.older + 1
    self[self.older] = self.newest
    self.newest = setmetatable({}, WEAK)
    if self.older % PIECES == 0 then
      self.size = self.size * 2
    end
    self.room = self.size
  end
  self.room = self.room - 1
  self.newest[object] = note
end

return Seen
