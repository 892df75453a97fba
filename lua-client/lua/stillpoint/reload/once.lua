-- `reload.once`: data that is initialised once, and then outlives every generation of the code that uses it.
--
--     local online = reload.once("player.online", function() return {} end)
--
-- Names are global to the program: several units may share a value, and one that nobody asks for any more stays, since
-- data is not the code's to lose.

local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

-- name -> { value = }: a box, so that nil and false are values like others.
local boxes = program.registry "once"

local memory = declared.memory()

local once = {}

---@generic T
---@param name string
---@param init fun(): T Called the first time only. When it raises, nothing is kept.
---@return T
function once.once(name, init)
  declared.check("string", name, "name")
  declared.check("function", init, "init")
  if not boxes[name] then
    local owner = declared.owner(init)
    local value = init()
    -- While init yielded, another coroutine may have been first.
    if not boxes[name] then
      boxes[name] = { value = value, owner = owner }
      local tx = declared.staging()
      if tx then
        local added = memory(tx)
        added[#added + 1] = { unit = owner, kind = "once", name = name, to = type(value) }
      end
    end
  end
  return boxes[name].value
end

program.declare {
  kind = "once",
  changes = function(tx, list)
    declared.report(list, memory(tx))
  end,
  owns = function(value)
    for _, box in next, boxes do
      if rawequal(box.value, value) then
        return true
      end
    end
    return false
  end,
  roots = function()
    local tables = {}
    for _, box in next, boxes do
      if type(box.value) == "table" then
        tables[#tables + 1] = box.value
      end
    end
    return tables
  end,
}

return once
