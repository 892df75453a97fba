-- `reload.resource`: what has to be opened and closed, a timer, a socket, a subscription, and outlives its code or is
-- replaced with it.
--
--     local r = reload.resource("tick", function() return timer.every(1, reload.ref(M, "tick")) end, function(t) t:cancel() end)
--
-- On first load it is opened at once. While a reload is staged nothing is opened or closed: `r.value` is still the old.
-- At commit the new generation adopts the old value if it knows how; else it opens its own before the old one is closed
-- (`exclusive`: after), by the functions of the generation that opened it. Closing what is replaced or declared no more
-- is the last step, and the only one that cannot be taken back.

local declared = require "stillpoint.reload.declared"
local program = require "stillpoint.reload.program"

---@class stillpoint.reload.Resource The handle; the same in all generations.
---@field value any What `open` or `adopt` gave; nil before the commit that opens it and after it was closed. Read only.
---@field is_open boolean The same.
local Handle = { __name = "stillpoint.reload.Resource" }

-- What a handle shows. Kept beside it, so that a reload that is taken back does not write an old value over one that had
-- to be opened again.
local states = setmetatable({}, { __mode = "k" })

function Handle:__index(key)
  return states[self][key]
end

function Handle.__newindex(_, key)
  error(("a resource's %s is read only: open, adopt and close change it"):format(tostring(key)), 2)
end

---@class stillpoint.reload.ResourceFunctions
---@field open fun(): any nil and an error, or raising: it failed.
---@field close fun(value: any)|nil
---@field adopt fun(value: any, ev: table): any|nil Takes over what the generation before it opened; nil: it stays the value.
---@field exclusive boolean|nil There can be only one: closed first, opened then.

---@class stillpoint.reload.ResourceEntry
---@field owner string
---@field path string
---@field name string
---@field run table In which it was declared last.
---@field handle stillpoint.reload.Resource
---@field functions stillpoint.reload.ResourceFunctions

---What a commit has to do with a resource, and what of it is done.
---@class stillpoint.reload.Replacement
---@field entry stillpoint.reload.ResourceEntry
---@field old stillpoint.reload.ResourceFunctions|nil
---@field new stillpoint.reload.ResourceFunctions
---@field step "opened"|"adopted"|"closed"|"replaced"|nil
---@field value any The old one.
---@field problem any What closing the old one raised.

---@type table<string, stillpoint.reload.ResourceEntry> By owner and name.
local registry = program.registry "resource"

local memory = declared.memory()

local function label(entry)
  return ("resource '%s' of %s"):format(entry.name, entry.path)
end

local function open(entry, functions)
  local value, err = functions.open()
  if value == nil and err ~= nil then
    error(("%s cannot be opened: %s"):format(label(entry), tostring(err)), 0)
  end
  local state = states[entry.handle]
  state.value, state.is_open = value, true
end

local function close(functions, value)
  if functions.close then
    functions.close(value)
  end
end

local function event(tx)
  local generation = program.generation
  return {
    from = tx and tx.from or generation,
    to = tx and tx.to or generation,
    rollback = tx and tx.rollback or false,
  }
end

-- Brings a resource to what a new generation declares, but for the closing of the old value.
---@param r stillpoint.reload.Replacement
local function replace(r, tx)
  local state = states[r.entry.handle]
  if not state.is_open then
    open(r.entry, r.new)
    r.step = "opened"
    return
  end
  r.value = state.value
  if r.new.adopt then
    local value = r.new.adopt(r.value, event(tx))
    if value ~= nil then
      state.value = value
    end
    r.step = "adopted"
  elseif r.new.exclusive then
    -- From here on the old one counts as closed, even if closing raised half-way.
    r.step = "closed"
    state.value, state.is_open = nil, false
    local ok, err = pcall(close, r.old, r.value)
    open(r.entry, r.new)
    r.problem = not ok and err or nil
  else
    open(r.entry, r.new)
    r.step = "replaced"
  end
end

-- Takes back what `replace` did, as far as it came.
---@param r stillpoint.reload.Replacement
local function take_back(r)
  local state = states[r.entry.handle]
  local value, is_open = state.value, state.is_open
  if r.step == "adopted" then
    state.value = r.value
  elseif r.step == "replaced" then
    state.value = r.value
    close(r.new, value)
  elseif r.step == "opened" then
    state.value, state.is_open = nil, false
    close(r.new, value)
  elseif r.step == "closed" then
    state.value, state.is_open = nil, false
    local ok, err = true, nil
    if is_open then
      ok, err = pcall(close, r.new, value)
    end
    open(r.entry, r.old)
    assert(ok, err)
  end
end

