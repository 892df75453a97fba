-- The state of the kit: what the program consists of, and which generation of it runs.
--
-- A *unit* is one Lua file that the kit knows. Its chunk is named `@path#generation`, so whatever function turns up
-- later tells by itself which unit made it, and in which generation: `chunk_of`. The declarations (class, once, ref,
-- override, resource) keep what they know in plain tables, `registry`, so that a transaction can save and restore them
-- like any other table; what more they have to do in a reload they say with `declare`.
--
-- The kit itself is never reloaded: everything here lives as long as the process.

local getinfo = debug and debug.getinfo

---@class stillpoint.reload.Unit
---@field name string What `require` takes.
---@field path string
---@field source string As it was run last.
---@field generation integer In which it was run last.
---@field value any What `require` gives.
---@field own table|nil The table that is its value in every generation. A table that it only gives on, a library's, say, or one that was declared, is none.
---@field deps table<string, true> Names that its chunk required.
---@field begun integer|nil When it was begun, among all units; of one that was adopted nil.
---@field module boolean|nil Its value came from `reload.module`.
---@field baseline table|nil What its functions and its table held when it was loaded, see `plain`.
---@field adopted boolean|nil Loaded by somebody else, before the kit knew of it: its functions tell no generation.

---@class stillpoint.reload.Transaction
---@field phase string What it is doing: run, commit, resource, hook, close.
---@field from integer
---@field to integer
---@field rollback boolean
---@field looks_around boolean Whether to look for live coroutines and callbacks, which takes its time.
---@field scan stillpoint.reload.Scan
---@field files table<string, stillpoint.reload.File> The texts of the units that have to run, or may.
---@field affected table<string, stillpoint.reload.Unit> The units that have to run.
---@field vanished table<string, stillpoint.reload.Unit> Units whose file is gone.
---@field images stillpoint.reload.Images
---@field partial string|nil Why the images are not all.
---@field ran table<string, true> Units whose chunk was begun.
---@field rerun table<string, stillpoint.reload.Unit> Of them, those that had run before.
---@field added table<string, stillpoint.reload.Unit> And those that had not.
---@field order string[] Names of the units that ran: dependencies first.
---@field replaced table<table, table> Tables of new plain chunks -> the table of the first generation.
---@field failure stillpoint.reload.Failure|nil The first one.
---@field changes stillpoint.reload.Change[]
---@field loses stillpoint.reload.Loss[]
---@field notes string[] For the report: what did not fail, but has to be said.
---@field opened boolean|nil Resources were touched.

---A kind of declaration. All functions are optional.
---@class stillpoint.reload.Kind
---@field kind string
---@field begin? fun(tx: stillpoint.reload.Transaction) Before the first chunk runs.
---@field finish? fun(tx: stillpoint.reload.Transaction) After the last chunk, in the view: drops what units that ran, or vanished, did not declare again. May raise.
---@field changes? fun(tx: stillpoint.reload.Transaction, list: stillpoint.reload.Change[]) In the view, after `finish`.
---@field open? fun(tx: stillpoint.reload.Transaction) During commit, after the writes. May raise: all is undone.
---@field undo? fun(tx: stillpoint.reload.Transaction) The commit failed after `open` had begun: takes back what is not in tables.
---@field close? fun(tx: stillpoint.reload.Transaction) After the hooks. What it raises is reported and undoes nothing.
---@field owns? fun(value: any): boolean Whether the value is one it keeps over a reload: a local with it loses nothing.
---@field roots? fun(): table Tables of data that hooks may change; saved deeply.

---@class stillpoint.reload.Program
---@field generation integer
---@field units table<string, stillpoint.reload.Unit>
---@field transaction stillpoint.reload.Transaction|nil
---@field prepared stillpoint.reload.Prepared|nil What `reload.prepare` gave, as long as it can be committed.
---@field kinds stillpoint.reload.Kind[] In the order they were declared.
---@field registries table<string, table>
---@field searcher function|nil The one in `package.searchers`.
---@field options stillpoint.reload.Options With the defaults filled in.
local program = {
  generation = 1,
  units = {},
  kinds = {},
  registries = {},
  options = {},
}

-- The units whose chunks are running now, each required by the one before it.
local stack = {}

---The unit whose chunk runs now; nil: the main program, or a function that runs later.
---@return stillpoint.reload.Unit|nil
function program.current()
  return stack[#stack]
end

---@param unit stillpoint.reload.Unit
function program.enter(unit)
  stack[#stack + 1] = unit
end

function program.leave()
  stack[#stack] = nil
end

---How one comes back to a unit that is being loaded: `game.a -> game.b -> game.a`; nil if it is not.
---@param name string
---@return string|nil
function program.cycle(name)
  for i, unit in ipairs(stack) do
    if unit.name == name then
      local names = {}
      for j = i, #stack do
        names[#names + 1] = stack[j].name
      end
      names[#names + 1] = name
      return table.concat(names, " -> ")
    end
  end
  return nil
end

---The table that a kind of declaration keeps its things in. A transaction saves it and its direct sub-tables.
---@param name string
---@return table
function program.registry(name)
  local registry = program.registries[name]
  if not registry then
    registry = {}
    program.registries[name] = registry
  end
  return registry
end

---@param kind stillpoint.reload.Kind
function program.declare(kind)
  program.kinds[#program.kinds + 1] = kind
end

---Has every kind that knows the step take it.
---@param step "begin"|"finish"|"changes"|"open"|"undo"|"close"
function program.each(step, ...)
  for _, kind in ipairs(program.kinds) do
    if kind[step] then
      kind[step](...)
    end
  end
end

---To be called before a table is changed that is in no registry. Outside a transaction nothing has to be saved.
---@param t table
function program.save(t)
  if program.transaction then
    program.transaction.images:save(t)
  end
end

---The generation that a chunk which is compiled now belongs to.
---@return integer
function program.generation_now()
  return program.transaction and program.transaction.to or program.generation
end

---@param path string
---@param generation integer
---@return string # For `load`.
function program.chunk_name(path, generation)
  return ("@%s#%d"):format(path, generation)
end

---@param source string The name of a chunk, as `debug.getinfo(f, "S").source` has it.
---@return string|nil path
---@return integer|nil generation nil: not compiled by the kit.
function program.path_of(source)
  local path, generation = source:match "^@(.*)#(%d+)$"
  if path then
    return path, tonumber(generation)
  end
  return source:match "^@(.*)$"
end

-- path -> name, of all units there were; rewritten at each load.
local names = {}

---@param unit stillpoint.reload.Unit
function program.know(unit)
  names[unit.path] = unit.name
end

-- source of a chunk -> { name, generation }. They are asked for often, and each reload makes more: collectable.
local chunks = setmetatable({}, { __mode = "v" })

---@param source string
---@return string|nil name
---@return integer|nil generation
function program.unit_of(source)
  local chunk = chunks[source]
  if not chunk then
    local path, generation = program.path_of(source)
    local name = path and names[path]
    if not name then
      return nil
    end
    chunk = { name, generation or program.units[name] and program.units[name].adopted or 1 }
    chunks[source] = chunk
  end
  return chunk[1], chunk[2]
end

---Which unit's chunk made the function, and in which generation it was compiled; nil: none of ours, or the host has no
---`debug.getinfo`.
---@param f function
---@return string|nil name
---@return integer|nil generation
function program.chunk_of(f)
  if not getinfo then
    return nil
  end
  return program.unit_of(getinfo(f, "S").source)
end

return program
