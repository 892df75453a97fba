-- What a worker says that it did, in a file of its own; `check.lua` holds the store to it.
--
-- A game needs nothing like it. It is the witness of the demo: a worker writes down each trade before it asks for it,
-- and again when the store has said that it is done. A line is with the system before we go on, so killing us loses
-- none.

local world = require "world"

local journal = {}

---@param worker string
---@return string path
function journal.path(worker)
  return ("%s/journal/%s.log"):format(world.dir, worker)
end

---Opens a worker's journal, to go on where it ended.
---@param worker string
---@return fun(what: "start"|"done"|"refused", id: string, reason: string|nil) note
function journal.open(worker)
  local file = assert(io.open(journal.path(worker), "a"))
  return function(what, id, reason)
    assert(file:write(what, " ", id, reason and " " or "", reason or "", "\n"))
    assert(file:flush())
  end
end

---@param worker string
---@return fun(): string|nil, string|nil entries What and id, in order.
function journal.entries(worker)
  local file = assert(io.open(journal.path(worker)))
  return function()
    local line = file:read "*l"
    if not line then
      file:close()
      return nil
    end
    return line:match "^(%a+) (%S+)"
  end
end

return journal