-- Does what must not fail a reload; what it raises is for the report.
local function attempt(tx, entry, doing, fn, ...)
  local ok, err = pcall(fn, ...)
  if not ok then
    tx.notes[#tx.notes + 1] = ("%s: %s: %s"):format(label(entry), doing, tostring(err))
  end
end

local OPTIONS = { adopt = "function", exclusive = "boolean" }

local function read_options(adopt, opts)
  if type(adopt) == "table" and opts == nil then
    adopt, opts = nil, adopt
  end
  local read = { adopt = adopt }
  if opts ~= nil and type(opts) ~= "table" then
    error("options: a table expected, got a " .. type(opts), 3)
  end
  for name, value in next, opts or {} do
    if type(value) ~= OPTIONS[name] then
      error(("option '%s': use adopt (a function), exclusive (a boolean)"):format(tostring(name)), 3)
    end
    read[name] = value
  end
  if read.adopt ~= nil and type(read.adopt) ~= "function" then
    error("adopt: a function expected, got a " .. type(read.adopt), 3)
  end
  return read
end

-- Outside a reload the declaration acts at once. Without a protected call when it opens: Lua 5.1 cannot yield out of one.
local function act(entry, old, functions)
  if not states[entry.handle].is_open then
    return open(entry, functions)
  end
  local r = { entry = entry, old = old, new = functions }
  local ok, err = pcall(replace, r)
  if not ok then
    take_back(r)
    error(err, 0)
  end
  if r.step == "replaced" then
    close(old, r.value)
  end
end

-- Leaves it to the steps of the reload.
local function defer(tx, entry, old, functions)
  local list = memory(tx)
  local r = { entry = entry, old = old, new = functions }
  list[#list + 1] = r
  list[entry] = true
  return r
end

local resource = {}

---Declares a resource of the unit.
---@param name string Of this resource alone, within the unit.
---@param opener fun(): any
---@param closer fun(value: any)|nil
---@param adopt fun(value: any, ev: table): any|nil
---@param opts { adopt: function|nil, exclusive: boolean|nil }|nil May also be given in the place of `adopt`.
---@return stillpoint.reload.Resource
function resource.resource(name, opener, closer, adopt, opts)
  declared.check("string", name, "name")
  declared.check("function", opener, "open")
  if closer ~= nil then
    declared.check("function", closer, "close")
  end
  local functions = read_options(adopt, opts)
  functions.open, functions.close = opener, closer
  local owner, path = declared.owner(opener)
  local key, run, tx = owner .. "\0" .. name, declared.run(), declared.staging()
  local committing = program.transaction and program.transaction.phase == "hook" and program.transaction
  local entry = registry[key]
  if entry and entry.run == run then
    error(("%s is declared twice: rename one"):format(label(entry)), 2)
  elseif not entry then
    entry = { owner = owner, name = name, handle = setmetatable({}, Handle) }
    states[entry.handle] = { is_open = false }
  end
  local old = entry.functions
  program.save(entry)
  entry.path = path
  if tx then
    defer(tx, entry, old, functions)
  elseif committing then
    -- A hook declares: what comes after it may fail, and closing is for the end.
    replace(defer(committing, entry, old, functions), committing)
  else
    act(entry, old, functions)
  end
  entry.run, entry.functions = run, functions
  registry[key] = entry
  return entry.handle
end

program.declare {
  kind = "resource",
  finish = function(tx)
    local list, gone = memory(tx), {}
    for key, entry in next, registry do
      if not list[entry] and not declared.stands(entry.owner) then
        registry[key] = nil
        gone[#gone + 1] = { entry = entry, old = entry.functions }
      end
    end
    list.gone = gone
  end,
  changes = function(tx, list)
    local changes = {}
    local function add(entry, from, to)
      changes[#changes + 1] = { unit = entry.owner, kind = "resource", name = entry.name, from = from, to = to }
    end
    for _, r in ipairs(memory(tx)) do
      local state = states[r.entry.handle]
      if not state.is_open then
        add(r.entry, nil, "opened")
      else
        add(r.entry, "open", r.new.adopt and "adopted" or r.new.exclusive and "closed, opened again" or "replaced")
      end
    end
    for _, r in ipairs(memory(tx).gone or {}) do
      add(r.entry, "open", "closed")
    end
    declared.report(list, changes)
  end,
  open = function(tx)
    for _, r in ipairs(memory(tx)) do
      replace(r, tx)
    end
  end,
  undo = function(tx)
    local list = memory(tx)
    for i = #list, 1, -1 do
      attempt(tx, list[i].entry, "taking it back", take_back, list[i])
      list[i].step = nil
    end
  end,
  close = function(tx)
    for _, r in ipairs(memory(tx)) do
      if r.problem then
        attempt(tx, r.entry, "closing the old one", error, r.problem, 0)
      elseif r.step == "replaced" then
        attempt(tx, r.entry, "closing the old one", close, r.old, r.value)
      end
    end
    for _, r in ipairs(memory(tx).gone or {}) do
      local state = states[r.entry.handle]
      if state.is_open then
        attempt(tx, r.entry, "closing it", close, r.old, state.value)
        state.value, state.is_open = nil, false
      end
    end
  end,
  owns = function(value)
    return states[value] ~= nil
  end,
}

return resource
