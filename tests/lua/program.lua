-- What the reload specs share: a program of small files in a directory of its own, and a fresh kit, for each test.
--
--     local program = require "program"
--     program.test("a function is replaced", function(p)
--       p:write("game.player", "local M = reload.module(...) function M.hp() return 1 end return M")
--       local player = p:load "game.player"          -- require
--       p:write("game.player", "...")
--       local report = p.reload.apply()
--     end)
--     program.finish()
--
-- Plain Lua: neither the core nor a store is needed. Every chunk sees the kit as `reload` by a first line that `write`
-- puts in front; line 1 of what a test wrote is line 1 of the file.

local compare = require "compare"

local program = {}
program.__index = program

local passed, failed, skipped = 0, 0, 0
local searchers = package.searchers or package.loaders
local here = os.getenv "STILLPOINT_SPEC_DIR"
local SKIP = {}

local function shell(command)
  local ok = os.execute(command)
  assert(ok == true or ok == 0, command)
end

local function directory()
  local name = os.tmpname()
  os.remove(name)
  if here then
    name = here .. "/" .. name:match "[^/]+$"
  end
  return name
end

-- Forgets the kit, with its searcher.
local function forget()
  local old = package.loaded["stillpoint.reload.program"]
  for i = #searchers, 1, -1 do
    if old and searchers[i] == old.searcher then
      table.remove(searchers, i)
    end
  end
  for name in pairs(package.loaded) do
    if name:match "^stillpoint%.reload" then
      package.loaded[name] = nil
    end
  end
end

local function copy(t)
  local c = {}
  for k, v in pairs(t) do
    c[k] = v
  end
  return c
end

local function give_back(t, saved)
  for k in pairs(t) do
    if saved[k] == nil then
      t[k] = nil
    end
  end
  for k, v in pairs(saved) do
    t[k] = v
  end
end

---The path of a unit's file.
---@param name string
function program:path(name)
  return self.dir .. "/" .. name:gsub("%.", "/") .. ".lua"
end

---Writes a unit's file.
---@param name string As for `require`; directories are made.
---@param source string
function program:write(name, source)
  local dir = self:path(name):match "^(.*)/"
  if not self.made[dir] then
    shell(("mkdir -p %q"):format(dir))
    self.made[dir] = true
  end
  local file = assert(io.open(self:path(name), "w"))
  file:write('local reload = require "stillpoint.reload"; ', source)
  file:close()
end

---Writes a file as it is, without the line that has the kit.
---@param name string
---@param source string
function program:write_raw(name, source)
  self:write(name, "")
  local file = assert(io.open(self:path(name), "w"))
  file:write(source)
  file:close()
end

---@param name string
function program:remove(name)
  assert(os.remove(self:path(name)))
end

---Requires a unit.
---@param name string
function program.load(_, name)
  return require(name)
end

---Applies, and fails if that does.
---@param opts? table
function program:apply(opts)
  local report = self.reload.apply(opts)
  if not report.ok then
    error("a reload that works expected:\n" .. tostring(report), 2)
  end
  return report
end

---Ends a test that cannot be run here; with STILLPOINT_TEST_REQUIRE_ALL=1 it fails.
---@param why string
function program.skip(why)
  assert(os.getenv "STILLPOINT_TEST_REQUIRE_ALL" ~= "1", why)
  error({ SKIP, why }, 0)
end

---@param name string A sentence.
---@param fn fun(p: table)
---@param setup? table More for `reload.setup`.
function program.test(name, fn, setup)
  forget()
  local globals, loaded = copy(_G), copy(package.loaded)
  local p = setmetatable({ dir = directory(), made = {} }, program)
  shell(("mkdir -p %q"):format(p.dir))
  p.reload = require "stillpoint.reload"
  local ok, err = xpcall(function()
    if p.reload.setup then
      local opts = copy(setup or {})
      opts.roots = opts.roots or { p.dir .. "/?.lua" }
      p.reload.setup(opts)
    end
    fn(p)
  end, function(err)
    if type(err) == "table" and err[1] == SKIP then
      return err
    end
    return debug.traceback(tostring(err), 2)
  end)
  forget()
  give_back(_G, globals)
  give_back(package.loaded, loaded)
  forget()
  shell(("rm -rf %q"):format(p.dir))
  if ok then
    passed = passed + 1
  elseif type(err) == "table" then
    skipped = skipped + 1
    print(("skipped: %s: %s"):format(name, err[2]))
  else
    failed = failed + 1
    print(("FAILED: %s\n%s"):format(name, err))
  end
end

---Prints the counts and ends the program.
function program.finish()
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  os.exit(failed == 0 and passed + skipped > 0 and 0 or 1)
end

program.equal = compare.equal

---Checks that a text has a pattern.
---@param text any
---@param pattern string
function program.matches(text, pattern)
  if not tostring(text):find(pattern) then
    error(("%q expected in:\n%s"):format(pattern, tostring(text)), 2)
  end
end

---Checks that a call raises, with a message like the pattern.
---@param pattern string
---@param fn function
---@return any err
function program.raises(pattern, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    error(("an error like %q expected"):format(pattern), 2)
  end
  program.matches(err, pattern)
  return err
end

return program
