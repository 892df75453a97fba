-- What a walk has still to look into: a weak queue in pieces, so that it grows and shrinks without a pause.

---@class stillpoint.reload.Queue
---@field pieces table<integer, table> From `first` to `last`.
---@field head integer The next place in the first piece.
---@field tail integer The place filled last in the last piece.
local Queue = {}
Queue.__index = Queue

local WEAK = { __mode = "v" }

---Objects in a piece.
local PIECE = 1024

---@return stillpoint.reload.Queue
function Queue.new()
  return setmetatable({ pieces = { setmetatable({}, WEAK) }, first = 1, last = 1, head = 1, tail = 0 }, Queue)
end

---@param object any
function Queue:push(object)
  if self.tail == PIECE then
    self.last = self.last + 1
    self.pieces[self.last] = setmetatable({}, WEAK)
    self.tail = 0
  end
  self.tail = self.tail + 1
  self.pieces[self.last][self.tail] = object
end

---@return any object nil: the queue is empty. What was collected meanwhile is left out.
function Queue:pop()
  while self.first < self.last or self.head <= self.tail do
    if self.head > PIECE then
      self.pieces[self.first] = nil
      self.first, self.head = self.first + 1, 1
    end
    local piece, head = self.pieces[self.first], self.head
    local object = piece[head]
    piece[head] = nil
    self.head = head + 1
    if object ~= nil then
      return object
    end
  end
  return nil
end

return Queue
