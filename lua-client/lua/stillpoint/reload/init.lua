-- The surface of the reload kit: the running program is updated whole, as a transaction.

local program = require "stillpoint.reload.program"

local reload = {}

-- The declarations, each in a file of its own that gives one or more functions.
for _, name in ipairs { "once", "class", "ref", "override", "resource" } do
  local found, declaration = pcall(require, "stillpoint.reload." .. name)
  if found then
    reload[name] = type(declaration) == "table" and declaration[name] or declaration
    if name == "class" and type(declaration) == "table" then
      reload.instanceof = declaration.instanceof
    end
  end
end

function reload.status()
  return { generation = program.generation }
end

return reload
