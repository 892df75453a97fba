-- reload.override: functions around a function, that neither nest nor get lost.

local program = require "program"

local equal, matches, raises, test = program.equal, program.matches, program.raises, program.test

local GATE = "local M = reload.module(...) function M.connect(x) return 'base%d(' .. tostring(x) .. ')' end return M"

-- A unit with overrides of game.gate's connect, each with a name.
local function overriding(...)
  local lines = { "local M = reload.module(...) local gate = require 'game.gate'" }
  for _, name in ipairs { ... } do
    lines[#lines + 1] = ("M.%s = reload.override(gate, 'connect', function(super, x) return '%s(' .. super(x) .. ')' end)"):format(name, name)
  end
  lines[#lines + 1] = "return M"
  return table.concat(lines, "\n")
end

test("an override gets what it overrides, and all arguments and results pass", function(p)
  local t = {}
  function t.f(...)
    return select("#", ...), ...
  end
  p.reload.override(t, "f", function(super, self, ...)
    return self, super(...)
  end)
  equal({ t.f("self", nil, 2, nil) }, { "self", 3, nil, 2, nil })
  equal(select("#", t.f("self", nil, nil)), 4)
end)

test("the wrapper is the same function in all generations, whichever unit is reloaded", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.patch", overriding "a")
  p:load "game.patch"
  local gate = require "game.gate"
  local connect = gate.connect
  equal(connect(7), "a(base1(7))")
  p:write("game.gate", GATE:format(2))
  p:apply()
  equal({ connect(7), rawequal(gate.connect, connect) }, { "a(base2(7))", true })
  p:write("game.patch", overriding "a" .. " -- again")
  p:apply()
  p:write("game.patch", (overriding("a"):gsub("'a%('", "'A('")))
  p:apply()
  equal({ connect(7), rawequal(gate.connect, connect) }, { "A(base2(7))", true })
  p:write("game.gate", GATE:format(5))
  p:write("game.patch", overriding "a")
  p:apply()
  equal({ connect(7), rawequal(gate.connect, connect) }, { "a(base5(7))", true })
end)

test("several overrides keep the order of first declaration, of one unit and of several", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding("a", "b"))
  p:write("game.p2", overriding "c")
  p:load "game.p1"
  p:load "game.p2"
  local gate = require "game.gate"
  equal(gate.connect(0), "c(b(a(base1(0))))")
  -- Each runs alone, the first one last.
  p:write("game.p2", overriding "c" .. " --")
  p:apply()
  p:write("game.p1", overriding("a", "b") .. " --")
  p:apply()
  equal(gate.connect(0), "c(b(a(base1(0))))")
  p:write("game.p1", overriding("a", "b", "d"))
  p:apply()
  equal(gate.connect(0), "d(c(b(a(base1(0)))))")
  p:apply { force = { "game.gate" } }
  equal(gate.connect(0), "d(c(b(a(base1(0)))))")
end)

test("an override that is declared no more vanishes; the last one gives the function back", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding("a", "b", "c"))
  local base = p:load("game.gate").connect
  p:load "game.p1"
  local gate = require "game.gate"
  local wrapper = gate.connect
  equal(gate.connect(0), "c(b(a(base1(0))))")
  p:write("game.p1", overriding("a", "c"))
  local report = p:apply()
  equal(gate.connect(0), "c(a(base1(0)))")
  local found
  for _, change in ipairs(report.changes) do
    found = found or change.kind == "override" and { change.unit, change.name, change.from, change.to }
  end
  equal(found, { "game.p1", "game.gate.connect", "declared", nil })
  p:write("game.p1", overriding())
  p:apply()
  equal({ rawequal(gate.connect, base), wrapper(0) }, { true, "base1(0)" })
  -- Whoever kept the wrapper is still led to what is there.
  p:write("game.gate", GATE:format(2))
  p:apply()
  equal({ gate.connect(0), wrapper(0) }, { "base2(0)", "base2(0)" })
  p:write("game.p1", overriding "x")
  p:apply()
  equal({ gate.connect(0), wrapper(0) }, { "x(base2(0))", "x(base2(0))" })
end)

