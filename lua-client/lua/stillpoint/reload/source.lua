-- Finds, reads and compiles the files of the program.
--
-- Files are read with `io.open`, whatever loader the host has: hosts that cache compiled code would hand out the old.

local program = require "stillpoint.reload.program"

local open = io and io.open
local compile_text = loadstring or function(text, name)
  return load(text, name, "t")
end
local separator = package.config and package.config:sub(1, 1) or "/"

-- What `io.open` answers for a file or a directory that does not exist.
local GONE = { [2] = true, [20] = true }

local source = {}

---Templates with a `?` for the name, in the order they are tried.
---@type string[]
source.roots = {}

-- The folder of a template or of a script, with a slash at its end.
local function folder(path)
  return path:gsub("\\", "/"):match "^[^?]*/" or ""
end

local function is_absolute(path)
  return path:match "^[/\\]" ~= nil or path:match "^%a:" ~= nil
end

-- What of package.path is the program's: relative templates, and those of a folder that the script is in, or that is in
-- the script's. What is installed, in the system or in a tree of its own, is no part of the program.
local function default_roots()
  local script = type(arg) == "table" and type(arg[0]) == "string" and is_absolute(arg[0]) and folder(arg[0])
  local function is_ours(template)
    local dir = folder(template)
    if dir:find "/share/lua/%d" or dir:find "/lib/lua/%d" then
      return false
    end
    return not is_absolute(template)
      or script and dir ~= "/" and (script:sub(1, #dir) == dir or dir:sub(1, #script) == script)
  end
  local roots = {}
  for template in package.path:gmatch "[^;]+" do
    if is_ours(template) then
      roots[#roots + 1] = template
    end
  end
  return roots
end

---@param roots string[]|nil Templates as in package.path, several in one by `;`, or directories; nil: from package.path.
function source.set_roots(roots)
  local templates = {}
  for _, root in ipairs(roots or default_roots()) do
    for template in root:gmatch "[^;]+" do
      if template:find("?", 1, true) then
        templates[#templates + 1] = template
      else
        local dir = template:gsub("[/\\]$", "")
        templates[#templates + 1] = dir .. "/?.lua"
        templates[#templates + 1] = dir .. "/?/init.lua"
      end
    end
  end
  source.roots = templates
end

---Whether a module of that name may be a unit: the kit and the client of the store, which hold what must outlive a
---reload, are none.
---@param name string
---@return boolean
function source.may_be_unit(name)
  return name ~= "stillpoint" and not name:match "^stillpoint[%._]"
end

---@param name string
---@return string|nil path
---@return string[] tried
function source.find(name)
  local tried = {}
  if not open or not source.may_be_unit(name) then
    return nil, tried
  end
  local file_name = name:gsub("%.", separator):gsub("%%", "%%%%")
  for _, template in ipairs(source.roots) do
    local path = template:gsub("%?", file_name)
    local file = open(path, "rb")
    if file then
      file:close()
      return path, tried
    end
    tried[#tried + 1] = path
  end
  return nil, tried
end

---@param path string
---@return string|nil text
---@return string|nil err
---@return boolean|nil gone There is no such file.
function source.read(path)
  if not open then
    return nil, path .. ": this host has no io.open, so that the kit cannot read files"
  end
  local file, err, code = open(path, "rb")
  if not file then
    return nil, tostring(err), GONE[code] or false
  end
  local text
  text, err = file:read "*a"
  file:close()
  if not text then
    return nil, ("%s: %s"):format(path, tostring(err))
  end
  return text
end

---@param text string
---@param path string
---@param generation integer
---@return function|nil chunk
---@return string|nil err
function source.compile(text, path, generation)
  if text:sub(1, 1) == "\27" then
    return nil, ("%s: compiled Lua; a unit is reloaded from its source"):format(path)
  end
  -- As `lua FILE` does: a byte order mark and a first line for the shell are no Lua.
  text = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  return compile_text(text, program.chunk_name(path, generation))
end

---The names that a source requires by a literal. For units that were loaded before the kit could watch them.
---@param text string
---@return table<string, true>
function source.dependencies(text)
  local deps = {}
  for name in text:gmatch "require%s*%(?%s*[\"']([^\"'\n]+)[\"']" do
    deps[name] = true
  end
  return deps
end

-- Polynomial, modulo a prime below 2^32: no product exceeds 2^53, so that every Lua computes the same.
local MODULUS, FACTOR = 4294967291, 65599

---@param text string
---@param seed? integer
---@return integer
function source.checksum(text, seed)
  local sum = seed or 1
  for first = 1, #text, 8 do
    local bytes = { text:byte(first, first + 7) }
    for i = 1, #bytes do
      sum = (sum * FACTOR + bytes[i]) % MODULUS
    end
  end
  return sum
end

-- Sums by unit, as long as its source is the one that was summed.
local sums = setmetatable({}, { __mode = "k" })

---The fingerprint of the whole program: equal in two processes that run the same sources; and of each unit, to compare
---processes that have loaded different ones.
---@return string # 8 hex digits.
---@return table<string, string> # The same by name of unit.
function source.fingerprint()
  local names, texts = {}, {}
  for name in pairs(program.units) do
    names[#names + 1] = name
  end
  table.sort(names)
  local sum = 1
  for _, name in ipairs(names) do
    local unit = program.units[name]
    local known = sums[unit]
    if not known or known.source ~= unit.source then
      known = { source = unit.source, text = ("%08x"):format(source.checksum(unit.source)) }
      sums[unit] = known
    end
    texts[name] = known.text
    sum = source.checksum(name .. "\0" .. known.text .. "\0", sum)
  end
  return ("%08x"):format(sum), texts
end

return source
