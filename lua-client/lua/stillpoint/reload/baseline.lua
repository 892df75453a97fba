-- What a unit would lose in a reload: state that it keeps in locals and in its module table, and did not declare.
--
-- When a unit has been loaded, the *baseline* notes what its locals (as its functions see them) and its table hold: the
-- next load will make just that again. What is different by the time of a reload was written meanwhile, and would be
-- gone. Values that are declared (`once`, classes ...), modules, and functions of units that run again are no loss.

local image = require "stillpoint.reload.image"
local program = require "stillpoint.reload.program"

local getinfo = debug and debug.getinfo
local getupvalue = debug and debug.getupvalue

---Tables of a unit that are looked into, at most.
local TABLES_MAX = 500

---Entries that are noted one by one; of larger tables only the number is.
local ENTRIES_MAX = 256

local baseline = {}

---@class stillpoint.reload.Loss
---@field unit string
---@field kind "local"|"scalar"|"coroutine"|"callback"|"global"
---@field name string
---@field file string
---@field line integer|nil
---@field detail string

local function is_kept(value, kept)
  if kept[value] then
    return true
  end
  for _, kind in ipairs(program.kinds) do
    if kind.owns and kind.owns(value) then
      return true
    end
  end
  return false
end

-- Values that outlive any reload: modules, and what belongs to the whole program.
local function kept_values()
  local kept = { [_G] = true }
  for _, value in next, package.loaded do
    kept[value] = true
  end
  return kept
end

local function count(t)
  local n = 0
  for _ in next, t do
    n = n + 1
  end
  return n
end

-- The content of a table, and of those in it.
local function note_table(notes, t, kept)
  if notes.tables[t] or notes.n >= TABLES_MAX or is_kept(t, kept) then
    return
  end
  notes.n = notes.n + 1
  local entries = count(t)
  local note = { count = entries }
  notes.tables[t] = note
  if entries > ENTRIES_MAX then
    return
  end
  note.copy = {}
  for key, value in next, t do
    note.copy[key] = value
    if type(value) == "table" and not image.getmeta(value) then
      note_table(notes, value, kept)
    end
  end
end

-- Goes through the unit's functions and gives `fn(f, index, name, value)` each local they refer to, once.
local function each_local(unit, kept, fn)
  local seen, cells, queue, tables = {}, {}, { unit.value }, 0
  while #queue > 0 do
    local value = table.remove(queue)
    if seen[value] then
      value = nil
    end
    if type(value) == "table" and tables < TABLES_MAX and (rawequal(value, unit.value) or not is_kept(value, kept)) then
      seen[value] = true
      tables = tables + 1
      for _, field in next, value do
        queue[#queue + 1] = field
      end
      queue[#queue + 1] = image.getmeta(value)
    elseif type(value) == "function" and program.chunk_of(value) == unit.name then
      seen[value] = true
      local i = 1
      while true do
        local name, held = getupvalue(value, i)
        if not name then
          break
        end
        -- Where cells cannot be told from each other, names stand for them.
        local cell = debug.upvalueid and debug.upvalueid(value, i) or name
        if name ~= "_ENV" and not cells[cell] then
          cells[cell] = true
          fn(value, i, name, held)
        end
        queue[#queue + 1] = held
        i = i + 1
      end
    end
  end
end

---Notes what the unit holds now that it was loaded.
---@param unit stillpoint.reload.Unit
function baseline.take(unit)
  local kept = kept_values()
  local notes = { tables = {}, n = 0, locals = {} }
  unit.baseline = notes
  if getupvalue then
    each_local(unit, kept, function(f, i, name, value)
      if type(value) ~= "function" then
        notes.locals[#notes.locals + 1] = { f = f, index = i, name = name, value = value }
        if type(value) == "table" then
          note_table(notes, value, kept)
        end
      end
    end)
  end
  if type(unit.value) == "table" then
    kept[unit.value] = nil
    note_table(notes, unit.value, kept)
  end
end

local function describe(value)
  local kind = type(value)
  if kind == "table" then
    local n = count(value)
    return ("table, %d %s"):format(n, n == 1 and "entry" or "entries")
  elseif kind == "string" then
    return ("%q"):format(#value > 40 and value:sub(1, 40) .. "..." or value)
  end
  return kind == "userdata" and kind or tostring(value)
end

-- Whether a function is made again, as the unit of its chunk runs again.
local function comes_back(value, affected)
  return type(value) == "function" and affected[program.chunk_of(value) or false]
end

local differs

-- Whether a table is no longer what the baseline saw.
local function has_changed(notes, t, kept, affected, visited)
  local note = notes.tables[t]
  if not note or visited[t] then
    return false
  end
  visited[t] = true
  if not note.copy then
    return count(t) ~= note.count
  end
  for key, value in next, t do
    if differs(notes, note.copy[key], value, kept, affected, visited) then
      return true
    end
  end
  for key, value in next, note.copy do
    if t[key] == nil and type(value) ~= "function" then
      return true
    end
  end
  return false
end

-- Whether the reload would lose `now`, when the unit had made `was`.
function differs(notes, was, now, kept, affected, visited)
  if type(now) == "function" then
    return not rawequal(was, now) and not comes_back(now, affected) and not is_kept(now, kept)
  elseif type(now) == "table" then
    if is_kept(now, kept) then
      return false
    end
    return not rawequal(was, now) or has_changed(notes, now, kept, affected, visited)
  end
  return not rawequal(was, now) and now == now
end

---Adds what the unit would lose.
---@param unit stillpoint.reload.Unit
---@param affected table<string, any> Units that run again.
---@param list stillpoint.reload.Loss[]
function baseline.losses(unit, affected, list)
  local notes = unit.baseline
  if not notes then
    return
  end
  local kept = kept_values()
  for _, was in ipairs(notes.locals) do
    local _, now = getupvalue(was.f, was.index)
    if differs(notes, was.value, now, kept, affected, {}) then
      list[#list + 1] = {
        unit = unit.name,
        kind = "local",
        name = was.name,
        file = unit.path,
        line = getinfo(was.f, "S").linedefined,
        detail = describe(now),
      }
    end
  end
  local t = unit.value
  local note = type(t) == "table" and notes.tables[t]
  if not note or not note.copy then
    return
  end
  for _, key in ipairs(image.sorted_keys(t)) do
    local now = rawget(t, key)
    if differs(notes, note.copy[key], now, kept, affected, {}) then
      list[#list + 1] = {
        unit = unit.name,
        kind = "scalar",
        name = image.key_text(key),
        file = unit.path,
        detail = describe(now),
      }
    end
  end
end

return baseline
