//! What a script sees: built by hand from what is pure, and read-only.
//!
//! ```text
//!  _ENV (empty)  ──__index──▶  globals  ──__index──▶  "there is no 'os' in a migration"
//!                              string, table, math, utf8, stillpoint: (empty) ──__index──▶ their functions
//! ```
//!
//! What is empty cannot be written to either, since `__newindex` refuses. So nothing that a script does is seen by the next
//! one, or by itself at the next document, but for its own locals.
//!
//! Left out, besides all that reaches out of the state: coroutines (each has a count of instructions of its own), metatables
//! (they would run code while values are looked at, and be lost in the store), `load`, `string.dump`, `math.random`,
//! `collectgarbage`, the raw functions, `print`.

use std::{ffi::CStr, os::raw::c_int};

use mlua::ffi as sys;
use stillpoint_value::{
    lua::{self, lua_State},
    marks::{ARRAY_MT, INT64_MT, OWN},
};

use super::{basic, order, pattern, values};

/// The part that is written in Lua.
const PRELUDE: &str = include_str!("prelude.lua");

/// Stack slots that building takes.
const SLOTS: c_int = 40;

/// Global functions that are Lua's own.
const BASE: [&CStr; 5] = [c"assert", c"error", c"ipairs", c"select", c"type"];

/// Strings: those charged by the size of their arguments.
const STRING: [&CStr; 10] = [
    c"byte",
    c"char",
    c"len",
    c"lower",
    c"pack",
    c"packsize",
    c"reverse",
    c"sub",
    c"unpack",
    c"upper",
];

const MATH: [&CStr; 23] = [
    c"abs",
    c"acos",
    c"asin",
    c"atan",
    c"ceil",
    c"cos",
    c"deg",
    c"exp",
    c"floor",
    c"fmod",
    c"huge",
    c"log",
    c"max",
    c"maxinteger",
    c"min",
    c"mininteger",
    c"modf",
    c"pi",
    c"rad",
    c"sin",
    c"sqrt",
    c"tan",
    c"tointeger",
];

const UTF8: [&CStr; 5] = [c"char", c"codepoint", c"codes", c"len", c"offset"];

/// Pushes `_ENV`; the marks' metatables lie above `base`. Raising.
pub(super) unsafe fn push(lua: *mut lua_State, base: c_int) {
    sys::luaL_checkstack(lua, SLOTS, c"a new state has no stack".as_ptr());
    lua::lua_createtable(lua, 0, 32);
    let globals = lua::lua_gettop(lua);
    add_base(lua, globals, base);
    add_string(lua, globals, base);
    add_table(lua, globals);
    add_math(lua, globals);
    add_utf8(lua, globals);
    add_stillpoint(lua, globals, base);

    lua::lua_createtable(lua, 0, 1);
    lua::push_function(lua, basic::get_global, 0);
    lua::lua_setfield(lua, -2, c"__index".as_ptr());
    lua::lua_setmetatable(lua, globals);
    lock(lua, basic::set_global);
}

/// Replaces the table on top by an empty one that shows it and cannot be written to.
unsafe fn lock(lua: *mut lua_State, refuse: lua::lua_CFunction) {
    let shown = lua::lua_gettop(lua);
    lua::lua_createtable(lua, 0, 0);
    lua::lua_createtable(lua, 0, 2);
    lua::lua_pushvalue(lua, shown);
    lua::lua_setfield(lua, -2, c"__index".as_ptr());
    lua::push_function(lua, refuse, 0);
    lua::lua_setfield(lua, -2, c"__newindex".as_ptr());
    lua::lua_setmetatable(lua, -2);
    sys::lua_replace(lua, shown);
}

/// Pops the library on top into the globals, locked.
unsafe fn add_library(lua: *mut lua_State, globals: c_int, name: &CStr) {
    lock(lua, basic::set_library);
    lua::lua_setfield(lua, globals, name.as_ptr());
}

/// Pushes one of Lua's libraries.
unsafe fn push_original(lua: *mut lua_State, name: &CStr, open: lua::lua_CFunction) -> c_int {
    sys::luaL_requiref(lua, name.as_ptr(), open, 0);
    lua::lua_gettop(lua)
}

/// Puts fields of one table into another, as they are.
unsafe fn copy(lua: *mut lua_State, from: c_int, to: c_int, names: &[&CStr]) {
    for name in names {
        sys::lua_getfield(lua, from, name.as_ptr());
        lua::lua_setfield(lua, to, name.as_ptr());
    }
}

/// Puts functions of one table into another so that they are charged for.
unsafe fn charge(
    lua: *mut lua_State,
    from: c_int,
    to: c_int,
    by: lua::lua_CFunction,
    names: &[&CStr],
) {
    for name in names {
        sys::lua_getfield(lua, from, name.as_ptr());
        lua::push_function(lua, by, 1);
        lua::lua_setfield(lua, to, name.as_ptr());
    }
}

/// Puts functions of this crate into a table.
unsafe fn add(lua: *mut lua_State, to: c_int, functions: &[(&CStr, lua::lua_CFunction)]) {
    for (name, function) in functions {
        lua::push_function(lua, *function, 0);
        lua::lua_setfield(lua, to, name.as_ptr());
    }
}

/// Puts a function that knows the marks into a table; its own upvalue is on top of the stack.
unsafe fn add_marked(
    lua: *mut lua_State,
    to: c_int,
    base: c_int,
    name: &CStr,
    function: lua::lua_CFunction,
) {
    values::push_function(lua, base, function);
    lua::lua_setfield(lua, to, name.as_ptr());
}

