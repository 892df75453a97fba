//! `pairs` and `next` in the order of the keys: numbers, then strings, then booleans.
//!
//! Lua's own order depends on the seed of the state, so a script that makes a list of a map, or takes the first entry it
//! meets, would make another document each time. In the order of the keys it makes one.

use std::{cmp::Ordering, os::raw::c_int};

use mlua::ffi as sys;
use stillpoint_value::{
    int64::{self, Operand},
    lua::{self, Number, lua_State},
};

use super::budget;

/// Upvalue of an iterator: the sorted keys.
const KEYS: c_int = 1;
/// Upvalue of an iterator: how many of them are done.
const DONE: c_int = 2;

/// A key that has an order. Strings are borrowed from the table that holds them.
#[derive(Clone, Copy)]
enum Key<'a> {
    Number(Operand),
    Text(&'a [u8]),
    Boolean(bool),
}

impl Key<'_> {
    fn rank(&self) -> u8 {
        match self {
            Key::Number(_) => 0,
            Key::Text(_) => 1,
            Key::Boolean(_) => 2,
        }
    }

    fn compare(&self, other: &Key<'_>) -> Ordering {
        match (self, other) {
            (Key::Number(a), Key::Number(b)) => int64::compare(*a, *b).unwrap_or(Ordering::Equal),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Boolean(a), Key::Boolean(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The key at `at`; `None`: it has no order. Quiet.
unsafe fn key_at<'a>(lua: *mut lua_State, at: c_int) -> Option<Key<'a>> {
    match lua::lua_type(lua, at) {
        lua::LUA_TNUMBER => Some(Key::Number(match lua::number_at(lua, at) {
            Number::Integer(n) => Operand::Integer(n.into()),
            Number::Float(float) => Operand::Float(float),
        })),
        lua::LUA_TSTRING => Some(Key::Text(lua::string_at(lua, at))),
        lua::LUA_TBOOLEAN => Some(Key::Boolean(lua::lua_toboolean(lua, at) != 0)),
        _ => None,
    }
}

unsafe fn no_order(lua: *mut lua_State) -> c_int {
    sys::luaL_error(
        lua,
        c"cannot go over a table that has a %s as a key: such keys have no order".as_ptr(),
        sys::lua_typename(lua, lua::lua_type(lua, -1)),
    )
}

/// `pairs(table)`
pub(super) unsafe extern "C-unwind" fn pairs(lua: *mut lua_State) -> c_int {
    sys::luaL_checktype(lua, 1, lua::LUA_TTABLE);
    lua::lua_settop(lua, 1);

    let (mut count, mut is_list) = (0_i64, true);
    lua::lua_pushnil(lua);
    while lua::lua_next(lua, 1) != 0 {
        lua::pop(lua, 1);
        count += 1;
        match key_at(lua, -1) {
            Some(Key::Number(Operand::Integer(n))) => is_list &= n == i128::from(count),
            Some(_) => is_list = false,
            None => return no_order(lua),
        }
    }
    budget::charge(lua, count as u64);

    if is_list {
        // Lua goes over a list in order, and fast.
        lua::push_function(lua, plain_next, 0);
    } else {
        push_sorted_keys(lua, count);
        lua::push_integer(lua, 0);
        lua::push_function(lua, sorted_next, 2);
    }
    lua::lua_pushvalue(lua, 1);
    lua::lua_pushnil(lua);
    3
}

/// Pushes the keys of the table at 1, in order. Raising.
unsafe fn push_sorted_keys(lua: *mut lua_State, count: i64) {
    let len = c_int::try_from(count).unwrap_or(c_int::MAX);
    lua::lua_createtable(lua, len, 0);
    let keys = lua::lua_gettop(lua);
    let mut i = 0;
    lua::lua_pushnil(lua);
    while lua::lua_next(lua, 1) != 0 {
        lua::pop(lua, 1);
        i += 1;
        lua::lua_pushvalue(lua, -1);
        lua::raw_set_index(lua, keys, i);
    }

    lua::lua_createtable(lua, len, 0);
    let sorted = lua::lua_gettop(lua);
    // From here to the end nothing raises: the places in both tables are there already.
    let mut order = Vec::with_capacity(len as usize);
    for i in 1..=count {
        lua::raw_get_index(lua, keys, i);
        order.extend(key_at(lua, -1).map(|key| (key, i)));
        lua::pop(lua, 1);
    }
    order.sort_unstable_by(|(a, _), (b, _)| a.compare(b));
    for (place, (_, i)) in (1..).zip(&order) {
        lua::raw_get_index(lua, keys, *i);
        lua::raw_set_index(lua, sorted, place);
    }
    drop(order);
    sys::lua_remove(lua, keys);
}

/// The iterator of a list.
unsafe extern "C-unwind" fn plain_next(lua: *mut lua_State) -> c_int {
    lua::lua_settop(lua, 2);
    if lua::lua_next(lua, 1) != 0 {
        2
    } else {
        lua::lua_pushnil(lua);
        1
    }
}

/// The iterator over sorted keys; leaves out those that are gone by now.
unsafe extern "C-unwind" fn sorted_next(lua: *mut lua_State) -> c_int {
    let Number::Integer(mut done) = lua::number_at(lua, lua::lua_upvalueindex(DONE)) else {
        return 0;
    };
    loop {
        done += 1;
        lua::lua_settop(lua, 1);
        lua::raw_get_index(lua, lua::lua_upvalueindex(KEYS), done);
        if lua::lua_type(lua, 2) == lua::LUA_TNIL {
            return 1;
        }
        lua::lua_pushvalue(lua, 2);
        sys::lua_rawget(lua, 1);
        if lua::lua_type(lua, 3) != lua::LUA_TNIL {
            lua::push_integer(lua, done);
            sys::lua_replace(lua, lua::lua_upvalueindex(DONE));
            return 2;
        }
    }
}

/// `next(table [, key])`: the entry with the least key, or the least that is greater than this one. Looks at all of them.
pub(super) unsafe extern "C-unwind" fn next(lua: *mut lua_State) -> c_int {
    sys::luaL_checktype(lua, 1, lua::LUA_TTABLE);
    lua::lua_settop(lua, 2);
    let after = key_at(lua, 2);
    if after.is_none() && lua::lua_type(lua, 2) != lua::LUA_TNIL {
        return no_order(lua);
    }

    let (mut count, mut least): (u64, Option<Key<'_>>) = (0, None);
    lua::lua_pushnil(lua); // 3: the least key
    lua::lua_pushnil(lua);
    while lua::lua_next(lua, 1) != 0 {
        lua::pop(lua, 1);
        count += 1;
        let Some(key) = key_at(lua, 4) else {
            return no_order(lua);
        };
        if after.is_none_or(|after| key.compare(&after).is_gt())
            && least.is_none_or(|least| key.compare(&least).is_lt())
        {
            least = Some(key);
            lua::lua_pushvalue(lua, 4);
            sys::lua_replace(lua, 3);
        }
    }
    budget::charge(lua, count);

    lua::lua_settop(lua, 3);
    if least.is_none() {
        return 1;
    }
    lua::lua_pushvalue(lua, 3);
    sys::lua_rawget(lua, 1);
    2
}
