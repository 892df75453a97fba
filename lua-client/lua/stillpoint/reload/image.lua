-- Images of tables, by which a reload can be taken back.
--
-- An image is a raw, shallow copy of a table, with its metatable; of a function, its upvalues. All that a reload may
-- touch is saved before it begins; afterwards `restore` brings the old state back, and `differences` gives what was
-- written, to be written again at commit. Tables keep their identity throughout.

local getmeta = debug and debug.getmetatable or getmetatable
local setmeta = debug and debug.setmetatable or setmetatable
local getupvalue = debug and debug.getupvalue
local setupvalue = debug and debug.setupvalue
local next, rawequal, rawget, rawset = next, rawequal, rawget, rawset

---@class stillpoint.reload.Images
---@field of table<table, table> The image of each table that was saved.
---@field meta table<table, table|false>
---@field order table[] The tables, in the order they were saved.
---@field upvalues table[] Triples, flat: function, index, value.
---@field functions table<function, true>
local Images = {}
Images.__index = Images

local image = { getmeta = getmeta, setmeta = setmeta }

---@return stillpoint.reload.Images
function image.new()
  return setmetatable({ of = {}, meta = {}, order = {}, upvalues = {}, functions = {} }, Images)
end

---@param t table
---@return boolean new
function Images:save(t)
  if self.of[t] then
    return false
  end
  local copy = {}
  for key, value in next, t do
    copy[key] = value
  end
  self.of[t] = copy
  self.meta[t] = getmeta(t) or false
  self.order[#self.order + 1] = t
  return true
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
    upvalues[n + 1], upvalues[n + 2], upvalues[n + 3] = f, i, { value }
    n, i = n + 3, i + 1
  end
end

-- Brings a table to the content of a copy. Writes only what differs: whoever traverses the table meanwhile can go on.
local function bring(t, copy)
  for key in next, t do
    if copy[key] == nil then
      rawset(t, key, nil)
    end
  end
  for key, value in next, copy do
    if not rawequal(rawget(t, key), value) then
      rawset(t, key, value)
    end
  end
end

---Brings everything back to what it was when it was saved.
function Images:restore()
  for _, t in ipairs(self.order) do
    local meta = self.meta[t] or nil
    bring(t, self.of[t])
    if not rawequal(getmeta(t), meta) then
      setmeta(t, meta)
    end
  end
  local upvalues = self.upvalues
  for n = 1, #upvalues, 3 do
    local f, i, saved = upvalues[n], upvalues[n + 1], upvalues[n + 2][1]
    local _, value = getupvalue(f, i)
    if not rawequal(value, saved) then
      setupvalue(f, i, saved)
    end
  end
end

-- NaN is no change from NaN.
local function differ(a, b)
  return not rawequal(a, b) and (a == a or b == b)
end

---Calls `fn(t, key, old, new)` for each slot that is no longer what was saved.
---@param fn fun(t: table, key: any, old: any, new: any)
function Images:each_change(fn)
  for _, t in ipairs(self.order) do
    local copy = self.of[t]
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
end

---Calls `fn(f, index, new)` for each upvalue that is no longer what was saved.
---@param fn fun(f: function, index: integer, new: any)
function Images:each_upvalue_change(fn)
  local saved = self.upvalues
  for n = 1, #saved, 3 do
    local _, value = getupvalue(saved[n], saved[n + 1])
    if differ(value, saved[n + 2][1]) then
      fn(saved[n], saved[n + 1], value)
    end
  end
end

---@class stillpoint.reload.Differences
---@field slots table[] Triples, flat: table, key, { new value }.
---@field metas table[] Pairs, flat: table, { new metatable }.
---@field upvalues table[] Triples, flat: function, index, { new value }.

---@return stillpoint.reload.Differences
function Images:differences()
  local slots, metas, upvalues = {}, {}, {}
  self:each_change(function(t, key, _, new)
    local n = #slots
    slots[n + 1], slots[n + 2], slots[n + 3] = t, key, { new }
  end)
  for _, t in ipairs(self.order) do
    local meta = getmeta(t)
    if not rawequal(meta, self.meta[t] or nil) then
      metas[#metas + 1] = t
      metas[#metas + 1] = { meta }
    end
  end
  self:each_upvalue_change(function(f, i, value)
    local n = #upvalues
    upvalues[n + 1], upvalues[n + 2], upvalues[n + 3] = f, i, { value }
  end)
  return { slots = slots, metas = metas, upvalues = upvalues }
end

---Saves all that `write` will write to.
---@param differences stillpoint.reload.Differences
function Images:save_targets(differences)
  for n = 1, #differences.slots, 3 do
    self:save(differences.slots[n])
  end
  for n = 1, #differences.metas, 2 do
    self:save(differences.metas[n])
  end
  for n = 1, #differences.upvalues, 3 do
    self:save_upvalues(differences.upvalues[n])
  end
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
