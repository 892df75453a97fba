//! `stillpoint.array`, `map`, `int64` and `ext`, as in the Lua client, and what 64-bit integers can do.
//!
//! All of them have the [`marks`] as upvalues.

use std::{
    cmp::Ordering,
    ffi::{CStr, c_void},
    io::Write,
    os::raw::c_int,
};

use mlua::ffi as sys;
use stillpoint_value::{
    int64::{self, Operand},
    lua::{self, Number, lua_State},
    marks::{self, ARRAY_MT, EXT_MT, INT64_MT, MAP_MT},
};

/// Digits of an integer from -2^63 to 2^64-1, with the sign.
const INTEGER_DIGITS: usize = 20;

/// `stillpoint.array([table])`
pub(super) unsafe extern "C-unwind" fn array(lua: *mut lua_State) -> c_int {
    mark(
        lua,
        ARRAY_MT,
        c"array: the table is marked as something else",
    )
}

/// `stillpoint.map([table])`
pub(super) unsafe extern "C-unwind" fn map(lua: *mut lua_State) -> c_int {
    mark(lua, MAP_MT, c"map: the table is marked as something else")
}

/// Marks the argument itself, or a new table.
unsafe fn mark(lua: *mut lua_State, metatable: c_int, refusal: &CStr) -> c_int {
    lua::lua_settop(lua, 1);
    if lua::lua_type(lua, 1) == lua::LUA_TNIL {
        lua::lua_createtable(lua, 0, 0);
        sys::lua_replace(lua, 1);
    }
    sys::luaL_checktype(lua, 1, lua::LUA_TTABLE);
    if lua::lua_getmetatable(lua, 1) != 0 {
        let before = lua::lua_topointer(lua, -1);
        if ![ARRAY_MT, MAP_MT]
            .map(|mark| identity(lua, mark))
            .contains(&before)
        {
            return sys::luaL_error(lua, refusal.as_ptr());
        }
    }
    lua::lua_settop(lua, 1);
    lua::lua_pushvalue(lua, lua::lua_upvalueindex(metatable));
    lua::lua_setmetatable(lua, 1);
    1
}

/// What tells a metatable from others.
unsafe fn identity(lua: *mut lua_State, metatable: c_int) -> *const c_void {
    lua::lua_topointer(lua, lua::lua_upvalueindex(metatable))
}

/// `stillpoint.int64(number or decimal string)`
pub(super) unsafe extern "C-unwind" fn new_int64(lua: *mut lua_State) -> c_int {
    match int64::whole(lua, identity(lua, INT64_MT), 1) {
        Some(integer) => int64::push(lua, integer),
        None => {
            return sys::luaL_error(
                lua,
                c"int64: a whole number from -2^63 to 2^64-1 expected, as a number or as text"
                    .as_ptr(),
            );
        }
    }
    1
}

/// `stillpoint.ext(type, data)`
pub(super) unsafe extern "C-unwind" fn ext(lua: *mut lua_State) -> c_int {
    sys::luaL_checktype(lua, 1, lua::LUA_TNUMBER);
    sys::luaL_checktype(lua, 2, lua::LUA_TSTRING);
    match lua::number_at(lua, 1) {
        Number::Integer(-128..=127) => {}
        _ => return sys::luaL_error(lua, c"ext: a type from -128 to 127 expected".as_ptr()),
    }
    lua::lua_createtable(lua, 0, 2);
    lua::lua_pushvalue(lua, 1);
    lua::lua_setfield(lua, -2, c"type".as_ptr());
    lua::lua_pushvalue(lua, 2);
    lua::lua_setfield(lua, -2, c"data".as_ptr());
    lua::lua_pushvalue(lua, lua::lua_upvalueindex(EXT_MT));
    lua::lua_setmetatable(lua, -2);
    1
}

unsafe fn operand(lua: *mut lua_State, at: c_int) -> Option<Operand> {
    int64::operand(lua, identity(lua, INT64_MT), at)
}

/// `__tostring` of a 64-bit integer.
unsafe extern "C-unwind" fn to_text(lua: *mut lua_State) -> c_int {
    let Some(Operand::Integer(integer)) = operand(lua, 1) else {
        return sys::luaL_error(lua, c"a damaged 64-bit integer".as_ptr());
    };
    let mut digits = [0_u8; INTEGER_DIGITS];
    let mut rest = &mut digits[..];
    // It has the room.
    _ = write!(rest, "{integer}");
    let unused = rest.len();
    lua::push_bytes(lua, &digits[..INTEGER_DIGITS - unused]);
    1
}

/// `__eq` of a 64-bit integer.
unsafe extern "C-unwind" fn equal(lua: *mut lua_State) -> c_int {
    let ordering = operand(lua, 1)
        .zip(operand(lua, 2))
        .and_then(|(a, b)| int64::compare(a, b));
    lua::lua_pushboolean(lua, c_int::from(ordering == Some(Ordering::Equal)));
    1
}

/// `__lt` of a 64-bit integer.
unsafe extern "C-unwind" fn less(lua: *mut lua_State) -> c_int {
    ordered(lua, Ordering::is_lt)
}

/// `__le` of a 64-bit integer.
unsafe extern "C-unwind" fn less_or_equal(lua: *mut lua_State) -> c_int {
    ordered(lua, Ordering::is_le)
}

unsafe fn ordered(lua: *mut lua_State, holds: fn(Ordering) -> bool) -> c_int {
    let Some((a, b)) = operand(lua, 1).zip(operand(lua, 2)) else {
        return sys::luaL_error(
            lua,
            c"attempt to compare a 64-bit integer with something else".as_ptr(),
        );
    };
    lua::lua_pushboolean(lua, c_int::from(int64::compare(a, b).is_some_and(holds)));
    1
}

/// What 64-bit integers can do: methods of their metatable.
pub(super) const INT64_METHODS: [(&CStr, lua::lua_CFunction); 4] = [
    (c"__tostring", to_text),
    (c"__eq", equal),
    (c"__lt", less),
    (c"__le", less_or_equal),
];

/// The functions of `stillpoint`.
pub(super) const FUNCTIONS: [(&CStr, lua::lua_CFunction); 4] = [
    (c"array", array),
    (c"map", map),
    (c"int64", new_int64),
    (c"ext", ext),
];

/// Whether the value at `at` is a 64-bit integer that no number holds, for a function that has the marks. Quiet.
pub(super) unsafe fn is_int64(lua: *mut lua_State, at: c_int) -> bool {
    lua::lua_type(lua, at) == lua::LUA_TTABLE && operand(lua, at).is_some()
}

/// Pops a value and pushes a function that has it as its own upvalue, and the marks, which lie above `base`.
pub(super) unsafe fn push_function(lua: *mut lua_State, base: c_int, function: lua::lua_CFunction) {
    for upvalue in ARRAY_MT..=INT64_MT {
        lua::lua_pushvalue(lua, base + upvalue);
    }
    lua::push_function(lua, function, INT64_MT - marks::OWN + 1);
}
