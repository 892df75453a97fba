-- A failure at each step of a reload: the generation before runs on untouched.
--
-- "Untouched" is taken at its word: everything that can be reached, from the globals, package.loaded, the units and the
-- registries of the kit, through tables, metatables and upvalues, is written down before and after, with the identity of
-- each table and function, and compared.

-- The writes of a commit can be made to fail: the n-th from now.
local fuse
local function guard(fn)
  return function(...)
    if fuse then
      fuse = fuse - 1
      if fuse == 0 then
        fuse = nil
        error "no more memory"
      end
    end
    return fn(...)
  end
end
for _, name in ipairs { "setmetatable", "setupvalue" } do
  rawset(debug, name, guard(debug[name]))
end
_G.rawset = guard(rawset)

local program = require "program"

local equal, matches, test = program.equal, program.matches, program.test

-- Objects get a number when they are seen first, and keep it: an object that is put back is the same, a copy is not.
local numbers, last = setmetatable({}, { __mode = "k" }), 0

local function label(value)
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then
    if not numbers[value] then
      last = last + 1
      numbers[value] = kind .. " " .. last
    end
    return numbers[value]
  end
  return kind .. " " .. tostring(value)
end

local function is_kit(f)
  return debug.getinfo(f, "S").source:find("stillpoint/reload/", 1, true)
end

