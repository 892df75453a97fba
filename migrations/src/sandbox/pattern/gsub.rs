//! `string.gsub`.

use std::os::raw::{c_char, c_int};

use mlua::ffi as sys;
use stillpoint_value::lua::{self, lua_State};

use super::{
    PLAIN_BYTES_PER_STEP, anchored, argument, matched_at, matcher::Matcher, push_capture,
    push_captures, settle,
};
use crate::sandbox::budget;

/// `string.gsub(s, pattern, replacement [, n])`
pub(in crate::sandbox) unsafe extern "C-unwind" fn gsub(lua: *mut lua_State) -> c_int {
    let subject = argument(lua, 1);
    let (anchored, body) = anchored(argument(lua, 2));
    match lua::lua_type(lua, 3) {
        lua::LUA_TNUMBER | lua::LUA_TSTRING | lua::LUA_TFUNCTION | lua::LUA_TTABLE => {}
        _ => return sys::luaL_argerror(lua, 3, c"string/function/table expected".as_ptr()),
    }
    let count_max = sys::luaL_optinteger(lua, 4, subject.len() as i64 + 1);

    let mut text = std::mem::MaybeUninit::<sys::luaL_Buffer>::uninit();
    let text = text.as_mut_ptr();
    sys::luaL_buffinit(lua, text);
    let mut matcher = Matcher::new(subject, body, 0);
    let (mut at, mut last_end, mut count) = (0, None, 0);
    while count < count_max {
        matcher.refill(budget::work_left(lua));
        let end = matched_at(lua, &mut matcher, at);
        settle(lua, &matcher);
        match end {
            Some(end) if last_end != Some(end) => {
                count += 1;
                add_replacement(lua, text, &matcher, subject, at, end);
                (at, last_end) = (end, Some(end));
            }
            _ if at < subject.len() => {
                add(text, &subject[at..=at]);
                at += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    add(text, &subject[at..]);
    sys::luaL_pushresult(text);
    lua::push_integer(lua, count);
    2
}

/// Adds what a match is replaced by.
unsafe fn add_replacement(
    lua: *mut lua_State,
    text: *mut sys::luaL_Buffer,
    matcher: &Matcher<'_>,
    subject: &[u8],
    start: usize,
    end: usize,
) {
    match lua::lua_type(lua, 3) {
        lua::LUA_TFUNCTION => {
            lua::lua_pushvalue(lua, 3);
            let args = push_captures(lua, matcher, subject, start, end, true);
            sys::lua_call(lua, args, 1);
        }
        lua::LUA_TTABLE => {
            push_capture(lua, matcher, subject, 0, start, end);
            sys::lua_gettable(lua, 3);
        }
        _ => return add_template(lua, text, matcher, subject, start, end),
    }
    if lua::lua_toboolean(lua, -1) == 0 {
        lua::pop(lua, 1);
        add(text, &subject[start..end]);
    } else if sys::lua_isstring(lua, -1) == 0 {
        sys::luaL_error(
            lua,
            c"invalid replacement value (a %s)".as_ptr(),
            sys::lua_typename(lua, lua::lua_type(lua, -1)),
        );
    } else {
        sys::luaL_addvalue(text);
    }
}

/// Adds the replacement string with its captures filled in.
unsafe fn add_template(
    lua: *mut lua_State,
    text: *mut sys::luaL_Buffer,
    matcher: &Matcher<'_>,
    subject: &[u8],
    start: usize,
    end: usize,
) {
    let mut template = argument(lua, 3);
    budget::charge(lua, (template.len() / PLAIN_BYTES_PER_STEP) as u64);
    while let Some(at) = memchr::memchr(b'%', template) {
        add(text, &template[..at]);
        match template.get(at + 1) {
            Some(b'%') => add(text, b"%"),
            Some(b'0') => add(text, &subject[start..end]),
            Some(digit @ b'1'..=b'9') => {
                push_capture(lua, matcher, subject, usize::from(digit - b'1'), start, end);
                sys::luaL_addvalue(text);
            }
            _ => {
                sys::luaL_error(lua, c"invalid use of '%%' in replacement string".as_ptr());
            }
        }
        template = template.get(at + 2..).unwrap_or_default();
    }
    add(text, template);
}

unsafe fn add(text: *mut sys::luaL_Buffer, bytes: &[u8]) {
    sys::luaL_addlstring(text, bytes.as_ptr().cast::<c_char>(), bytes.len());
}
