-- What a worker says that it did, in a file of its own; `check.lua` holds the store to it.
--
-- A game needs nothing like it. It is the witness of the demo: a worker writes down each trade before it asks for it,
-- and again when the store has said that it is done. A line is with the system before we go on, so killing us loses
-- none.
--
--     life FENCE SUCCEEDED    a process has become the worker
--     start ID                from now on the trade may happen
--     again ID                a successor goes on with the trade that lay on the desk
--     done ID AT              the store said that it has happened
--     refused ID AT REASON    the rules of the game forbid it; it has not happened
--     leave                   a planned restart
--
-- Times are by the machine's clock, in seconds.

local world = require "world"

local journal = {}

---@param worker string
---@return string path
function journal.path(worker)
  return ("%s/journal/%s.log"):format(world.dir, worker)
end

---Opens a worker's journal, to go on where it ended.
---@param worker string
---@return fun(what: "life"|"start"|"again"|"done"|"refused"|"leave", ...: any) note
function journal.open(worker)
  local file = assert(io.open(journal.path(worker), "a"))
  return function(...)
    local words = { ... }
    for i = 1, #words do
      words[i] = tostring(words[i])
    end
    assert(file:write(table.concat(words, " "), "\n"))
    assert(file:flush())
  end
end

---@param worker string
---@return fun(): string|nil, string|nil entries What and the next word, in order.
function journal.entries(worker)
  local file = assert(io.open(journal.path(worker)))
  return function()
    local line = file:read "*l"
    if not line then
      file:close()
      return nil
    end
    return line:match "^(%a+) ?(%S*)"
  end
end

return journal
