//! Lua's own functions in the form in which a script gets them: charged for their work, and without what would make a
//! document differ from one run to the next.

use std::os::raw::c_int;

use mlua::ffi as sys;
use stillpoint_value::{
    lua::{self, lua_State},
    marks,
};

use super::{
    budget::{self, Stop},
    values::is_int64,
};

/// Bytes that a C function goes over in one step of work.
const BYTES_PER_STEP: u64 = 16;

/// Upvalue of a charged function: Lua's own.
const ORIGINAL: c_int = marks::OWN;

/// Upvalue of [`shifting`]: how many arguments it has when elements have to move.
const SHIFTING_ARGS: c_int = 2;

/// Goes on as Lua's own function, with the same arguments.
unsafe fn original(lua: *mut lua_State) -> c_int {
    match sys::lua_tocfunction(lua, lua::lua_upvalueindex(ORIGINAL)) {
        Some(function) => function(lua),
        None => 0,
    }
}

/// The work of going over all arguments.
unsafe fn work_of_arguments(lua: *mut lua_State) -> u64 {
    let args = lua::lua_gettop(lua);
    let work = |at| match lua::lua_type(lua, at) {
        lua::LUA_TSTRING => lua::string_at(lua, at).len() as u64 / BYTES_PER_STEP,
        lua::LUA_TTABLE => lua::raw_len(lua, at) as u64,
        _ => 0,
    };
    (1..=args).map(work).sum::<u64>() + args as u64
}

/// A function that goes over its arguments: strings, or the elements of a table.
pub(super) unsafe extern "C-unwind" fn sized(lua: *mut lua_State) -> c_int {
    budget::charge(lua, work_of_arguments(lua));
    original(lua)
}

/// A function that also does something as many times as a number among its arguments says: `table.unpack`.
pub(super) unsafe extern "C-unwind" fn counted(lua: *mut lua_State) -> c_int {
    let mut work = work_of_arguments(lua);
    for at in 1..=lua::lua_gettop(lua) {
        if lua::lua_type(lua, at) == lua::LUA_TNUMBER {
            work = work.saturating_add(sys::lua_tointeger(lua, at).unsigned_abs());
        }
    }
    budget::charge(lua, work);
    original(lua)
}

/// `string.rep`: what it makes is charged for when memory is asked for; but of nothing it would make nothing, any number of
/// times.
pub(super) unsafe extern "C-unwind" fn rep(lua: *mut lua_State) -> c_int {
    let is_empty = |at| match lua::lua_type(lua, at) {
        lua::LUA_TSTRING => lua::string_at(lua, at).is_empty(),
        lua::LUA_TNIL | lua::LUA_TNONE => true,
        _ => false,
    };
    if lua::lua_type(lua, 1) == lua::LUA_TSTRING && is_empty(1) && is_empty(3) {
        sys::luaL_checkinteger(lua, 2);
        lua::lua_settop(lua, 1);
        return 1;
    }
    original(lua)
}

/// `table.insert` and `remove`: with a position, all elements behind it move.
pub(super) unsafe extern "C-unwind" fn shifting(lua: *mut lua_State) -> c_int {
    let args = i64::from(lua::lua_gettop(lua));
    if lua::lua_type(lua, 1) == lua::LUA_TTABLE
        && sys::lua_tointeger(lua, lua::lua_upvalueindex(SHIFTING_ARGS)) == args
    {
        let len = lua::raw_len(lua, 1) as u64;
        let position = u64::try_from(sys::lua_tointeger(lua, 2)).unwrap_or(0);
        budget::charge(lua, len.saturating_sub(position));
    }
    original(lua)
}

/// `string.format`: what has no text of its own (Lua would write its address) is refused.
pub(super) unsafe extern "C-unwind" fn format(lua: *mut lua_State) -> c_int {
    budget::charge(lua, work_of_arguments(lua));
    if lua::lua_type(lua, 1) == lua::LUA_TSTRING && asks_for_address(lua::string_at(lua, 1)) {
        return sys::luaL_error(lua, c"format: '%%p' is never the same twice".as_ptr());
    }
    for at in 2..=lua::lua_gettop(lua) {
        if !has_text(lua, at) {
            return no_text(lua, c"format", at);
        }
    }
    original(lua)
}

/// `tostring(value)`
pub(super) unsafe extern "C-unwind" fn tostring(lua: *mut lua_State) -> c_int {
    if lua::lua_type(lua, 1) == lua::LUA_TLIGHTUSERDATA {
        lua::push_bytes(lua, b"null");
        return 1;
    }
    if lua::lua_type(lua, 1) != lua::LUA_TNONE && !has_text(lua, 1) {
        return no_text(lua, c"tostring", 1);
    }
    original(lua)
}

