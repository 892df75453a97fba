//! The Lua C API as Stillpoint uses it: one set of names for every Lua version.
//!
//! Two kinds of function are told apart, because a Lua error leaves a function without running its destructors (by
//! `longjmp`, or on LuaJIT by an exception that Rust must not catch):
//!
//! - *Quiet* functions never raise and never run Lua code: everything that only looks (`lua_type`, `lua_tolstring` on a
//!   string, `lua_next`, raw gets of integer keys, `lua_pushvalue` ...).
//! - *Raising* functions allocate, so they may fail and may run a finalizer: every push of a string, table or closure,
//!   `lua_rawset`, `lua_checkstack`. They are called only where nothing on the Rust stack needs dropping, and outside
//!   of any `catch_unwind`.
//!
//! Nothing here triggers a metamethod.

pub mod late;

use std::os::raw::{c_char, c_int, c_void};

#[cfg(feature = "luajit")]
pub use mlua::ffi::LUA_TCDATA;
pub use mlua::ffi::{
    LUA_MULTRET, LUA_OK, LUA_TBOOLEAN, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNONE,
    LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, LUA_TTHREAD, LUA_TUSERDATA, lua_CFunction, lua_State,
    lua_checkstack, lua_createtable, lua_error, lua_getmetatable, lua_gettop, lua_next,
    lua_pushboolean, lua_pushcclosure, lua_pushlightuserdata, lua_pushnil, lua_pushnumber,
    lua_pushvalue, lua_rawset, lua_setfield, lua_setmetatable, lua_settop, lua_toboolean,
    lua_topointer, lua_touserdata, lua_type, lua_upvalueindex,
};

/// Stack slots above its arguments that every C function has without asking.
pub const MIN_STACK: c_int = 20;

/// Largest magnitude up to which an `f64` holds every integer: 2^53.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
pub const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// A number as this Lua has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer; where Lua has only floats, a whole float up to 2^53 that is not `-0.0`.
    Integer(i64),
    /// Any other number.
    Float(f64),
}

/// Pops `count` values. Quiet.
#[inline]
pub unsafe fn pop(lua: *mut lua_State, count: c_int) {
    lua_settop(lua, -count - 1)
}

/// The bytes of the string at `index`, which must be a string (a number would be converted in place). Quiet.
///
/// They live as long as the string stays on the stack or in a table: the caller sees to that.
#[inline]
pub unsafe fn string_at<'a>(lua: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;

    let data = mlua::ffi::lua_tolstring(lua, index, &mut len);
    std::slice::from_raw_parts(data.cast(), len)
}

/// The number at `index`, which must be a number. Quiet.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[inline]
pub unsafe fn number_at(lua: *mut lua_State, index: c_int) -> Number {
    if late::isinteger(lua, index) != 0 {
        Number::Integer(late::tointeger(lua, index, std::ptr::null_mut()))
    } else {
        Number::Float(late::tonumber(lua, index, std::ptr::null_mut()))
    }
}

/// The number at `index`, which must be a number. Quiet.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
#[inline]
pub unsafe fn number_at(lua: *mut lua_State, index: c_int) -> Number {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    let float = late::tonumber(lua, index);
    #[cfg(feature = "lua52")]
    let float = late::tonumber(lua, index, std::ptr::null_mut());
    let integer = float as i64;
    // The comparison of bits tells -0.0 from 0.
    if float.abs() <= EXACT_FLOAT_MAX && (integer as f64).to_bits() == float.to_bits() {
        Number::Integer(integer)
    } else {
        Number::Float(float)
    }
}

/// Pushes an integer that every Lua number can hold (up to 2^53). Quiet.
#[inline]
pub unsafe fn push_integer(lua: *mut lua_State, integer: i64) {
    mlua::ffi::lua_pushinteger(lua, integer as mlua::ffi::lua_Integer)
}

/// Pushes bytes as a string. Raising.
#[inline]
pub unsafe fn push_bytes(lua: *mut lua_State, bytes: &[u8]) {
    let (data, len) = (bytes.as_ptr().cast::<c_char>(), bytes.len());
    #[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
    mlua::ffi::lua_pushlstring_(lua, data, len);
    #[cfg(not(any(feature = "lua51", feature = "luajit", feature = "lua52")))]
    mlua::ffi::lua_pushlstring(lua, data, len);
}

/// Sets a field of the table on top to a string. Raising.
#[inline]
pub unsafe fn set_text(lua: *mut lua_State, name: &std::ffi::CStr, text: &[u8]) {
    push_bytes(lua, text);
    lua_setfield(lua, -2, name.as_ptr());
}

/// Pushes milliseconds as a number of seconds, with fractions. Quiet.
#[inline]
pub unsafe fn push_seconds(lua: *mut lua_State, milliseconds: u64) {
    lua_pushnumber(lua, milliseconds as f64 / 1000.0)
}

/// Length of the string, or a border of the table, at `index`. Quiet.
#[allow(clippy::unnecessary_cast)] // Lua 5.4 and 5.5 return a `u64`.
#[inline]
pub unsafe fn raw_len(lua: *mut lua_State, index: c_int) -> usize {
    late::rawlen(lua, index) as usize
}

/// Pushes `table[n]`. Quiet.
#[inline]
pub unsafe fn raw_get_index(lua: *mut lua_State, table: c_int, n: i64) {
    #[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
    mlua::ffi::lua_rawgeti_(lua, table, n as c_int);
    #[cfg(not(any(feature = "lua51", feature = "luajit", feature = "lua52")))]
    mlua::ffi::lua_rawgeti(lua, table, n as mlua::ffi::lua_Integer);
}

/// Pops a value into `table[n]`. Raising.
#[inline]
pub unsafe fn raw_set_index(lua: *mut lua_State, table: c_int, n: i64) {
    #[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
    mlua::ffi::lua_rawseti_(lua, table, n as c_int);
    #[cfg(not(any(feature = "lua51", feature = "luajit", feature = "lua52")))]
    mlua::ffi::lua_rawseti(lua, table, n as mlua::ffi::lua_Integer);
}

/// Calls the function under its `args` in protected mode; all errors are caught, so this is quiet, but it runs the
/// function. Returns `LUA_OK`, or leaves the error object.
#[inline]
pub unsafe fn protected_call(lua: *mut lua_State, args: c_int, results: c_int) -> c_int {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    return late::pcall(lua, args, results, 0);
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    return late::pcall(lua, args, results, 0, 0, None);
}

/// Pushes a new userdata of `bytes` bytes and returns its block. Raising.
#[inline]
pub unsafe fn new_userdata(lua: *mut lua_State, bytes: usize) -> *mut c_void {
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    return late::newuserdata(lua, bytes, 0);
    #[cfg(not(any(feature = "lua54", feature = "lua55")))]
    return late::newuserdata(lua, bytes);
}

/// Pushes a C function with the top `upvalues` values as its upvalues, which it pops. Raising.
#[inline]
pub unsafe fn push_function(lua: *mut lua_State, function: lua_CFunction, upvalues: c_int) {
    lua_pushcclosure(lua, function, upvalues)
}
