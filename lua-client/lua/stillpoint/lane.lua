-- The lane of a record: operations of one lane take effect in the order submitted.

---Number of lanes; a prime. Two records in one lane only wait for each other.
local LANES = 65521

---Bytes of a key that count, from its end, where keys differ most.
local KEY_BYTES_MAX = 32

local byte = string.byte

---@param collection string
---@param key string
---@return integer # From 1.
local function lane(collection, key)
  local hash = #collection * 31 + byte(collection, 1)
  for i = math.max(1, #key - KEY_BYTES_MAX + 1), #key do
    hash = (hash * 31 + byte(key, i)) % LANES
  end
  return hash + 1
end

return lane
