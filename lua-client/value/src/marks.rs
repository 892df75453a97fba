//! What marks a table as an array, a map, an extension value or a 64-bit integer: a metatable for each.
//!
//! Every C function that reads or makes values has the metatables as upvalues, at the same places, so that each is
//! reached without a lookup and without allocating. The places between are free for the functions' owner.

use std::os::raw::{c_int, c_void};

use crate::lua::{self, lua_State};

/// Upvalue: the owner's own.
pub const OWN: c_int = 1;
/// Upvalue: metatable of tables marked as arrays.
pub const ARRAY_MT: c_int = 2;
/// Upvalue: metatable of tables marked as maps.
pub const MAP_MT: c_int = 3;
/// Upvalue: metatable of MessagePack extension values.
pub const EXT_MT: c_int = 4;
/// Upvalue: metatable of 64-bit integers that no Lua number can hold.
pub const INT64_MT: c_int = 5;
/// Upvalue: on LuaJIT with its ffi, tells what a cdata is (1: `int64_t`, 2: `uint64_t`); else nil.
pub const CDATA_KIND: c_int = 8;
/// Upvalue: on LuaJIT with its ffi, makes a 64-bit cdata; else nil.
pub const CDATA_MAKE: c_int = 9;

/// Identities of the metatables. Lua does not move tables, and the functions hold them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// Of [`ARRAY_MT`].
    pub array: *const c_void,
    /// Of [`MAP_MT`].
    pub map: *const c_void,
    /// Of [`EXT_MT`].
    pub ext: *const c_void,
    /// Of [`INT64_MT`].
    pub int64: *const c_void,
}

impl Marks {
    /// Those of the metatables on the stack, each as far above `base` as its number says. Quiet.
    pub unsafe fn at(lua: *mut lua_State, base: c_int) -> Marks {
        Marks {
            array: lua::lua_topointer(lua, base + ARRAY_MT),
            map: lua::lua_topointer(lua, base + MAP_MT),
            ext: lua::lua_topointer(lua, base + EXT_MT),
            int64: lua::lua_topointer(lua, base + INT64_MT),
        }
    }
}
