-- What a reload has to run: the units whose files are not what runs, those that are forced, and whatever depends on
-- them.

local program = require "stillpoint.reload.program"
local source = require "stillpoint.reload.source"

---@class stillpoint.reload.File
---@field path string
---@field source string

---Contents of files, by path; false: there is none.
---@alias stillpoint.reload.Look table<string, string|false>

---@class stillpoint.reload.Scan
---@field files table<string, stillpoint.reload.File> Of all units that have to run.
---@field texts table<string, stillpoint.reload.File> Of all units.
---@field changed string[]
---@field dependents string[]
---@field vanished table<string, stillpoint.reload.Unit>
---@field order string[] Names of the files: dependencies first, as far as they are known from before.
---@field at_hand table<string, stillpoint.reload.File> Units of the generation to go back to, or of what was prepared, that there are not now; they run if somebody requires them.

local scan = {}

local function sorted_names(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

scan.sorted_names = sorted_names

-- The text that the unit is to have; nil, nil: the file is gone.
local function wanted(unit, order)
  if order.earlier then
    return order.earlier[unit.name]
  elseif order.prepared then
    local file = order.prepared[unit.name]
    -- A unit that was loaded since is what it is.
    return file == nil and { path = unit.path, source = unit.source } or file or nil
  end
  -- Where `require` would find it now: it may have moved, or another in an earlier root has come before it.
  local path = source.find(unit.name) or unit.path
  local text, err, gone = source.read(path)
  if not text and not gone then
    return nil, { message = err, file = path, unit = unit.name, traceback = err }
  end
  return text and { path = path, source = text }
end

local function dependents_of(names)
  local found, queue = {}, {}
  for name in pairs(names) do
    queue[#queue + 1] = name
  end
  while #queue > 0 do
    local name = table.remove(queue)
    for other, unit in pairs(program.units) do
      if unit.deps[name] and not names[other] and not found[other] then
        found[other] = true
        queue[#queue + 1] = other
      end
    end
  end
  return found
end

-- Units that require each other, which they can if one puts its value into package.loaded before it is done, have to be
-- begun as they were the first time. Then they are all begun so, and run each other as they require each other.
local function in_order(files)
  local order, seen, circular = {}, {}, false
  local function visit(name)
    if seen[name] or not files[name] then
      circular = circular or seen[name] == "visiting"
      return
    end
    seen[name] = "visiting"
    for _, dep in ipairs(sorted_names(program.units[name].deps)) do
      visit(dep)
    end
    seen[name] = "done"
    order[#order + 1] = name
  end
  local names = sorted_names(files)
  for _, name in ipairs(names) do
    visit(name)
  end
  if not circular then
    return order
  end
  table.sort(names, function(a, b)
    local begun, other = program.units[a].begun or 0, program.units[b].begun or 0
    return begun < other or begun == other and a < b
  end)
  return names
end

---Files that are not what runs, by path: their texts; false: there is none.
---@return stillpoint.reload.Look
function scan.differing()
  local found = {}
  for _, unit in pairs(program.units) do
    local file = wanted(unit, {})
    if not file then
      found[unit.path] = false
    elseif file.source ~= unit.source or file.path ~= unit.path then
      found[file.path] = file.source
    end
  end
  return found
end

---@param order stillpoint.reload.Order
---@return stillpoint.reload.Scan|nil
---@return stillpoint.reload.Failure|nil
function scan.run(order)
  local texts, changed, vanished = {}, {}, {}
  for _, name in ipairs(sorted_names(program.units)) do
    local unit = program.units[name]
    local file, failure = wanted(unit, order)
    if failure then
      return nil, failure
    elseif not file then
      vanished[name] = unit
    else
      texts[name] = file
      if order.force[name] or file.source ~= unit.source or file.path ~= unit.path then
        changed[name] = file
      end
    end
  end
  local begun = {}
  for name in pairs(changed) do
    begun[name] = true
  end
  for name in pairs(vanished) do
    begun[name] = true
  end
  local dependents, files = dependents_of(begun), {}
  for name in pairs(changed) do
    files[name] = texts[name]
  end
  for name in pairs(dependents) do
    files[name] = texts[name]
  end
  local at_hand = {}
  for name, file in pairs(order.earlier or order.prepared or {}) do
    at_hand[name] = not program.units[name] and file or nil
  end
  return {
    files = files,
    texts = texts,
    at_hand = at_hand,
    changed = sorted_names(changed),
    dependents = sorted_names(dependents),
    vanished = vanished,
    order = in_order(files),
  }
end

return scan
