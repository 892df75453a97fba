-- Images of tables, by which a reload can be taken back.
--
-- An image is a raw, shallow copy of a table, with its metatable; of a function, its upvalues. All that a reload may
-- touch is saved before it begins; afterwards `restore` brings the old state back, and `take_down` also gives what was
-- written, to be written again at commit. Tables keep their identity throughout.
--
-- A reload saves many tables and changes few. So all images together are one list, which costs no allocation for each,
-- and what was not changed is seen from `next` still giving what the list says, in its order.

local getmeta = debug and debug.getmetatable or getmetatable
local setmeta = debug and debug.setmetatable or setmetatable
local getupvalue = debug and debug.getupvalue
local setupvalue = debug and debug.setupvalue
local next, rawequal, rawget, rawset = next, rawequal, rawget, rawset

-- Stands for nil in a list. A function, since comparing it to a table calls no metamethod of that.
local function NIL() end

---@class stillpoint.reload.Images
---@field at table<table, integer> Where in `log` the image of a table begins.
---@field log any[] For each image: the table, its metatable or false, twice the number of its entries; keys and values.
---@field last integer
---@field upvalues any[] Triples, flat: function, index, value.
---@field functions table<function, true>
local Images = {}
Images.__index = Images

local image = { getmeta = getmeta, setmeta = setmeta }

---@return stillpoint.reload.Images
function image.new()
  return setmetatable({ at = {}, log = {}, last = 0, upvalues = {}, functions = {} }, Images)
end

---@param t table
---@param max? integer Entries that it may have.
---@return boolean saved false: it has more, and was not saved.
function Images:save(t, max)
  if self.at[t] then
    return true
  end
  local log, at = self.log, self.last + 1
  local last, stop = at + 2, max and at + 2 + 2 * max
  log[at], log[at + 1] = t, getmeta(t) or false
  for key, value in next, t do
    if last == stop then
      return false
    end
    log[last + 1], log[last + 2] = key, value
    last = last + 2
  end
  log[at + 2] = last - at - 2
  self.at[t], self.last = at, last
  return true
end

---The content that was saved of a table.
---@param t table
---@return table|nil
function Images:copy(t)
  local log, at = self.log, self.at[t]
  if not at then
    return nil
  end
  local copy = {}
  for n = at + 3, at + 2 + log[at + 2], 2 do
    copy[log[n]] = log[n + 1]
  end
  return copy
end

---@param f function
function Images:save_upvalues(f)
  if self.functions[f] or not getupvalue or not setupvalue then
    return
  end
  self.functions[f] = true
  local upvalues, n, i = self.upvalues, #self.upvalues, 1
  while true do
    local name, value = getupvalue(f, i)
    -- Those of C functions have no name.
    if not name or name == "" then
      return
    end
    if value == nil then
      value = NIL
    end
    upvalues[n + 1], upvalues[n + 2], upvalues[n + 3] = f, i, value
    n, i = n + 3, i + 1
  end
end

-- Whether a table is still what its image says. A table that was changed and changed back may be said to have changed.
local function is_as_saved(log, at)
  local n = at + 3
  local stop = n + log[at + 2]
  for key, value in next, log[at] do
    if n == stop or not rawequal(value, log[n + 1]) or not rawequal(key, log[n]) then
      return false
    end
    n = n + 2
  end
  return n == stop
end

-- Calls `fn(t, copy)` for each table whose entries may have changed, and `of_meta(t, old, new)` where the metatable has.
local function each_changed(self, fn, of_meta)
  local log, at = self.log, 1
  while at <= self.last do
    local t, meta = log[at], log[at + 1] or nil
    if not is_as_saved(log, at) then
      fn(t, self:copy(t))
    end
    if of_meta and not rawequal(getmeta(t), meta) then
      of_meta(t, meta, getmeta(t))
    end
    at = at + 3 + log[at + 2]
  end
end

-- NaN is no change from NaN.
local function differ(a, b)
  return not rawequal(a, b) and (a == a or b == b)
end

-- Brings a table to the content of a copy. Writes only what differs: whoever traverses the table meanwhile can go on.
local function bring(t, copy)
  for key in next, t do
    if copy[key] == nil then
      rawset(t, key, nil)
    end
  end
  for key, value in next, copy do
    if differ(rawget(t, key), value) then
      rawset(t, key, value)
    end
  end
