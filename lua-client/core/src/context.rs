//! What the core keeps per Lua universe: the marks' metatables, the shared buffer.
//!
//! Every function of the module has the same upvalues, so each of them is reached without a lookup and without
//! allocating: those here, and between them the [`Marks`].

use std::os::raw::{c_int, c_void};

use stillpoint_value::marks::OWN;
pub(crate) use stillpoint_value::marks::{ARRAY_MT, CDATA_MAKE, EXT_MT, INT64_MT, MAP_MT, Marks};

use crate::{
    entry::Push,
    lua::{self, lua_State},
};

/// Upvalue of every function: the [`Context`], as a userdata.
pub(crate) const CONTEXT: c_int = OWN;
/// Upvalue of every function: metatable of error tables.
pub(crate) const ERROR_MT: c_int = 6;
/// Upvalue of every function: metatable of connection handles.
pub(crate) const HANDLE_MT: c_int = 7;
/// Upvalue of every function but the pusher itself: the function that pushes results, to be called protected.
pub(crate) const PUSHER: c_int = 10;

/// Longest buffer that is kept for the next call, in bytes.
const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// What the core keeps per Lua universe.
#[derive(Default)]
pub(crate) struct Context {
    /// Identities of the marks' metatables.
    pub(crate) marks: Marks,
    /// Identity of the metatable of connection handles.
    pub(crate) handle: *const c_void,
    /// What the pusher is to push; set and taken within one call.
    pub(crate) job: Option<*const dyn Push>,
    /// Memory for the next encoding.
    buffer: Vec<u8>,
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
