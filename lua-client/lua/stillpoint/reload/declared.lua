-- What the declarations share: who declares, in which run of its chunk, and names for messages.
--
-- What is declared belongs to the unit whose chunk declares it. When that chunk has run again, what it did not declare
-- again is gone; so each kind remembers by whom and in which *run* a thing was declared.

local program = require "stillpoint.reload.program"

local declared = {}

---The owner of what is declared outside the chunks of units.
local MAIN = "main"

---@param fn? function Outside of chunks, in hooks, say, the owner is the unit that made this function.
---@return string owner
---@return string path For messages.
function declared.owner(fn)
  local unit = program.current()
  if not unit and fn then
    unit = program.units[program.chunk_of(fn) or false]
  end
  if unit then
    return unit.name, unit.path
  end
  return MAIN, "the main program"
end

---A place for what a kind of declaration has to know until a transaction is over: one table per transaction.
---@return fun(tx: stillpoint.reload.Transaction): table
function declared.memory()
  local memories = setmetatable({}, { __mode = "k" })
  return function(tx)
    local memory = memories[tx]
    if not memory then
      memory = {}
      memories[tx] = memory
    end
    return memory
  end
end

---Something that is the same as long as the chunk that declares is the same run of the same unit: the table of what it
---required, which is a new one in each run. For the main program, which cannot be run again, it is never the same.
---@return table
function declared.run()
  local unit = program.current()
  return unit and unit.deps or {}
end

---The transaction that is being staged: what is declared now may never come to be.
---@return stillpoint.reload.Transaction|nil
function declared.staging()
  local tx = program.transaction
  local phase = tx and tx.phase
  if phase == "commit" or phase == "resource" or phase == "hook" or phase == "close" then
    return nil
  end
  return tx
end

---Adds changes to the list of a report, always in the same order.
---@param list stillpoint.reload.Change[]
---@param changes stillpoint.reload.Change[]
function declared.report(list, changes)
  table.sort(changes, function(a, b)
    if a.unit ~= b.unit then
      return a.unit < b.unit
    elseif a.name ~= b.name then
      return a.name < b.name
    end
    return tostring(a.to) < tostring(b.to)
  end)
  for _, change in ipairs(changes) do
    list[#list + 1] = change
  end
end

---Whether what the owner declared in an earlier run stands: its chunk neither runs again now, nor is its file gone.
---@param owner string
---@return boolean
function declared.stands(owner)
  local tx = program.transaction
  if tx and (tx.affected[owner] or tx.vanished[owner]) then
    return false
  end
  return owner == MAIN or program.units[owner] ~= nil or program.cycle(owner) ~= nil
end

---What a field is called: `game.player.tick`, `Player.heal`, `_G.print`.
---@param t table
---@param key any
---@return string
function declared.name_of(t, key)
  local name = rawequal(t, _G) and "_G"
  for _, entry in next, program.registry "class" do
    name = name or rawequal(entry.class, t) and entry.name
  end
  for unit_name, unit in next, program.units do
    name = name or rawequal(unit.value, t) and unit_name
  end
  for module_name, value in next, package.loaded do
    name = name or rawequal(value, t) and module_name
  end
  return (name or "a table") .. "." .. tostring(key)
end

---Checks an argument of a public function; blames its caller.
---@param expected string A type.
---@param value any
---@param what string
function declared.check(expected, value, what)
  if type(value) ~= expected then
    error(("%s: a %s expected, got %s"):format(what, expected, value == nil and "nil" or "a " .. type(value)), 3)
  end
end

return declared