end

local function each_slot(t, copy, fn)
  for key, value in next, t do
    if differ(copy[key], value) then
      fn(t, key, copy[key], value)
    end
  end
  for key, old in next, copy do
    if rawget(t, key) == nil then
      fn(t, key, old, nil)
    end
  end
end

-- Calls `fn(f, index, new, old)` for each upvalue that is no longer what was saved.
local function each_changed_upvalue(self, fn)
  local saved = self.upvalues
  for n = 1, #saved, 3 do
    local f, i, old = saved[n], saved[n + 1], saved[n + 2]
    local _, value = getupvalue(f, i)
    if old == NIL then
      old = nil
    end
    if differ(value, old) then
      fn(f, i, value, old)
    end
  end
end

local function bring_back(self)
  each_changed(self, bring, setmeta)
  each_changed_upvalue(self, function(f, i, _, old)
    setupvalue(f, i, old)
  end)
end

---Brings everything back to what it was when it was saved.
function Images:restore()
  -- It takes some memory. If there was none, there is when what the reload made was collected.
  if not pcall(bring_back, self) then
    collectgarbage()
    bring_back(self)
  end
end

---Calls `fn(t, key, old, new)` for each slot that is no longer what was saved.
---@param fn fun(t: table, key: any, old: any, new: any)
function Images:each_change(fn)
  each_changed(self, function(t, copy)
    each_slot(t, copy, fn)
  end)
end

---Calls `fn(f, index, new)` for each upvalue that is no longer what was saved.
---@param fn fun(f: function, index: integer, new: any)
function Images:each_upvalue_change(fn)
  each_changed_upvalue(self, fn)
end

---@class stillpoint.reload.Differences
---@field slots table[] Triples, flat: table, key, { new value }.
---@field metas table[] Pairs, flat: table, { new metatable }.
---@field upvalues table[] Triples, flat: function, index, { new value }.

local function take_down(self)
  local slots, metas, upvalues = {}, {}, {}
  each_changed(self, function(t, copy)
    each_slot(t, copy, function(_, key, _, new)
      local n = #slots
      slots[n + 1], slots[n + 2], slots[n + 3] = t, key, { new }
    end)
    bring(t, copy)
  end, function(t, old, new)
    metas[#metas + 1] = t
    metas[#metas + 1] = { new }
    setmeta(t, old)
  end)
  each_changed_upvalue(self, function(f, i, new, old)
    local n = #upvalues
    upvalues[n + 1], upvalues[n + 2], upvalues[n + 3] = f, i, { new }
    setupvalue(f, i, old)
  end)
  return { slots = slots, metas = metas, upvalues = upvalues }
end

---Gives what was written since the tables were saved, and brings them back to what they were.
---@return stillpoint.reload.Differences|nil # nil: there was no memory for them.
---@return string|nil err
function Images:take_down()
  local ok, differences = pcall(take_down, self)
  if not ok then
    self:restore()
    return nil, tostring(differences)
  end
  return differences
end

---@param differences stillpoint.reload.Differences
function image.write(differences)
  local slots, metas, upvalues = differences.slots, differences.metas, differences.upvalues
  for n = 1, #slots, 3 do
    rawset(slots[n], slots[n + 1], slots[n + 2][1])
  end
  for n = 1, #metas, 2 do
    setmeta(metas[n], metas[n + 1][1])
  end
  for n = 1, #upvalues, 3 do
    setupvalue(upvalues[n], upvalues[n + 1], upvalues[n + 2][1])
  end
end

-- A text for each key, without calling anything of the program.
local function key_text(key)
  local kind = type(key)
  return (kind == "string" or kind == "number" or kind == "boolean") and tostring(key) or "a " .. kind
end

image.key_text = key_text

---The keys of a table, or of two, in the order of their texts.
---@param t table
---@param other? table
---@return any[]
function image.sorted_keys(t, other)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  for key in next, other or {} do
    if rawget(t, key) == nil then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    return key_text(a) < key_text(b)
  end)
  return keys
end

---Makes a table empty and plain. The caller has saved it.
---@param t table
function image.clear(t)
  for key in next, t do
    rawset(t, key, nil)
  end
  if getmeta(t) then
    setmeta(t, nil)
  end
end

return image
