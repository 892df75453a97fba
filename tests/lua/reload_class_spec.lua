-- reload.class: refilled in place, so that objects that are there get what the new generation has.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

local function class_of(text)
  return "local M = reload.module(...) local C = reload.class 'Player' M.Player = C " .. text .. " return M"
end

test("an object is made by new and by a call, and initialised by init, its own or an inherited one", function(p)
  local Base = p.reload.class "Base"
  function Base:init(name, n)
    self.name, self.n = name, n
  end
  local Derived = p.reload.class("Derived", Base)
  local Plain = p.reload.class "Plain"
  local a, b = Base.new("a", 1), Derived("b", nil)
  equal({ a.name, a.n, b.name, b.n, rawget(Plain(), "name") }, { "a", 1, "b", nil, nil })
  equal(rawequal(getmetatable(b), Derived), true)
  equal({ Derived.super == Base, Base.super, Plain.super }, { true, nil, nil })
  matches(tostring(Derived), "^class Derived$")
end)

test("init can be defined anew in a derived class, and call the one above", function(p)
  local Base, seen = p.reload.class "Base", {}
  function Base.init(_, x)
    seen[#seen + 1] = "base " .. x
  end
  local Derived = p.reload.class("Derived", Base)
  function Derived:init(x)
    Derived.super.init(self, x)
    seen[#seen + 1] = "derived " .. x
  end
  Derived(7)
  equal(seen, { "base 7", "derived 7" })
end)

test("instanceof knows a class and its bases, and nothing else", function(p)
  local A = p.reload.class "A"
  local B = p.reload.class("B", A)
  local C = p.reload.class("C", B)
  local is = p.reload.instanceof
  equal({ is(C(), C), is(C(), B), is(C(), A), is(A(), B), is(B, B) }, { true, true, true, false, false })
  equal({ is({}, A), is(nil, A), is("x", A), is(12, A), is(setmetatable({}, {}), A) }, { false, false, false, false, false })
  raises("class: a table expected, got nil", is, A(), nil)
end)

test("metamethods are inherited, also those that come after the derived class", function(p)
  local Base = p.reload.class "Base"
  local Derived = p.reload.class("Derived", Base)
  local Last = p.reload.class("Last", Derived)
  function Base:init(n)
    self.n = n
  end
  function Base:__tostring()
    return "n" .. self.n
  end
  function Base.__eq(a, b)
    return a.n == b.n
  end
  function Base.__lt(a, b)
    return a.n < b.n
  end
  function Base.__le(a, b)
    return a.n <= b.n
  end
  function Base.__add(a, b)
    return a.n + b.n
  end
  function Base.__concat(a, b)
    return a.n .. "," .. b.n
  end
  function Base:__call(x)
    return self.n * x
  end
  function Derived:__tostring()
    return "d" .. self.n
  end
  local a, b = Last(1), Last(2)
  equal({ tostring(a), tostring(Base(1)), tostring(Derived(1)) }, { "d1", "n1", "d1" })
  equal({ a == Last(1), a ~= b, a < b, a <= b, a + b, a .. b, b(21) }, { true, true, true, true, 3, "1,2", 42 })
end)

test("an __index function is plain Lua in its class, and comes after the methods in derived ones", function(p)
  local Base = p.reload.class "Base"
  function Base.__index(_, key)
    return rawget(Base, key) or "dynamic " .. tostring(key)
  end
  function Base.fixed()
    return "fixed"
  end
  local Derived = p.reload.class("Derived", Base)
  function Derived.own()
    return "own"
  end
  local d = Derived()
  equal({ Base().x, Base().fixed(), d.own(), d.fixed(), d.y }, { "dynamic x", "fixed", "own", "fixed", "dynamic y" })
end)

test("objects get new methods, and lose the ones that are gone", function(p)
  p:write("game.player", class_of "function C:init(n) self.n = n end function C:hp() return self.n end function C:old() end")
  local M = p:load "game.player"
  local Player, ann = M.Player, M.Player(7)
  local hp = ann.hp
  p:write("game.player", class_of "function C:hp() return self.n * 10 end function C:new_one() return 'n' end")
  local report = p:apply()
  equal(rawequal(Player, require("game.player").Player), true)
  equal({ ann:hp(), ann:new_one(), ann.old, ann.init }, { 70, "n", nil, nil })
  equal(hp(ann), 7, "a method taken out before")
  equal(p.reload.instanceof(ann, Player), true)
  local seen = {}
  for _, change in ipairs(report.changes) do
    seen[change.kind .. " " .. change.name] = change.unit
  end
  equal(seen["function_gone Player.old"], "game.player")
  equal(seen["function_new Player.new_one"], "game.player")
  equal(seen["function_gone Player.hp"], nil)
end)

test("a constructor that was handed out makes objects of the class of now", function(p)
  p:write("game.player", class_of "function C:init() self.v = 1 end")
  local new = p:load("game.player").Player.new
  p:write("game.player", class_of "function C:init() self.v = 2 end")
  p:apply()
  equal(new().v, 2)
end)

test("a base that was refilled gives its new methods and metamethods to derived classes of other units", function(p)
  p:write("game.entity", [[local M = reload.module(...) M.E = reload.class "Entity"
    function M.E:__tostring() return "old" end function M.E:__len() return 1 end function M.E:hp() return 1 end return M]])
  p:write("game.player", [[local M = reload.module(...) local E = require "game.entity".E
    M.P = reload.class("Player", E) function M.P:own() return "own" end return M]])
  local ann = p:load("game.player").P()
  equal({ tostring(ann), ann:hp() }, { "old", 1 })
  p:write("game.entity", [[local M = reload.module(...) M.E = reload.class "Entity"
    function M.E:__tostring() return "new" end function M.E:__unm() return "minus" end function M.E:hp() return 2 end return M]])
  p:apply()
  equal({ tostring(ann), ann:hp(), ann:own(), -ann }, { "new", 2, "own", "minus" })
  equal({ getmetatable(ann).__len }, {})
end)

test("derived classes follow a base whose unit runs again without theirs", function(p)
  p:write("game.entity", "reload.class 'Entity'.__tostring = function() return 'old' end return reload.module(...)")
  p:load "game.entity"
  -- Declared by the main program, which no reload runs again.
  local Entity = p.reload.class "Holder"
  p:write("game.base", "local M = reload.module(...) M.B = reload.class 'Base' function M.B:__tostring() return 'old' end return M")
  local Derived = p.reload.class("Derived", p:load("game.base").B)
  local object = Derived()
  p:write("game.base", "local M = reload.module(...) M.B = reload.class 'Base' function M.B:__tostring() return 'new' end return M")
  p:apply()
  equal({ tostring(object), rawequal(Derived.super, require("game.base").B), Entity.super }, { "new", true, nil })
end)

test("a changed base is the base of living objects", function(p)
  local text = [[local M = reload.module(...)
    local A, B = reload.class "A", reload.class "B"
    function A:name() return "a" end function B:name() return "b" end function A:__tostring() return "A" end
    M.A, M.B, M.C = A, B, reload.class("C"%s) return M]]
  p:write("game.c", text:format ", A")
  local M = p:load "game.c"
  local object = M.C()
  equal({ object:name(), tostring(object), p.reload.instanceof(object, M.A) }, { "a", "A", true })
  p:write("game.c", text:format ", B")
  local report = p:apply()
  equal({ object:name(), p.reload.instanceof(object, M.A), p.reload.instanceof(object, M.B) }, { "b", false, true })
  equal(rawget(M.C, "__tostring"), nil)
  equal(rawequal(M.C.super, M.B), true)
  local found
  for _, change in ipairs(report.changes) do
    found = found or change.kind == "class" and change.name == "C" and change.from .. ", " .. change.to
  end
  equal(found, "base A, base B")
  p:write("game.c", text:format "")
  p:apply()
  equal({ object.name, M.C.super, p.reload.instanceof(object, M.B) }, { nil, nil, false })
end)

test("a class of a name that another unit has names both files", function(p)
  p:write("game.a", "reload.class 'Player' return reload.module(...)")
  p:write("game.b", "reload.class 'Player' return reload.module(...)")
  p:load "game.a"
  local err = raises("class 'Player' is declared by .*game/a%.lua and by .*game/b%.lua: rename one", function()
    p:load "game.b"
  end)
  matches(err, "game/b%.lua#1:1: class")
end)

test("in a reload, too, and the old generation runs on", function(p)
  p:write("game.a", "local M = reload.module(...) M.P = reload.class 'Player' function M.P:v() return 1 end return M")
  p:write("game.b", "return reload.module(...)")
  local ann = p:load("game.a").P()
  p:load "game.b"
  p:write("game.b", "reload.class 'Player' return reload.module(...)")
  local report = p.reload.apply()
  equal({ report.ok, report.outcome, report.phase }, { false, "refused", "run" })
  matches(report.error.message, "class 'Player' is declared by .*game/a%.lua and by .*game/b%.lua")
  equal(ann:v(), 1)
  -- Both at once, in either order.
  p:write("game.a", "local M = reload.module(...) M.P = reload.class 'Player' function M.P:v() return 2 end return M")
  report = p.reload.apply()
  equal({ report.ok, ann:v() }, { false, 1 })
  matches(report.error.message, "class 'Player' is declared by .*game/%l%.lua and by .*game/%l%.lua")
end)

test("a class can move from one unit to another, and keeps its objects", function(p)
  for _, order in ipairs { { "game.a", "game.b" }, { "game.z", "game.b" } } do
    local from, to = order[1], order[2]
    local name = "Moving" .. from:sub(-1)
    local text = "local M = reload.module(...) M.P = reload.class '%s' function M.P:v() return %d end return M"
    p:write(from, text:format(name, 1))
    p:write(to, "return reload.module(...)")
    local object = p:load(from).P()
    p:load(to)
    p:write(from, "return reload.module(...)")
    p:write(to, text:format(name, 2))
    p:apply()
    equal({ object:v(), rawequal(getmetatable(object), require(to).P) }, { 2, true })
    p:write(to, "return reload.module(...)")
    p:apply()
  end
end)

test("a class that is declared no more leaves its objects as they are; declared again it is theirs", function(p)
  p:write("game.player", class_of "function C:v() return 1 end")
  local object = p:load("game.player").Player()
  p:write("game.player", "return reload.module(...)")
  local report = p:apply()
  equal(object:v(), 1)
  local gone
  for _, change in ipairs(report.changes) do
    gone = gone or change.kind == "class" and change.name == "Player" and change.to == nil
  end
  equal(gone, true)
  p:write("game.player", class_of "function C:v() return 3 end")
  p:apply()
  equal(object:v(), 3)
end)

test("a class twice in one run of a unit is refused", function(p)
  p:write("game.a", "reload.class 'Player' reload.class 'Player' return reload.module(...)")
  raises("class 'Player' is declared twice by .*game/a%.lua", p.load, p, "game.a")
  p:write("game.a", "reload.class 'Player' return reload.module(...)")
  p:load "game.a"
end)

test("a base is a table that is not the class itself", function(p)
  local class = p.reload.class
  local A = class "A"
  local B = class("B", A)
  raises("class 'A' cannot be its own base", class, "A", B)
  raises("base of class 'C': a class expected, got nil; is its module loaded%?", class, "C", nil)
  raises("base of class 'C': a class expected, got a string", class, "C", "A")
  raises("name: a string expected, got nil", class)
  local plain = { hello = function() return "hello" end, __unm = function() return "minus" end }
  plain.__index = plain
  local C = class("C", plain)
  equal({ C().hello(), -C(), p.reload.instanceof(C(), plain) }, { "hello", "minus", true })
end)

test("a plain unit's table can be a base, in every generation", function(p)
  local text = [[local Base = {} Base.__index = Base function Base.hello() return %d end function Base.__unm() return %d end
    Base.Derived = reload.class("Derived", Base) return Base]]
  p:write("game.base", text:format(1, 1))
  local object = p:load("game.base").Derived()
  for i = 2, 4 do
    p:write("game.base", text:format(i, i))
    p:apply()
    equal({ object.hello(), -object, rawequal(getmetatable(object).super, require "game.base") }, { i, i, true })
  end
end)

-- Everything that a class is, to compare by.
local function state(class, object)
  local copy = {}
  for key, value in next, class do
    copy[tostring(key)] = tostring(value)
  end
  return { fields = copy, meta = tostring(getmetatable(object)), super = tostring(class.super), text = tostring(object), hp = object:hp() }
end

test("a reload that fails leaves a class as it was, between two that do not", function(p)
  local text = [[local M = reload.module(...)
    local E = reload.class "Entity" function E:__tostring() return "e%d" end function E:hp() return %d end
    M.P = reload.class("Player", E) function M.P:only%d() end %s return M]]
  p:write("game.player", text:format(1, 1, 1, ""))
  local Player = p:load("game.player").P
  local ann = Player()
  for i = 2, 5 do
    local before = state(Player, ann)
    for _, bad in ipairs { "error 'late'", "reload.class 'Player'", "function M.on_reload() error 'hook' end" } do
      p:write("game.player", text:format(100, 100, 100, bad))
      local report = p.reload.apply()
      equal(report.ok, false)
      equal(state(Player, ann), before)
    end
    equal(p.reload.plan().ok, true)
    equal(state(Player, ann), before)
    p:write("game.player", text:format(i, i, i, ""))
    p:apply()
    equal({ tostring(ann), ann:hp(), type(ann["only" .. i]), ann["only" .. i - 1] }, { "e" .. i, i, "function", nil })
  end
end)

test("a hundred reloads leave a class as it was", function(p)
  local text = class_of "function C:v() return %d end function C:__unm() return %d end M.D = reload.class('D', C)"
  p:write("game.player", text:format(0, 0))
  local M = p:load "game.player"
  local ann, d, Player = M.Player(), M.D(), M.Player
  local fields = 0
  for _ in next, Player do
    fields = fields + 1
  end
  for i = 1, 100 do
    p:write("game.player", text:format(i, i))
    p:apply()
    assert(ann:v() == i and d:v() == i and -d == i and M.Player == Player)
  end
  for _ in next, Player do
    fields = fields - 1
  end
  equal(fields, 0)
  equal(rawequal(Player.super, nil), true)
end)

program.finish()