unsafe fn add_base(lua: *mut lua_State, globals: c_int, base: c_int) {
    let original = push_original(lua, c"_G", sys::luaopen_base);
    copy(lua, original, globals, &BASE);
    charge(lua, original, globals, basic::sized, &[c"tonumber"]);
    add(
        lua,
        globals,
        &[
            (c"next", order::next),
            (c"pairs", order::pairs),
            (c"pcall", basic::pcall),
        ],
    );
    sys::lua_getfield(lua, original, c"tostring".as_ptr());
    add_marked(lua, globals, base, c"tostring", basic::tostring);
    lua::lua_settop(lua, original - 1);
}

unsafe fn add_string(lua: *mut lua_State, globals: c_int, base: c_int) {
    let original = push_original(lua, c"string", sys::luaopen_string);
    lua::lua_createtable(lua, 0, 20);
    let string = lua::lua_gettop(lua);
    charge(lua, original, string, basic::sized, &STRING);
    charge(lua, original, string, basic::rep, &[c"rep"]);
    add(
        lua,
        string,
        &[
            (c"find", pattern::find),
            (c"gmatch", pattern::gmatch),
            (c"gsub", pattern::gsub),
            (c"match", pattern::match_),
        ],
    );
    sys::lua_getfield(lua, original, c"format".as_ptr());
    add_marked(lua, string, base, c"format", basic::format);
    // Methods of strings, which Lua's library has just made its own.
    lua::push_bytes(lua, b"");
    lua::lua_getmetatable(lua, -1);
    lua::lua_pushvalue(lua, string);
    lua::lua_setfield(lua, -2, c"__index".as_ptr());
    lua::lua_settop(lua, string);
    add_library(lua, globals, c"string");
    lua::lua_settop(lua, original - 1);
}

unsafe fn add_table(lua: *mut lua_State, globals: c_int) {
    let original = push_original(lua, c"table", sys::luaopen_table);
    lua::lua_createtable(lua, 0, 8);
    let table = lua::lua_gettop(lua);
    charge(lua, original, table, basic::sized, &[c"concat", c"pack"]);
    charge(lua, original, table, basic::counted, &[c"unpack"]);
    for (name, args) in [(c"insert", 3), (c"remove", 2)] {
        sys::lua_getfield(lua, original, name.as_ptr());
        lua::push_integer(lua, args);
        lua::push_function(lua, basic::shifting, 2);
        lua::lua_setfield(lua, table, name.as_ptr());
    }
    if sys::luaL_loadbufferx(
        lua,
        PRELUDE.as_ptr().cast(),
        PRELUDE.len(),
        c"=table".as_ptr(),
        c"t".as_ptr(),
    ) != lua::LUA_OK
    {
        lua::lua_error(lua);
    }
    sys::lua_getfield(lua, globals, c"type".as_ptr());
    sys::lua_getfield(lua, globals, c"error".as_ptr());
    sys::lua_call(lua, 2, 2);
    lua::lua_setfield(lua, table, c"move".as_ptr());
    lua::lua_setfield(lua, table, c"sort".as_ptr());
    add_library(lua, globals, c"table");
    lua::lua_settop(lua, original - 1);
}

unsafe fn add_math(lua: *mut lua_State, globals: c_int) {
    let original = push_original(lua, c"math", sys::luaopen_math);
    lua::lua_createtable(lua, 0, 32);
    let math = lua::lua_gettop(lua);
    copy(lua, original, math, &MATH);
    copy(lua, original, math, &[c"type", c"ult"]);
    add_library(lua, globals, c"math");
    lua::lua_settop(lua, original - 1);
}

unsafe fn add_utf8(lua: *mut lua_State, globals: c_int) {
    let original = push_original(lua, c"utf8", sys::luaopen_utf8);
    lua::lua_createtable(lua, 0, 8);
    let utf8 = lua::lua_gettop(lua);
    charge(lua, original, utf8, basic::sized, &UTF8);
    copy(lua, original, utf8, &[c"charpattern"]);
    add_library(lua, globals, c"utf8");
    lua::lua_settop(lua, original - 1);
}

unsafe fn add_stillpoint(lua: *mut lua_State, globals: c_int, base: c_int) {
    lua::lua_createtable(lua, 0, 8);
    let stillpoint = lua::lua_gettop(lua);
    for (name, function) in values::FUNCTIONS {
        lua::lua_pushnil(lua);
        add_marked(lua, stillpoint, base, name, function);
    }
    lua::lua_pushlightuserdata(lua, std::ptr::null_mut());
    lua::lua_setfield(lua, stillpoint, c"null".as_ptr());
    add_library(lua, globals, c"stillpoint");
}

/// Pushes the marks' metatables above the top of the stack, which becomes their base. Raising.
pub(super) unsafe fn push_marks(lua: *mut lua_State) -> c_int {
    let base = lua::lua_gettop(lua);
    for _ in OWN..ARRAY_MT {
        lua::lua_pushnil(lua);
    }
    for name in [
        c"stillpoint.array",
        c"stillpoint.map",
        c"stillpoint.ext",
        c"stillpoint.int64",
    ] {
        lua::lua_createtable(lua, 0, 8);
        sys::lua_pushstring(lua, name.as_ptr());
        lua::lua_setfield(lua, -2, c"__name".as_ptr());
    }
    debug_assert_eq!(lua::lua_gettop(lua), base + INT64_MT);
    for (name, function) in values::INT64_METHODS {
        lua::lua_pushnil(lua);
        add_marked(lua, base + INT64_MT, base, name, function);
    }
    base
}
