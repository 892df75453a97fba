-- Checks of arguments. What they find is misuse, a bug of the caller, and is raised, at the `level` (as for `error`)
-- seen from the check: 2 is the function that checks, 3 its caller.

local check = {}

---Longest name of a collection or namespace, in bytes.
local NAME_BYTES_MAX = 64

---Longest name of a cursor, in bytes.
local CURSOR_BYTES_MAX = 128

---Greatest version of a data schema.
local VERSION_MAX = 4294967295

---Collections whose version a session may declare.
local VERSIONS_MAX = 1024

local VOWELS = { a = true, e = true, i = true, o = true, u = true }

---@param value any
---@return string # "a table", "nil" ...
local function kind(value)
  local name = type(value)
  if value == nil then
    return "nil"
  end
  return (VOWELS[name:sub(1, 1)] and "an " or "a ") .. name
end

---@param expected string
---@param value any
---@param what string Name of the argument.
---@param level integer
function check.type(expected, value, what, level)
  if type(value) ~= expected then
    error(("%s: a %s expected, got %s"):format(what, expected, kind(value)), level)
  end
end

---Checks a key's type. Its length is the store's to check: keys are often data.
---@param key any
---@param level integer
function check.key(key, level)
  if type(key) ~= "string" then
    local hint = key == nil and " (called with '.' in place of ':'?)" or ""
    error("key: a string expected, got " .. kind(key) .. hint, level)
  end
end

---Checks the name of a collection or namespace; names stand in the program, so a bad one is misuse.
---@param what string "collection", "namespace" or "command".
---@param name any
---@param level integer
function check.name(what, name, level)
  if type(name) ~= "string" then
    error(("%s: a string expected, got %s"):format(what, kind(name)), level)
  end
  if name == "" then
    error(("the %s is empty: name one"):format(what), level)
  end
  if #name > NAME_BYTES_MAX or name:find "[^a-z0-9_.-]" then
    error(("invalid %s name %q: use 1 to %d of a-z 0-9 _ . -"):format(what, name, NAME_BYTES_MAX), level)
  end
end

---@param fn any
---@param what string
---@param level integer
function check.callable(fn, what, level)
  local mt = getmetatable(fn)
  if type(fn) ~= "function" and not (type(mt) == "table" and mt.__call) then
    error(("%s: a function expected, got %s"):format(what, kind(fn)), level)
  end
end

---@param value any
---@param what string
---@param level integer
function check.seconds(value, what, level)
  if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
    local got = type(value) == "number" and tostring(value) or kind(value)
    error(("%s: a number of seconds expected, got %s"):format(what, got), level)
  end
end

-- What an option's value may be, by the name that stands in the tables of options.
local is = {}

function is.integer(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value < math.huge
end

function is.count(value)
  return is.integer(value) and value > 0
end

function is.version(value)
  return is.integer(value) and value <= VERSION_MAX
end

function is.seconds(value)
  return type(value) == "number" and value > 0 and value < math.huge
end

function is.durability(value)
  return value == "applied" or value == "synced"
end

function is.guards(value)
  if type(value) ~= "table" then
    return false
  end
  for _, guard in ipairs(value) do
    if type(guard) ~= "table" then
      return false
    end
  end
  return next(value) == nil or value[1] ~= nil
end

function is.delay(value)
  return type(value) == "number" and value >= 0 and value < math.huge
end

function is.once(value)
  return type(value) == "string" and value:find "^%d+:." ~= nil
end

function is.cursor(value)
  return type(value) == "string" and #value >= 1 and #value <= CURSOR_BYTES_MAX
end

function is.record(value)
  return type(value) == "table" and type(value[1]) == "string" and type(value[2]) == "string" and #value == 2
end

function is.missed(value)
  return value == "once" or value == "all" or value == "skip"
end

function is.labels(value)
  if type(value) ~= "table" then
    return false
  end
  for name, label in pairs(value) do
    if type(name) ~= "string" or type(label) ~= "string" then
      return false
    end
  end
  return true
end

function is.any()
  return true
end

local EXPECTED = {
  integer = "a whole number, 0 or more",
  count = "a whole number above 0",
  version = ("a whole number from 0 to %.0f"):format(VERSION_MAX),
  seconds = "a number of seconds above 0",
  durability = "'applied' or 'synced'",
  guards = "a list of { path, op, value }",
  delay = "a number of seconds, 0 or more",
  once = "a token of store:once",
  cursor = ("a name of 1 to %d bytes"):format(CURSOR_BYTES_MAX),
  record = "{ collection, key }",
  missed = "'once', 'all' or 'skip'",
  labels = "a table of strings by name",
}

---@param allowed table<string, string>
---@return string
local function names(allowed)
  local list = {}
  for name in pairs(allowed) do
    if type(name) == "string" then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return table.concat(list, ", ")
end

-- What was got, for a message.
local function shown(value)
  return type(value) == "number" and tostring(value) or type(value) == "string" and "'" .. value .. "'" or kind(value)
end

---Checks the type of an event.
---@param name any
---@param types table<string, boolean>
---@param level integer
function check.event(name, types, level)
  if not types[name] then
    error(("unknown event '%s': use %s"):format(tostring(name), names(types)), level)
  end
end

---Checks a table of options.
---@param opts any
---@param allowed table<string, string> What each option may be: a Lua type, or a name of `is` above.
---@param level integer
function check.options(opts, allowed, level)
  if type(opts) ~= "table" then
    error("options: a table expected, got " .. kind(opts), level)
  end
  for name, value in pairs(opts) do
    local expected = allowed[name]
    if not expected then
      error(("unknown option '%s': use %s"):format(tostring(name), names(allowed)), level)
    end
    local test = is[expected]
    if test and not test(value) or not test and type(value) ~= expected then
      local text = EXPECTED[expected] or "a " .. expected
      error(("option '%s': %s expected, got %s"):format(name, text, shown(value)), level)
    end
  end
end

---Checks the option `schema` of a session: the versions of its data schemas by collection.
---@param versions table
---@param level integer
function check.versions(versions, level)
  local count = 0
  for collection, version in pairs(versions) do
    count = count + 1
    if type(collection) ~= "string" then
      error("option 'schema': a table of versions by collection expected, as in { player = 3 }", level)
    end
    check.name("collection", collection, level + 1)
    if not is.version(version) then
      local message = "option 'schema': %s expected for '%s', got %s"
      error(message:format(EXPECTED.version, collection, shown(version)), level)
    end
  end
  if count > VERSIONS_MAX then
    error(("option 'schema': %d collections: the limit is %d"):format(count, VERSIONS_MAX), level)
  end
end

return check