test("a unit whose file is gone takes its overrides along", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding "a")
  p:write("game.p2", overriding "b")
  p:load "game.p1"
  p:load "game.p2"
  p:remove "game.p1"
  p:apply()
  equal(require("game.gate").connect(0), "b(base1(0))")
end)

test("an override can be removed at any time, in any order, more than once", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding("a", "b", "c"))
  local p1 = p:load "game.p1"
  local gate = require "game.gate"
  local old_b = p1.b
  p:write("game.p1", overriding("a", "b", "c") .. " --")
  p:apply()
  old_b:remove()
  equal(gate.connect(0), "c(a(base1(0)))")
  p1.b:remove()
  p1.a:remove()
  equal(gate.connect(0), "c(base1(0))")
  p1.c:remove()
  equal({ gate.connect(0), getmetatable(gate) }, { "base1(0)", nil })
  p1.c:remove()
  -- The next run declares all of them again.
  p:write("game.p1", overriding("a", "b", "c"))
  p:apply()
  equal(gate.connect(0), "c(b(a(base1(0))))")
end)

test("an override may remove itself while it is called", function(p)
  local t, h = { f = function() return "base" end }, nil
  h = p.reload.override(t, "f", function(super)
    h:remove()
    return "once " .. super()
  end)
  equal({ t.f(), t.f() }, { "once base", "base" })
end)

test("super of an inherited method is what the metatable gives at the call", function(p)
  local Base = p.reload.class "Base"
  local Derived = p.reload.class("Derived", Base)
  function Base.v()
    return "base"
  end
  local h = p.reload.override(Derived, "v", function(super, self)
    return "over " .. super(self)
  end)
  local object = Derived()
  equal(object:v(), "over base")
  function Base.v()
    return "new base"
  end
  equal({ object:v(), Base():v() }, { "over new base", "new base" })
  h:remove()
  equal({ object:v(), rawget(Derived, "v") }, { "new base", nil })
  local t = setmetatable({}, { __index = function(_, key)
    return function()
      return "dynamic " .. key
    end
  end })
  p.reload.override(t, "f", function(super)
    return "over " .. super()
  end)
  equal(t.f(), "over dynamic f")
end)

test("super where nothing is says so", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding "a")
  p:load "game.p1"
  local gate = require "game.gate"
  p:write("game.gate", "return reload.module(...)")
  p:apply()
  raises("game%.gate%.connect was overridden, but in generation 2 there is no such function for super to call", gate.connect)
  p:write("game.gate", GATE:format(3))
  p:apply()
  equal(gate.connect(0), "a(base3(0))")
  local t = {}
  local h = p.reload.override(t, "f", function(super, how)
    return how == "alone" and "alone" or super()
  end)
  equal(t.f "alone", "alone")
  raises("a table%.f was overridden, but", t.f)
  h:remove()
  equal(next(t), nil)
end)

test("a class's method can be overridden, and its inherited metamethods", function(p)
  local class = [[local M = reload.module(...) local B = reload.class "B" M.D = reload.class("D", B)
    function B:__tostring() return "b%d" end function M.D:v() return "v%d" end M.B = B return M]]
  p:write("game.c", class:format(1, 1))
  p:write("game.p1", [[local M, c = reload.module(...), require "game.c"
    reload.override(c.D, "v", function(super, self) return "over " .. super(self) end)
    reload.override(c.D, "__tostring", function(super, self) return "D " .. super(self) end)
    reload.override(c.B, "__tostring", function(super, self) return "B " .. super(self) end) return M]])
  p:load "game.p1"
  local c = require "game.c"
  local object, base = c.D(), c.B()
  equal({ object:v(), tostring(object), tostring(base) }, { "over v1", "D B b1", "B b1" })
  for i = 2, 3 do
    p:write("game.c", class:format(i, i))
    p:apply()
    equal({ object:v(), tostring(object), tostring(base) }, { "over v" .. i, "D B b" .. i, "B b" .. i })
  end
  p:write("game.p1", "return reload.module(...)")
  p:apply()
  equal({ object:v(), tostring(object), tostring(base) }, { "v3", "b3", "b3" })
end)

