-- First in, first out. A finalizer may push while `pop` or `count` is under way, which may be anywhere: pushing only
-- moves the end, popping only the beginning.

---@class stillpoint.memory.Queue
---@field first integer
---@field last integer
---@field items table<integer, any>
local Queue = {}
Queue.__index = Queue

---@return stillpoint.memory.Queue
function Queue.new()
  return setmetatable({ first = 1, last = 0, items = {} }, Queue)
end

---@param item any
function Queue:push(item)
  local last = self.last + 1
  self.items[last] = item
  self.last = last
end

---@return any item nil: there is none.
function Queue:pop()
  local first = self.first
  local item = self.items[first]
  if item ~= nil then
    self.items[first] = nil
    self.first = first + 1
  end
  return item
end

---The item that `pop` would return.
---@return any
function Queue:peek()
  return self.items[self.first]
end

---@return integer
function Queue:count()
  return self.last - self.first + 1
end

return Queue
