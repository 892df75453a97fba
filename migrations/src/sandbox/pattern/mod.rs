//! `string.find`, `match`, `gmatch` and `gsub`, whose work is counted.
//!
//! They are those of Lua 5.4 on the [`matcher`] of this crate. A match takes its steps from the budget before it begins and
//! gives back what it did not need, so that it holds no borrow of the budget while it runs.

mod class;
mod gsub;
mod matcher;
#[cfg(test)]
mod tests;

use std::os::raw::c_int;

use mlua::ffi as sys;
use stillpoint_value::lua::{self, lua_State};

use super::budget;
pub(super) use gsub::gsub;
use matcher::{Capture, Fault, Matcher};

/// Characters that make a pattern more than plain text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Bytes that plain text is sought in, in one step of work.
const PLAIN_BYTES_PER_STEP: usize = 16;

/// `string.find(s, pattern [, init [, plain]])`
pub(super) unsafe extern "C-unwind" fn find(lua: *mut lua_State) -> c_int {
    find_or_match(lua, true)
}

/// `string.match(s, pattern [, init])`
pub(super) unsafe extern "C-unwind" fn match_(lua: *mut lua_State) -> c_int {
    find_or_match(lua, false)
}

unsafe fn find_or_match(lua: *mut lua_State, find: bool) -> c_int {
    let (subject, pattern) = (argument(lua, 1), argument(lua, 2));
    let Some(init) = first_position(lua, 3, subject.len()) else {
        lua::lua_pushnil(lua);
        return 1;
    };
    let is_plain = !pattern.iter().any(|c| SPECIALS.contains(c));
    if find && (is_plain || lua::lua_toboolean(lua, 4) != 0) {
        return find_plain(lua, subject, pattern, init);
    }
    let (anchored, body) = anchored(pattern);
    let mut matcher = Matcher::new(subject, body, budget::work_left(lua));
    for start in init..=subject.len() {
        if let Some(end) = matched_at(lua, &mut matcher, start) {
            settle(lua, &matcher);
            if !find {
                return push_captures(lua, &matcher, subject, start, end, true);
            }
            lua::push_integer(lua, start as i64 + 1);
            lua::push_integer(lua, end as i64);
            return 2 + push_captures(lua, &matcher, subject, start, end, false);
        }
        if anchored {
            break;
        }
    }
    settle(lua, &matcher);
    lua::lua_pushnil(lua);
    1
}

unsafe fn find_plain(lua: *mut lua_State, subject: &[u8], text: &[u8], init: usize) -> c_int {
    budget::charge(lua, ((subject.len() - init) / PLAIN_BYTES_PER_STEP) as u64);
    match memchr::memmem::find(&subject[init..], text) {
        Some(at) => {
            lua::push_integer(lua, (init + at) as i64 + 1);
            lua::push_integer(lua, (init + at + text.len()) as i64);
            2
        }
        None => {
            lua::lua_pushnil(lua);
            1
        }
    }
}

/// `string.gmatch(s, pattern [, init])`
pub(super) unsafe extern "C-unwind" fn gmatch(lua: *mut lua_State) -> c_int {
    let subject = argument(lua, 1);
    argument(lua, 2);
    let init = first_position(lua, 3, subject.len()).unwrap_or(subject.len() + 1);
    lua::lua_settop(lua, 2);
    lua::push_integer(lua, init as i64);
    // Where the last match ended: nowhere yet.
    lua::push_integer(lua, -1);
    lua::push_function(lua, gmatch_next, 4);
    1
}

