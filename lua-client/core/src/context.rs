//! What the core keeps per Lua universe: the marks' metatables, the shared buffer.
//!
//! Every function of the module has the same upvalues, so each of them is reached without a lookup and without
//! allocating.

use std::os::raw::{c_int, c_void};

use crate::{
    entry::Push,
    lua::{self, lua_State},
};

/// Upvalue of every function: the [`Context`], as a userdata.
pub(crate) const CONTEXT: c_int = 1;
/// Upvalue of every function: metatable of tables marked as arrays.
pub(crate) const ARRAY_MT: c_int = 2;
/// Upvalue of every function: metatable of tables marked as maps.
pub(crate) const MAP_MT: c_int = 3;
/// Upvalue of every function: metatable of MessagePack extension values.
pub(crate) const EXT_MT: c_int = 4;
/// Upvalue of every function: metatable of 64-bit integers that no Lua number can hold.
pub(crate) const INT64_MT: c_int = 5;
/// Upvalue of every function: metatable of error tables.
pub(crate) const ERROR_MT: c_int = 6;
/// Upvalue of every function: metatable of connection handles.
pub(crate) const HANDLE_MT: c_int = 7;
/// Upvalue of every function: on LuaJIT with its ffi, tells what a cdata is (1: `int64_t`, 2: `uint64_t`); else nil.
#[cfg(feature = "luajit")]
pub(crate) const CDATA_KIND: c_int = 8;
/// Upvalue of every function: on LuaJIT with its ffi, makes a 64-bit cdata; else nil.
pub(crate) const CDATA_MAKE: c_int = 9;
/// Upvalue of every function but the pusher itself: the function that pushes results, to be called protected.
pub(crate) const PUSHER: c_int = 10;

/// Longest buffer that is kept for the next call, in bytes.
const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// What the core keeps per Lua universe.
#[derive(Default)]
pub(crate) struct Context {
    /// Identities of the marks' metatables.
    pub(crate) marks: Marks,
    /// What the pusher is to push; set and taken within one call.
    pub(crate) job: Option<*const dyn Push>,
    /// Memory for the next encoding.
    buffer: Vec<u8>,
}

/// Identities of the metatables that mark values and connections. Lua does not move tables, and the module's functions hold them.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// Of [`ARRAY_MT`].
    pub(crate) array: *const c_void,
    /// Of [`MAP_MT`].
    pub(crate) map: *const c_void,
    /// Of [`EXT_MT`].
    pub(crate) ext: *const c_void,
    /// Of [`INT64_MT`].
    pub(crate) int64: *const c_void,
    /// Of [`HANDLE_MT`].
    pub(crate) handle: *const c_void,
}

impl Default for Marks {
    fn default() -> Self {
        let none = std::ptr::null();
        Marks {
            array: none,
            map: none,
            ext: none,
            int64: none,
            handle: none,
        }
    }
}

impl Context {
    /// The context of the running function.
    pub(crate) unsafe fn of_running(lua: *mut lua_State) -> *mut Context {
        lua::lua_touserdata(lua, lua::lua_upvalueindex(CONTEXT)).cast()
    }

    /// Lends the buffer, empty. If a finalizer calls back into the core meanwhile, that call gets a fresh one.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer
    }

    /// Takes the buffer back.
    pub(crate) fn return_buffer(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEPT_BYTES_MAX {
            self.buffer = buffer;
        }
    }
}
