//! What Lua can do with 64-bit integers that a Lua number cannot hold; see [`int64`] for what they look like.
//!
//! A wrapper has `__tostring` (decimal) and compares with `==`, `<`, `<=` to other wrappers, from Lua 5.3 on with `<`, `<=`
//! also to numbers. `core.int64(x)` makes the right form for this Lua of a whole number, a decimal string, a cdata or a
//! wrapper.

use std::{cmp::Ordering, os::raw::c_int};

use stillpoint_value::int64::{self, Operand, compare};

use crate::{
    entry::{Call, Fault, Push, enter},
    lua::lua_State,
};

pub(crate) use stillpoint_value::int64::push;

/// An integer from -2^63 to 2^64-1, pushed in the form that holds it.
pub(crate) struct Integer(pub(crate) i128);

impl Push for Integer {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        push(lua, self.0);
        1
    }
}

/// The wrapper, cdata or number at `at`.
unsafe fn operand(call: &Call, at: c_int) -> Option<Operand> {
    int64::operand(call.lua, call.context().marks.int64, at)
}

/// `core.int64(x)` → the integer, or nil and why not.
pub(crate) unsafe extern "C-unwind" fn new(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(int64::whole(call.lua, call.context().marks.int64, 1)
            .map(Integer)
            .ok_or("not an integer from -2^63 to 2^64-1"))
    })
}

/// `__tostring` of a wrapper.
pub(crate) unsafe extern "C-unwind" fn to_string(lua: *mut lua_State) -> c_int {
    enter(lua, |call| match operand(call, 1) {
        Some(Operand::Integer(n)) => Ok(n.to_string()),
        _ => Err(Fault::Misuse(
            "a damaged 64-bit integer: it needs hi and lo from 0 to 2^32-1".into(),
        )),
    })
}

/// `__eq` of a wrapper.
pub(crate) unsafe extern "C-unwind" fn equal(lua: *mut lua_State) -> c_int {
    ordering(lua, |ordering| ordering == Some(Ordering::Equal), false)
}

/// `__lt` of a wrapper.
pub(crate) unsafe extern "C-unwind" fn less(lua: *mut lua_State) -> c_int {
    ordering(lua, |ordering| ordering == Some(Ordering::Less), true)
}

/// `__le` of a wrapper.
pub(crate) unsafe extern "C-unwind" fn less_or_equal(lua: *mut lua_State) -> c_int {
    ordering(lua, |ordering| ordering.is_some_and(Ordering::is_le), true)
}

/// Answers whether the arguments compare so; what is no number is equal to none, and raises if `strict`.
unsafe fn ordering(
    lua: *mut lua_State,
    holds: fn(Option<Ordering>) -> bool,
    strict: bool,
) -> c_int {
    enter(lua, |call| match (operand(call, 1), operand(call, 2)) {
        (Some(left), Some(right)) => Ok(holds(compare(left, right))),
        _ if strict => Err(Fault::Misuse(
            "attempt to compare a 64-bit integer with something else".into(),
        )),
        _ => Ok(false),
    })
}