/// What `gmatch` gives: its upvalues are subject, pattern, where to go on, and where the last match ended.
unsafe extern "C-unwind" fn gmatch_next(lua: *mut lua_State) -> c_int {
    let subject = argument(lua, lua::lua_upvalueindex(1));
    let pattern = argument(lua, lua::lua_upvalueindex(2));
    let init = integer(lua, lua::lua_upvalueindex(3));
    let last_end = integer(lua, lua::lua_upvalueindex(4));
    let mut matcher = Matcher::new(subject, pattern, budget::work_left(lua));
    for start in init as usize..=subject.len() {
        let Some(end) = matched_at(lua, &mut matcher, start) else {
            continue;
        };
        if end as i64 == last_end {
            continue;
        }
        for upvalue in [3, 4] {
            lua::push_integer(lua, end as i64);
            sys::lua_replace(lua, lua::lua_upvalueindex(upvalue));
        }
        settle(lua, &matcher);
        return push_captures(lua, &matcher, subject, start, end, true);
    }
    settle(lua, &matcher);
    0
}

/// Tries one place; raises what is wrong.
unsafe fn matched_at(
    lua: *mut lua_State,
    matcher: &mut Matcher<'_>,
    start: usize,
) -> Option<usize> {
    match matcher.match_at(start) {
        Ok(end) => end,
        Err(fault) => {
            settle(lua, matcher);
            raise(lua, fault)
        }
    }
}

unsafe fn raise(lua: *mut lua_State, fault: Fault) -> ! {
    match fault {
        Fault::Malformed(what) => sys::luaL_error(lua, c"%s".as_ptr(), what.as_ptr()),
        Fault::NoCapture(number) => {
            sys::luaL_error(lua, c"invalid capture index %%%d".as_ptr(), number as c_int)
        }
        Fault::Exhausted => 0,
    };
    // What is exhausted is more than the budget has.
    budget::charge(lua, u64::MAX);
    unreachable!("an empty budget raises")
}

/// Takes from the budget what the matches used.
unsafe fn settle(lua: *mut lua_State, matcher: &Matcher<'_>) {
    let used = budget::work_left(lua).saturating_sub(matcher.steps_left());
    budget::charge(lua, used);
}

/// Pushes all captures; without any, the whole match if `whole`. Returns how many.
unsafe fn push_captures(
    lua: *mut lua_State,
    matcher: &Matcher<'_>,
    subject: &[u8],
    start: usize,
    end: usize,
    whole: bool,
) -> c_int {
    let count = matcher.level().max(usize::from(whole));
    sys::luaL_checkstack(lua, count as c_int, c"too many captures".as_ptr());
    for index in 0..count {
        push_capture(lua, matcher, subject, index, start, end);
    }
    count as c_int
}

unsafe fn push_capture(
    lua: *mut lua_State,
    matcher: &Matcher<'_>,
    subject: &[u8],
    index: usize,
    start: usize,
    end: usize,
) {
    match matcher.capture(index, start, end) {
        Ok(Capture::Text(from, to)) => lua::push_bytes(lua, &subject[from..to]),
        Ok(Capture::Position(at) | Capture::Open(at)) => lua::push_integer(lua, at as i64 + 1),
        Err(fault) => raise(lua, fault),
    }
}

/// The string (or number) that the argument is. It lives as long as the argument. Raising.
unsafe fn argument<'a>(lua: *mut lua_State, at: c_int) -> &'a [u8] {
    let mut len = 0;
    let data = sys::luaL_checklstring(lua, at, &mut len);
    std::slice::from_raw_parts(data.cast(), len)
}

/// The integer that an upvalue is.
unsafe fn integer(lua: *mut lua_State, at: c_int) -> i64 {
    sys::lua_tointeger(lua, at)
}

/// Where to begin, counted from 0: the argument counts from 1, or from the end if it is negative. `None`: behind the end.
unsafe fn first_position(lua: *mut lua_State, at: c_int, len: usize) -> Option<usize> {
    let position = sys::luaL_optinteger(lua, at, 1);
    let start = match position {
        1.. => position as u64 - 1,
        0 => 0,
        _ => (len as u64).saturating_sub(position.unsigned_abs()),
    };
    usize::try_from(start).ok().filter(|start| *start <= len)
}

/// Whether a pattern matches at the beginning only, and the pattern without the sign for it.
fn anchored(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    }
}
