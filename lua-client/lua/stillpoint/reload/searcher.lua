-- Makes units of what the program requires: in package.searchers (package.loaders in Lua 5.1) the kit comes right after
-- package.preload, so that a plain `require "game.player"` of a file in the roots is loaded by it.

local loader = require "stillpoint.reload.loader"
local program = require "stillpoint.reload.program"
local source = require "stillpoint.reload.source"

local searcher = {}

local function load_unit(name, path)
  local cycle = program.cycle(name)
  if cycle then
    error("cyclic dependency: " .. cycle, 0)
  end
  local text, err = source.read(path)
  if not text then
    error(err, 0)
  end
  return loader.run(name, path, text)
end

local function search(name)
  local file, tried = loader.find(name)
  if not file then
    return tried
  end
  return file.source and loader.load or function(asked)
    return load_unit(asked, file.path)
  end, file.path
end

-- Units that were loaded before the kit: `require` does not come here for them.
local function adopt_loaded()
  for name, value in pairs(package.loaded) do
    if type(name) == "string" and not program.units[name] and type(value) ~= "userdata" then
      searcher.adopt(name, value)
    end
  end
end

-- Whether the table that a unit gives is somebody else's: another module, which it requires or nothing in which is of its
-- file.
local function is_given_on(unit)
  local aliased = false
  for name, value in next, package.loaded do
    if name ~= unit.name and rawequal(value, unit.value) then
      if unit.deps[name] then
        return true
      end
      aliased = true
    end
  end
  if aliased then
    for _, value in next, unit.value do
      if type(value) == "function" and program.chunk_of(value) == unit.name then
        return false
      end
    end
  end
  return aliased
end

---Takes a module that was loaded by somebody else for a unit, if there is a file for it.
---@param name string
---@param value any
---@return stillpoint.reload.Unit|nil
function searcher.adopt(name, value)
  local path = source.find(name)
  local text = path and source.read(path)
  if not text then
    return nil
  end
  local unit = {
    name = name,
    path = path,
    source = text,
    generation = program.generation,
    adopted = program.generation,
    deps = source.dependencies(text),
    value = value,
    module = false,
  }
  program.units[name] = unit
  program.know(unit)
  if type(value) == "table" and not is_given_on(unit) then
    unit.own = value
  end
  return unit
end

---Called again after the roots changed.
function searcher.install()
  local searchers = package.searchers or package.loaders
  if not searchers then
    error("stillpoint.reload: this host has neither package.searchers nor package.loaders, so that nothing it requires can be reloaded", 0)
  end
  if not program.searcher then
    program.searcher = search
    table.insert(searchers, math.min(2, #searchers + 1), search)
  end
  for name, unit in pairs(program.units) do
    if unit.adopted and not source.find(name) then
      program.units[name] = nil
    end
  end
  adopt_loaded()
end

return searcher
