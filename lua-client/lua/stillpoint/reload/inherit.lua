-- The metamethods that a class has from its base.
--
-- Lua looks them up raw, in the object's metatable alone. So they are copied into the class, and copied again when the
-- base was refilled; the entry knows which they are.

local program = require "stillpoint.reload.program"

local inherit = {}

-- `__index` has rules of its own, see `refresh_index`; the name is the class's.
local NOT_INHERITED = { __index = true, __name = true }

---Whether derived classes get a copy of what stands under the key.
---@param key any
---@return boolean
function inherit.is_inheritable(key)
  return type(key) == "string" and key:sub(1, 2) == "__" and not NOT_INHERITED[key]
end

---Sets a field raw, if it is not what it is to be already.
---@param t table
---@param key any
---@param value any
function inherit.set(t, key, value)
  if not rawequal(rawget(t, key), value) then
    program.save(t)
    rawset(t, key, value)
  end
end

-- Unless it has one of its own, a class is the `__index` of its objects; if its base has one, `entry.index` asks both.
local function refresh_index(entry)
  local own, index = rawget(entry.class, "__index"), entry.base and rawget(entry.base, "__index")
  if own == nil or rawequal(own, entry.class) or own == entry.index then
    local plain = index == nil or rawequal(index, entry.base)
    inherit.set(entry.class, "__index", plain and entry.class or entry.index)
  end
end

---Brings a class's copies to what its base has now. What the class defines itself stays.
---@param entry stillpoint.reload.ClassEntry
function inherit.refresh(entry)
  local target, before, now = entry.class, entry.inherited, {}
  for key, value in next, entry.base or {} do
    local own = inherit.is_inheritable(key) and rawget(target, key)
    if own == nil or own and rawequal(own, before[key]) then
      now[key] = value
    end
  end
  for key, value in next, before do
    if now[key] == nil and rawequal(rawget(target, key), value) then
      inherit.set(target, key, nil)
    end
  end
  for key, value in next, now do
    inherit.set(target, key, value)
  end
  refresh_index(entry)
  program.save(entry)
  entry.inherited = now
end

return inherit