test("a plain unit can override in a table of its own", function(p)
  local text = [[local M = {} function M.f() return "base%d" end
    reload.override(M, "f", function(super) return "over " .. super() end) return M]]
  p:write("game.plain", text:format(1))
  local f = p:load "game.plain"
  for i = 2, 4 do
    p:write("game.plain", text:format(i))
    p:apply()
    equal(f.f(), "over base" .. i)
  end
  p:write("game.plain", "local M = {} function M.f() return 'bare' end return M")
  p:apply()
  equal(f.f(), "bare")
end)

test("a function put over the wrapper by hand stays on top, and nothing goes in circles", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding "a")
  local p1 = p:load "game.p1"
  local gate = require "game.gate"
  local old = gate.connect
  gate.connect = function(x)
    return "hand(" .. old(x) .. ")"
  end
  equal(gate.connect(0), "hand(a(base1(0)))")
  p:write("game.p1", (overriding("a"):gsub("'a%('", "'A('")))
  p:apply()
  equal(gate.connect(0), "hand(A(base1(0)))")
  p1.a:remove()
  equal(gate.connect(0), "hand(base1(0))")
end)

test("a call that is under way ends in the chain that it began", function(p)
  local t, reload = { f = function() return "base" end }, p.reload
  p:write("game.p1", "return reload.module(...)")
  p:load("game.p1").t = t
  local text = [[local M = reload.module(...) M.t = reload.once("t", function() return M.t end)
    reload.override(M.t, "f", function(super, during) if during then during() end return "%d " .. super() end) return M]]
  reload.once("t", function()
    return t
  end)
  p:write("game.p1", text:format(1))
  p:apply()
  equal({
    t.f(function()
      p:write("game.p1", text:format(2))
      p:apply()
    end),
    t.f(),
  }, { "1 base", "2 base" })
end)

test("overrides of the main program stay over reloads, beneath or above those of units", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding "a")
  local gate = p:load "game.gate"
  local function main(name)
    return p.reload.override(gate, "connect", function(super, x)
      return name .. "(" .. super(x) .. ")"
    end)
  end
  main "m"
  p:load "game.p1"
  local n = main "n"
  for i = 2, 4 do
    p:write("game.gate", GATE:format(i))
    p:apply()
    equal(gate.connect(0), ("n(a(m(base%d(0))))"):format(i))
  end
  n:remove()
  equal(gate.connect(0), "a(m(base4(0)))")
end)

test("an override that a hook declares is declared again by each reload, and does not nest", function(p)
  p:write("game.gate", GATE:format(1))
  p:load "game.gate"
  local text = [[local M, gate = reload.module(...), require "game.gate"
    function M.on_reload() reload.override(gate, "connect", function(super, x) return "h%d(" .. super(x) .. ")" end) end
    return M]]
  p:write("game.p1", text:format(1))
  p:load("game.p1").on_reload()
  for i = 2, 5 do
    equal(require("game.gate").connect(0), ("h%d(base1(0))"):format(i - 1))
    p:write("game.p1", text:format(i))
    p:apply()
  end
  p:write("game.p1", "return reload.module(...)")
  p:apply()
  equal(require("game.gate").connect(0), "base1(0)")
end)

