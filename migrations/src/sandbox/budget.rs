//! What a script may use: work, processor time, memory.
//!
//! *Work* is counted in steps. An instruction of Lua is one; a function written in C is charged for the bytes or elements
//! that it goes over, before it does; and what is allocated is charged by its size, which bounds the copying that `..` does.
//! So work is about the same on every machine, however fast or busy.
//!
//! A few instructions can hide long work that nothing here sees (comparing long strings, `#` and indexing on huge tables).
//! Memory bounds each of them, and the limit of *processor time* all of them together. It is the thread's own time, so that
//! a busy machine does not make a good script fail.

use std::{
    os::raw::{c_int, c_void},
    ptr::null_mut,
    time::Duration,
};

use mlua::ffi as sys;
use stillpoint_value::lua::{self, lua_State};

use crate::{Limits, limits::Whole};

/// Instructions between two looks at the budget.
const HOOK_STEPS: c_int = 1000;

/// Bytes that are allocated in one step of work.
const BYTES_PER_STEP: usize = 64;

/// How many allocations may be refused before nothing more is given. Each refusal makes Lua collect all its garbage, which
/// takes long where much is alive.
const REFUSALS_MAX: u32 = 8;

/// What has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Work,
    Time,
    /// The share, not what one call may use.
    Share,
    Memory,
    Recursion,
}

/// What is left to all calls of one piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Steps of work.
    pub(crate) steps: u64,
    /// The thread's processor time when it is used up.
    pub(crate) end: Duration,
    /// Of how much.
    pub(crate) whole: Whole,
}

/// What the script that runs in a state may still use. It lives at one address as long as the state.
pub(super) struct Budget {
    work_left: i64,
    work_max: i64,
    /// What this call may do, if it is a script's.
    granted: Option<i64>,
    share: Option<Share>,
    bytes: usize,
    bytes_max: usize,
    refusals: u32,
    /// The thread's processor time when this script was first looked at.
    began: Option<Duration>,
    time_max: Duration,
    stopped: Option<Stop>,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Budget {
        let work_max = to_work(limits.steps);
        Budget {
            work_left: i64::MAX,
            work_max,
            granted: None,
            share: None,
            bytes: 0,
            bytes_max: limits.memory_bytes,
            refusals: 0,
            began: None,
            time_max: limits.time,
            stopped: None,
        }
    }

    /// Gives all of it to the next function of a script.
    pub(super) fn begin(&mut self) {
        self.begin_unmetered();
        let shared = self.share.map_or(i64::MAX, |share| to_work(share.steps));
        self.work_left = self.work_max.min(shared);
        self.granted = Some(self.work_left);
    }

    /// Takes what was used from the share.
    pub(super) fn end(&mut self) {
        if let (Some(granted), Some(share)) = (self.granted.take(), &mut self.share) {
            let used = granted - self.work_left.max(0);
            share.steps -= u64::try_from(used).unwrap_or(0).min(share.steps);
        }
    }

    /// Shares what is left of it with the calls that follow; `None`: each stands for itself.
    pub(super) fn share(&mut self, share: Option<Share>) {
        self.share = share;
    }

    /// What is left.
    pub(super) fn shared(&self) -> Option<Share> {
        self.share
    }

    /// Gives all of it, and any work, to what is no script: building the state, reading a document.
    pub(super) fn begin_unmetered(&mut self) {
        self.work_left = i64::MAX;
        self.granted = None;
        self.refusals = 0;
        self.began = None;
        self.stopped = None;
    }

    /// What has run out.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// Says that something has run out; from now on nothing is given.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.stopped.get_or_insert(stop);
    }

    /// Takes steps of work; false: there are none left.
    fn spend(&mut self, steps: u64) -> bool {
        self.work_left = self.work_left.saturating_sub(to_work(steps));
        if self.work_left < 0 {
            let is_all = self.granted == Some(self.work_max);
            self.stop(if is_all { Stop::Work } else { Stop::Share });
        }
        self.stopped.is_none()
    }

    /// Looks at the clock.
    fn look(&mut self) {
        let now = processor_time();
        let began = *self.began.get_or_insert(now);
        if now.saturating_sub(began) > self.time_max {
            self.stop(Stop::Time);
        }
        if self.share.is_some_and(|share| now > share.end) {
            self.stop(Stop::Share);
        }
    }

    /// Whether a block may grow from one size to another.
    fn may_grow(&mut self, from: usize, to: usize) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        if self.bytes - from + to > self.bytes_max {
            self.refusals += 1;
            if self.refusals > REFUSALS_MAX {
                self.stop(Stop::Memory);
            }
            return false;
        }
        self.spend((to / BYTES_PER_STEP) as u64)
    }
}

fn to_work(steps: u64) -> i64 {
    i64::try_from(steps).unwrap_or(i64::MAX)
}

/// The processor time of this thread.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is written to. Should the call fail, no time has passed.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Makes a state whose memory is given by the budget; null: there is not even enough for that.
pub(super) unsafe fn new_state(budget: *mut Budget) -> *mut lua_State {
    let lua = sys::lua_newstate(allocate, budget.cast());
    if !lua.is_null() {
        sys::lua_sethook(lua, Some(hook), sys::LUA_MASKCOUNT, HOOK_STEPS);
    }
    lua
}

/// The budget of a state. Quiet.
pub(super) unsafe fn of(lua: *mut lua_State) -> *mut Budget {
    let mut budget = null_mut();
    sys::lua_getallocf(lua, &mut budget);
    budget.cast()
}

/// How much work is left. Quiet.
pub(super) unsafe fn work_left(lua: *mut lua_State) -> u64 {
    u64::try_from((*of(lua)).work_left).unwrap_or(0)
}

/// Takes steps of work, and raises if there are none left.
pub(super) unsafe fn charge(lua: *mut lua_State, steps: u64) {
    if !(*of(lua)).spend(steps) {
        // The message is for nobody: who catches this asks the budget.
        lua::lua_pushnil(lua);
        lua::lua_error(lua)
    }
}

unsafe extern "C-unwind" fn hook(lua: *mut lua_State, _: *mut sys::lua_Debug) {
    (*of(lua)).look();
    charge(lua, HOOK_STEPS as u64);
}

/// Gives memory to Lua, by its rules: `to` 0 frees, and a block that does not grow never fails.
unsafe extern "C" fn allocate(
    budget: *mut c_void,
    block: *mut c_void,
    from: usize,
    to: usize,
) -> *mut c_void {
    let budget = &mut *budget.cast::<Budget>();
    // Without a block, `from` says what it will be used for.
    let from = if block.is_null() { 0 } else { from };
    if to == 0 {
        budget.bytes -= from;
        libc::free(block);
        return null_mut();
    }
    if to > from && !budget.may_grow(from, to) {
        return null_mut();
    }
    let moved = libc::realloc(block, to);
    if !moved.is_null() {
        budget.bytes = budget.bytes - from + to;
    }
    moved
}
