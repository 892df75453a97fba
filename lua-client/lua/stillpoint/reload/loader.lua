-- Runs the chunk of a unit: when it is required for the first time, and again in a reload.
--
-- While a chunk runs, the global `require` is one that notes what the chunk depends on and that says how a circle of
-- dependencies goes; between chunks it is the program's own. A chunk that kept it in a local may call it for ever.

local image = require "stillpoint.reload.image"
local isolate = require "stillpoint.reload.isolate"
local plain = require "stillpoint.reload.plain"
local program = require "stillpoint.reload.program"
local source = require "stillpoint.reload.source"

local loader = {}

-- Chunks that were begun.
local begun = 0

-- What `require` was when the outermost chunk began.
local inner = require

-- By which LuaJIT marks a module that is being loaded; Lua 5.1 does it by a userdata.
local LUAJIT_MARK = -115 * 2 ^ -1074

local function is_loaded(name)
  local value = rawget(package.loaded, name)
  return value ~= nil and type(value) ~= "userdata" and value ~= LUAJIT_MARK
end

-- Whether the reload under way has to run the unit, and did not yet.
local function is_pending(name)
  local tx = program.transaction
  return tx and tx.files and tx.files[name] and not tx.ran[name] or false
end

local function noting(name)
  local unit = program.current()
  if unit and type(name) == "string" then
    unit.deps[name] = true
    if not is_loaded(name) then
      local cycle = program.cycle(name)
      if cycle then
        error("cyclic dependency: " .. cycle, 2)
      end
      if is_pending(name) then
        return loader.load(name)
      end
    end
  end
  return inner(name)
end

local function run_chunk(unit, chunk)
  local outer = rawget(_G, "require")
  if outer ~= noting then
    inner = outer or inner
    rawset(_G, "require", noting)
  end
  program.enter(unit)
  local ok, value = isolate.call(chunk, unit.name, unit.path)
  program.leave()
  -- A chunk that replaced `require` by its own meant it.
  if rawget(_G, "require") == noting then
    rawset(_G, "require", outer)
  end
  return ok, value
end

local function phase_of(message)
  if message:find("cyclic dependency: ", 1, true) or message:find "module '[^'\n]+' not found" then
    return "dependency"
  end
  return "run"
end

local function failed(unit, phase, failure)
  failure.unit, failure.phase = unit.name, phase
  return failure
end

-- What `require` is to give. The table there was before keeps its identity.
local function value_of(unit, was, value, there)
  local declared = unit.declared
  if declared then
    unit.own = declared
    return declared
  end
  if value == nil then
    value = true
    if is_loaded(unit.name) then
      value = package.loaded[unit.name]
    end
  end
  return type(value) == "table" and plain.replace(unit, was, value, there) or value
end

-- Compiles and runs the text as the next generation of the unit. Gives a failure.
local function execute(unit, path, text)
  local was = unit.value
  unit.path, unit.source, unit.generation = path, text, program.generation_now()
  unit.deps, unit.declared, unit.adopted = {}, nil, nil
  begun = begun + 1
  unit.begun = begun
  program.know(unit)
  local chunk, err = source.compile(text, path, unit.generation)
  if not chunk then
    local file, line = isolate.place(err)
    local raised = ("error loading module '%s' from file '%s':\n\t%s"):format(unit.name, path, err)
    return failed(unit, "compile", { message = err, file = file or path, line = line, traceback = err, raised = raised })
  end
  local there = plain.loaded_values()
  local ok, value = run_chunk(unit, chunk)
  if not ok then
    return failed(unit, phase_of(value.message), value)
  end
  if unit.declared and value ~= nil and not rawequal(value, unit.declared) then
    local message = "%s: the unit called reload.module, but returned something else: return that table"
    return failed(unit, "run", { message = message:format(path), file = path })
  end
  unit.value = value_of(unit, was, value, there)
  unit.module = unit.declared ~= nil
  unit.declared = nil
end

-- A first load that failed leaves nothing behind. In a reload the images see to that.
local function take_back(unit, images)
  images:restore()
  if not unit.source then
    program.units[unit.name] = nil
  end
  -- Lua 5.1 would leave its mark there, and speak of a loop at the next try.
  if not is_loaded(unit.name) then
    package.loaded[unit.name] = nil
  end
end

local function run_alone(unit, path, text)
  local images = image.new()
  images:save(unit)
  local failure = execute(unit, path, text)
  if failure then
    take_back(unit, images)
    return failure
  end
  plain.baseline(unit)
end

local function run_in_reload(unit, path, text)
  local tx = program.transaction
  local list = tx.affected[unit.name] and tx.rerun or tx.added
  list[unit.name] = unit
  tx.ran[unit.name] = true
  local failure = execute(unit, path, text)
  -- The first one counts: units that required this one fail for it, or hide it.
  tx.failure = tx.failure or failure
  tx.order[#tx.order + 1] = unit.name
  return failure
end

---Runs a unit. Raises what its chunk raises.
---@param name string
---@param path string
---@param text string
---@return any value
function loader.run(name, path, text)
  local unit = program.units[name]
  if not unit then
    unit = { name = name }
    program.units[name] = unit
  end
  local failure = (program.transaction and run_in_reload or run_alone)(unit, path, text)
  if failure then
    error(failure.raised or failure.message, 0)
  end
  return unit.value
end

---Runs a unit of which the reload under way has the text.
---@param name string
---@return any value
function loader.load(name)
  local file = program.transaction.files[name]
  local value = loader.run(name, file.path, file.source)
  package.loaded[name] = value
  return value
end

---Where the unit's text is, or is to be taken from.
---@param name string
---@return stillpoint.reload.File|nil
---@return string tried For the message of `require`.
function loader.find(name)
  local tx = program.transaction
  local file = tx and tx.files and tx.files[name]
  if file then
    return file, ""
  end
  if tx and tx.vanished[name] then
    return nil, ("\n\tits file is gone: '%s'"):format(tx.vanished[name].path)
  end
  local path, tried = source.find(name)
  if path then
    return { path = path }, ""
  end
  if #tried == 0 then
    return nil, ""
  end
  -- From 5.4 on `require` puts the line end before what each searcher says.
  local lead = _VERSION < "Lua 5.4" and "\n\t" or ""
  return nil, lead .. "no file '" .. table.concat(tried, "'\n\tno file '") .. "'"
end

---The table of the unit that is being loaded: the one it had before, emptied.
---@param unit stillpoint.reload.Unit
---@return table
function loader.module(unit)
  if not unit.declared then
    local t = unit.own or {}
    program.save(t)
    image.clear(t)
    unit.declared = t
  end
  return unit.declared
end

return loader
