//! `core.now`, `core.sleep` and `core.pid`: standard Lua has no clock that only goes forward, no pause, and does not know
//! which process it is.

use std::{os::raw::c_int, process, thread};

use crate::{
    codec::{Limits, int64::Integer},
    entry::{Call, Push, enter},
    lua::{self, lua_State},
    op::reader::Reader,
};

/// A number of seconds.
struct Seconds(f64);

impl Push for Seconds {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::lua_pushnumber(lua, self.0);
        1
    }
}

/// `core.now()` → seconds on a clock that only goes forward, since some moment before the program began.
pub(crate) unsafe extern "C-unwind" fn now(lua: *mut lua_State) -> c_int {
    enter(lua, |_| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is written to.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        Ok(Seconds(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9))
    })
}

/// `core.sleep(seconds)`: blocks the whole program.
pub(crate) unsafe extern "C-unwind" fn sleep(lua: *mut lua_State) -> c_int {
    enter(lua, |call: &Call| {
        thread::sleep(Reader::new(call, Limits::default()).seconds(1, "seconds")?);
        Ok(())
    })
}

/// `core.pid()` → the number of this process.
pub(crate) unsafe extern "C-unwind" fn pid(lua: *mut lua_State) -> c_int {
    enter(lua, |_| Ok(Integer(process::id().into())))
}