test("a prepared reload brings no override back that was removed meanwhile", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding("a", "b"))
  local p1 = p:load "game.p1"
  p:write("game.gate", GATE:format(2))
  local prepared = p.reload.prepare()
  p1.a:remove()
  equal(require("game.gate").connect(0), "b(base1(0))")
  equal(p.reload.commit(prepared).ok, true)
  equal(p.reload.status().generation, 2)
  equal(require("game.gate").connect(0), "b(a(base2(0)))")
end)

test("what cannot be overridden is refused, and blamed on the caller", function(p)
  local override = p.reload.override
  local err = raises("target: a table expected, got nil", function()
    override(nil, "x", print)
  end)
  matches(err, "reload_override_spec%.lua:%d+:")
  raises("name: the name of a function expected, got nil", override, {})
  raises("override: a function expected, got a table", override, {}, "x", {})
  raises("a table%.x is a number: only functions can be overridden", override, { x = 1 }, "x", print)
  local callable = setmetatable({}, { __call = function(_, x) return x end })
  local t = { f = callable }
  override(t, "f", function(super, x)
    return super(x) + 1
  end)
  equal(t.f(1), 2)
end)

test("a reload that fails leaves the chain as it was, between two that do not", function(p)
  p:write("game.gate", GATE:format(1))
  p:write("game.p1", overriding("a", "b"))
  p:write("game.p2", overriding "c")
  p:load "game.p1"
  p:load "game.p2"
  local gate = require "game.gate"
  local wrapper, expected = gate.connect, "c(b(a(base1(0))))"
  for i = 2, 5 do
    for _, bad in ipairs { "error 'late'", "M.a:remove() error 'late'", "function M.on_reload() M.b:remove() error 'hook' end" } do
      p:write("game.gate", GATE:format(100))
      p:write("game.p1", (overriding("x", "a"):gsub("return M$", bad .. " return M")))
      p:write("game.p2", overriding())
      equal(p.reload.apply().ok, false)
      equal({ gate.connect(0), rawequal(gate.connect, wrapper) }, { expected, true })
    end
    p:write("game.gate", GATE:format(i))
    p:write("game.p1", overriding("a", "b"))
    p:write("game.p2", overriding "c")
    equal(p.reload.plan().ok, true)
    equal(gate.connect(0), expected)
    p:apply()
    expected = ("c(b(a(base%d(0))))"):format(i)
    equal({ gate.connect(0), rawequal(gate.connect, wrapper) }, { expected, true })
  end
end)

test("a first load that fails does not nest at the next try", function(p)
  p:write("game.gate", GATE:format(1))
  p:load "game.gate"
  p:write("game.p1", (overriding("a"):gsub("return M$", "error 'no'")))
  raises("no", require, "game.p1")
  p:write("game.p1", overriding "a")
  p:load "game.p1"
  equal(require("game.gate").connect(0), "a(base1(0))")
end)

-- Levels of the stack, tail calls not counted.
local function depth()
  local levels = 0
  for line in debug.traceback():gmatch "[^\n]+" do
    levels = levels + (line:find "tail call" and 0 or 1)
  end
  return levels
end

test("a hundred reloads: one wrapper, one level for each override", function(p)
  p:write("game.gate", "local M = reload.module(...) function M.connect(f) local n = f() return n end return M")
  local text = [[local M = reload.module(...) local gate = require "game.gate"
    for i = 1, 3 do reload.override(gate, "connect", function(super, f) local n = super(f) return n end) end return M -- %d]]
  local gate = p:load "game.gate"
  local bare = gate.connect(depth)
  p:write("game.patch", text:format(0))
  p:load "game.patch"
  local connect, levels = gate.connect, gate.connect(depth)
  assert(levels - bare <= 4, ("%d levels more"):format(levels - bare))
  for i = 1, 100 do
    p:write("game.patch", text:format(i))
    if i % 3 == 0 then
      p:apply { force = { "game.gate" } }
    else
      p:apply()
    end
    assert(gate.connect == connect and connect(depth) == levels)
  end
end)

program.finish()