/// Whether a value has a text that is always the same.
unsafe fn has_text(lua: *mut lua_State, at: c_int) -> bool {
    match lua::lua_type(lua, at) {
        lua::LUA_TNIL | lua::LUA_TBOOLEAN | lua::LUA_TNUMBER | lua::LUA_TSTRING => true,
        _ => is_int64(lua, at),
    }
}

unsafe fn no_text(lua: *mut lua_State, function: &std::ffi::CStr, at: c_int) -> c_int {
    let kind = match lua::lua_type(lua, at) {
        lua::LUA_TLIGHTUSERDATA => c"null".as_ptr(),
        kind => sys::lua_typename(lua, kind),
    };
    sys::luaL_error(
        lua,
        c"%s: argument #%d is a %s, which has no text: use one of its fields".as_ptr(),
        function.as_ptr(),
        at,
        kind,
    )
}

/// Whether a format has `%p` in it, with whatever flags.
fn asks_for_address(format: &[u8]) -> bool {
    let mut rest = format;
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = &rest[at + 1..];
        let conversion = rest
            .iter()
            .position(|c| !matches!(c, b'-' | b'+' | b' ' | b'#' | b'.' | b'0'..=b'9'));
        match conversion {
            Some(at) if rest[at] == b'p' => return true,
            Some(at) => rest = &rest[at + 1..],
            None => return false,
        }
    }
    false
}

/// `pcall(function, ...)`: as Lua's, but what ends a script ends it.
pub(super) unsafe extern "C-unwind" fn pcall(lua: *mut lua_State) -> c_int {
    sys::luaL_checkany(lua, 1);
    lua::lua_pushboolean(lua, 1);
    sys::lua_insert(lua, 1);
    let status = lua::protected_call(lua, lua::lua_gettop(lua) - 2, lua::LUA_MULTRET);
    if status == lua::LUA_OK {
        return lua::lua_gettop(lua);
    }
    let budget = budget::of(lua);
    if let Some(stop) = stop_of(lua, status) {
        (*budget).stop(stop);
    }
    if (*budget).stopped().is_some() {
        lua::lua_error(lua);
    }
    lua::lua_pushboolean(lua, 0);
    sys::lua_insert(lua, -2);
    2
}

/// What ran out, if that is what the error on top of the stack says. Quiet.
pub(super) unsafe fn stop_of(lua: *mut lua_State, status: c_int) -> Option<Stop> {
    match status {
        sys::LUA_ERRMEM => Some(Stop::Memory),
        sys::LUA_ERRERR => Some(Stop::Recursion),
        _ if lua::lua_type(lua, -1) == lua::LUA_TSTRING
            && lua::string_at(lua, -1).ends_with(b"stack overflow") =>
        {
            Some(Stop::Recursion)
        }
        _ => None,
    }
}

/// Writing a global.
pub(super) unsafe extern "C-unwind" fn set_global(lua: *mut lua_State) -> c_int {
    sys::luaL_error(
        lua,
        c"cannot set the global '%s': declare it local".as_ptr(),
        name_at(lua, 2),
    )
}

/// Reading a global that is not there.
pub(super) unsafe extern "C-unwind" fn get_global(lua: *mut lua_State) -> c_int {
    sys::luaL_error(
        lua,
        c"there is no '%s' in a migration: it sees the document and Lua's pure functions, nothing else".as_ptr(),
        name_at(lua, 2),
    )
}

/// Writing into a library.
pub(super) unsafe extern "C-unwind" fn set_library(lua: *mut lua_State) -> c_int {
    sys::luaL_error(
        lua,
        c"cannot set '%s': the libraries of Lua cannot be changed".as_ptr(),
        name_at(lua, 2),
    )
}

/// A name for a message.
unsafe fn name_at(lua: *mut lua_State, at: c_int) -> *const std::os::raw::c_char {
    match lua::lua_type(lua, at) {
        lua::LUA_TSTRING => sys::lua_tostring(lua, at),
        kind => sys::lua_typename(lua, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::asks_for_address;

    #[test]
    fn an_address_is_found_in_a_format_whatever_its_flags() {
        for (format, expected) in [
            ("%p", true),
            ("%d %-20p", true),
            ("%%p", false),
            ("%dp %s %%", false),
            ("100%", false),
            ("%%%p", true),
        ] {
            assert_eq!(asks_for_address(format.as_bytes()), expected, "{format}");
        }
    }
}