-- The text of one object, and what it leads to.
local function describe(value, follow)
  local parts = {}
  local meta = debug.getmetatable(value)
  if type(value) == "table" then
    for key, field in next, value do
      parts[#parts + 1] = label(key) .. " = " .. label(field)
      follow(key)
      follow(field)
    end
    if meta then
      parts[#parts + 1] = "metatable = " .. label(meta)
      follow(meta)
    end
  else
    local i = 1
    while true do
      local name, held = debug.getupvalue(value, i)
      if not name then
        break
      end
      parts[#parts + 1] = ("%s = %s"):format(name, label(held))
      follow(held)
      i = i + 1
    end
  end
  table.sort(parts)
  return label(value) .. ": " .. table.concat(parts, "; ")
end

-- The whole reachable state of a program: object -> text.
local function fingerprint()
  local kit = package.loaded["stillpoint.reload.program"]
  local texts, seen, queue = {}, { [kit] = true, [package.loaded.program] = true }, {}
  for name, module in pairs(package.loaded) do
    if type(name) == "string" and name:match "^stillpoint" then
      seen[module] = true
    end
  end
  local function follow(value)
    local kind = type(value)
    if (kind == "table" or kind == "function" and not is_kit(value)) and not seen[value] then
      seen[value] = true
      queue[#queue + 1] = value
    end
  end
  follow(_G)
  follow(package.loaded)
  follow(kit.units)
  follow(kit.registries)
  while #queue > 0 do
    local value = table.remove(queue)
    texts[label(value)] = describe(value, follow)
  end
  texts.generation = tostring(kit.generation)
  texts.transaction = tostring(kit.transaction)
  return texts
end

local function compare(before, after)
  local lines = {}
  for object, text in pairs(before) do
    if after[object] ~= text then
      lines[#lines + 1] = ("was: %s\nis:  %s"):format(text, tostring(after[object]))
    end
  end
  for object, text in pairs(after) do
    if not before[object] then
      lines[#lines + 1] = "new: " .. text
    end
  end
  if #lines > 0 then
    error("the failed reload left something:\n" .. table.concat(lines, "\n"), 3)
  end
end

-- A program that uses everything: %d is the generation. Each unit has places where a test puts what fails.
local SOURCES = {
  ["game.base"] = [[
local M = reload.module(...)
BASE_TOP
M.generation = %d
M.settings = { limit = %d, inner = { me = M } }
M.data = reload.once("data", function() return { players = { ann = { hp = 1 } }, log = {} } end)
function M.verify(ev) BASE_VERIFY end
function M.on_reload(ev)
  M.data.players.ann.hp = ev.to
  M.data.players.bob = {}
  M.data.log = nil
  BASE_HOOK
end
only_in_%d = function() end
BASE_END
return M
]],
  ["game.gate"] = [[
GATE_TOP
local base = require "game.base"
local handlers, count = {}, 0
local M = { generation = %d, tables = {} }
function M.register(name, fn) handlers[name] = fn count = count + 1 end
function M.on_connect(fd) return (fd or 0) + %d end
function M.names() return handlers, count, base end
registered_%d = true
GATE_END
return M
]],
  ["game.mail"] = [[
local M = reload.module(...)
MAIL_TOP
local base, gate = require "game.base", require "game.gate"
M.generation = %d
require("game.hub").add(M)
gate.register("mail", function() return M end)
gate.register("mail%d", function() return M end)
gate.tables.mail = M
M.Letter = reload.class "Letter"
function M.Letter:init(text) self.text = text end
function M.Letter:read%d() return self.text end
M.override = reload.override(gate, "on_connect", function(super, fd) return super(fd) + 1 end)
M.tick = function() end
M.ref = reload.ref(M, "tick")
M.one = reload.resource("one", function() opened.one = (opened.one or 0) + 1 return {} end, function() opened.one = opened.one - 1 end)
M.two = reload.resource("two", function() MAIL_OPEN opened.two = (opened.two or 0) + 1 return {} end, function() opened.two = opened.two - 1 end)
string.shout = function(s) return s .. "!" end
function M.verify(ev) MAIL_VERIFY end
function M.on_reload(ev)
  base.data.mail = M.Letter.new "changed by a hook"
  base.data.players.ann.mail = base.data.mail
  setmetatable(base.data, { __index = M })
  hooked = true
  MAIL_HOOK
end
MAIL_END
return M
]],
}

-- A unit that does not change, and has what others give it in locals.
local HUB = [[
local calls, list, latest = 0, {}, nil
local M = {}
function M.add(value) calls, latest = calls + 1, value list[#list + 1] = value end
function M.get() return calls, list, latest end
return M
]]

local ORDER = { "game.base", "game.gate", "game.mail" }

-- Writes the program of a generation, with what is to fail: { MAIL_HOOK = "error 'boom'" }.
local function write(p, generation, faults)
  for _, name in ipairs(ORDER) do
    local source = SOURCES[name]:gsub("%%d", generation)
    source = source:gsub("%f[%u][%u]+_[%u]+%f[^%u_]", function(place)
      return faults and faults[place] or ""
    end)
    p:write(name, source)
  end
end

local function start(p)
  _G.opened = {}
  p:write("game.hub", HUB)
  write(p, 1)
  local mail = p:load "game.mail"
  -- State that a running program has.
  mail.Letter.new "hello"
  local data = p:load("game.base").data
  data.players.ann.letter = mail.Letter.new "kept"
  return data
end

local function resources(p)
  local mail = p:load "game.mail"
  return { mail.one.value, mail.two.value, _G.opened.one, _G.opened.two }
end

local apply = {
  apply = function(p)
    return p.reload.apply()
  end,
  ["prepare and commit"] = function(p)
    local prepared, report = p.reload.prepare()
    if not prepared then
      return report
    end
    return p.reload.commit(prepared)
  end,
}

-- One test per way to reload: fails it, compares, and then lets it work.
local function failing(name, outcome, phase, pattern, break_it, mend, setup)
  for how, run in pairs(apply) do
    test(("%s, by %s"):format(name, how), function(p)
      start(p)
      break_it(p)
      local handles, before = resources(p), fingerprint()
      local report = run(p)
      equal({ report.ok, report.outcome, report.phase }, { false, outcome, phase }, tostring(report))
      matches(report.error.message, pattern)
      equal(report.generation, 1)
      compare(before, fingerprint())
      local now = resources(p)
      for i = 1, 4 do
        equal(rawequal(handles[i], now[i]), true, "resource")
      end
      if mend then
        mend(p)
      else
        write(p, 2)
      end
      equal(run(p).outcome, "applied")
      local gate, mail = p:load "game.gate", p:load "game.mail"
      equal({ gate.generation, mail.generation, gate.on_connect(0) }, { 2, 2, 3 })
      equal((p:load("game.hub").get()), 2)
      local data = p:load("game.base").data
      equal({ data.players.ann.hp, data.players.ann.letter:read2(), data.players.ann.letter.read1 }, { 2, "kept", nil })
      equal({ _G.opened, type(_G.only_in_2), _G.only_in_1 }, { { one = 1, two = 1 }, "function", nil })
    end, setup)
  end
end

local function with(faults)
  return function(p)
    write(p, 2, faults)
  end
end

failing("a file cannot be read", "refused", "read", "directory", function(p)
  write(p, 2)
  p:remove "game.gate"
  assert(os.execute(("mkdir %q"):format(p:path "game.gate")))
end, function(p)
  assert(os.remove(p:path "game.gate"))
  write(p, 2)
end)

for _, unit in ipairs { "BASE", "GATE", "MAIL" } do
  failing(unit .. " has a syntax error", "refused", "compile", "game/%l+.lua#2:", with { [unit .. "_TOP"] = "x = = 1" })
  failing(unit .. " fails at its first line", "refused", "run", "boom", with { [unit .. "_TOP"] = "error 'boom'" })
  failing(unit .. " fails at its last line", "refused", "run", "boom", with { [unit .. "_END"] = "error 'boom'" })
  failing(unit .. " requires what is not there", "refused", "dependency", "game.nothing' not found", with {
    [unit .. "_END"] = "require 'game.nothing'",
  })
  failing(unit .. " yields", "refused", "run", "must not yield", with { [unit .. "_END"] = "coroutine.yield()" })
end

failing("two units require each other", "refused", "dependency", "cyclic dependency", with {
  BASE_END = "require 'game.mail'",
})

failing("a unit is gone that another still requires", "refused", "dependency", "its file is gone", function(p)
  write(p, 2)
  p:remove "game.gate"
end)

failing("undeclared state would be lost", "refused", "strict", "would lose local `%l+`", function(p)
  write(p, 2)
  p:load("game.gate").register("test", p.load)
end, function(p)
  write(p, 2)
  p.reload.setup { roots = { p.dir } }
end, { strict = true })

failing("the first verify refuses", "refused", "verify", "not today", with { BASE_VERIFY = "return false, 'not today'" })
failing("the last verify refuses", "refused", "verify", "refused", with { MAIL_VERIFY = "return false" })
failing("verify raises", "refused", "verify", "boom", with { MAIL_VERIFY = "M.x = 1 base.data.x = {} error 'boom'" })

local agreed = true
failing("verify of the setup refuses", "refused", "verify", "refused", function(p)
  write(p, 2)
  agreed = false
end, function()
  agreed = true
end, {
  verify = function()
    return agreed
  end,
})

failing("a resource does not open", "rolled_back", "resource", "boom", with { MAIL_OPEN = "error 'boom'" })
failing("a resource says that it does not open", "rolled_back", "resource", "no port", with { MAIL_OPEN = "do return nil, 'no port' end" })
failing("the first hook fails", "rolled_back", "hook", "boom", with { BASE_HOOK = "error 'boom'" })
failing("the last hook fails", "rolled_back", "hook", "boom", with { MAIL_HOOK = "error 'boom'" })
failing("a hook yields", "rolled_back", "hook", "must not yield", with { MAIL_HOOK = "coroutine.yield()" })
failing("a hook that did much fails", "rolled_back", "hook", "boom", with {
  MAIL_HOOK = [[
    reload.override(base, "on_reload", function() end)
    reload.once("more", function() return {} end)
    local More = reload.class("More", M.Letter)
    function M.Letter.extra() end
    M.override:remove()
    package.loaded["game.extra"] = More
    table.insert(base.data.players, 1)
    error 'boom'
  ]],
})

test("a reload that fails at any write leaves nothing", function(p)
  start(p)
  local n, report = 0
  local seen = {}
  repeat
    n = n + 1
    write(p, 2)
    local before = fingerprint()
    fuse = n
    report = p.reload.apply()
    local blown = fuse == nil
    fuse = nil
    if blown then
      matches(report.error.message, "no more memory")
      equal({ report.ok, report.generation, p.reload.status().generation }, { false, 1, 1 })
      compare(before, fingerprint())
      seen[report.outcome] = (seen[report.outcome] or 0) + 1
    end
  until not blown
  equal(report.outcome, "applied")
  equal(p:load("game.mail").generation, 2)
  -- More than a few: each unit has several.
  equal({ seen.refused > 60, seen.rolled_back > 30 }, { true, true }, "writes")
end)

test("what the program did while a reload was prepared is not undone with it", function(p)
  local data = start(p)
  write(p, 2, { MAIL_HOOK = "error 'boom'" })
  local prepared = assert(p.reload.prepare())
  data.players.ann.hp = 50
  data.players.carl = { hp = 3 }
  local before = fingerprint()
  equal(p.reload.commit(prepared).outcome, "rolled_back")
  compare(before, fingerprint())
  equal(data.players.ann.hp, 50)
end)

test("a plan and an abort leave nothing, either", function(p)
  start(p)
  write(p, 2)
  local before = fingerprint()
  equal(p.reload.plan().ok, true)
  compare(before, fingerprint())
  p.reload.abort((p.reload.prepare()))
  compare(before, fingerprint())
end)

test("a first load that fails leaves nothing", function(p)
  start(p)
  p:write("game.extra", "local M = reload.module(...) error 'boom'")
  local before = fingerprint()
  equal(pcall(require, "game.extra"), false)
  compare(before, fingerprint())
end)

test("the comparison sees what was left", function(p)
  local data = start(p)
  local before = fingerprint()
  data.players.ann = { hp = 1, letter = data.players.ann.letter }
  equal(pcall(compare, before, fingerprint()), false)
end)

program.finish()
