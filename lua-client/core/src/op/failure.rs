//! An error as Lua gets it: `{ reason=, message=, retryable=, maybe_applied=, retry_after=, key=, current=, holder= }` with
//! the metatable `core.error_mt`.

use stillpoint_client::v1::{Reason, StoreError};

use crate::{
    codec::decode::Malformed,
    context::ERROR_MT,
    entry::Push,
    lua::{self, lua_State},
    op::record,
};

/// Pushes the error. Raising.
pub(crate) unsafe fn push(lua: *mut lua_State, error: &StoreError) {
    begin(lua, error.reason(), error.retryable, error.maybe_applied);
    lua::push_bytes(lua, error.message.as_bytes());
    lua::lua_setfield(lua, -2, c"message".as_ptr());
    if error.retry_after_ms > 0 {
        lua::lua_pushnumber(lua, error.retry_after_ms as f64 / 1000.0);
        lua::lua_setfield(lua, -2, c"retry_after".as_ptr());
    }
    if let Some(key) = &error.key {
        lua::lua_createtable(lua, 0, 2);
        lua::push_bytes(lua, key.collection.as_bytes());
        lua::lua_setfield(lua, -2, c"collection".as_ptr());
        lua::push_bytes(lua, &key.key);
        lua::lua_setfield(lua, -2, c"key".as_ptr());
        lua::lua_setfield(lua, -2, c"key".as_ptr());
    }
    if !error.holder.is_empty() {
        lua::set_text(lua, c"holder", error.holder.as_bytes());
    }
    if let Some(current) = &error.current {
        let top = lua::lua_gettop(lua);
        match record::push(lua, current) {
            Ok(()) => lua::lua_setfield(lua, top, c"current".as_ptr()),
            // The reason stands without it.
            Err(_) => lua::lua_settop(lua, top),
        }
    }
}

/// Pushes the error that what the store sent is no value. Raising.
pub(crate) unsafe fn push_malformed(lua: *mut lua_State, malformed: Malformed) {
    begin(lua, Reason::Internal, false, true);
    malformed.push(lua);
    lua::lua_setfield(lua, -2, c"message".as_ptr());
}

/// Pushes what every error has, without the message.
unsafe fn begin(lua: *mut lua_State, reason: Reason, retryable: bool, maybe_applied: bool) {
    lua::lua_createtable(lua, 0, 8);
    push_lower_case(lua, reason.name());
    lua::lua_setfield(lua, -2, c"reason".as_ptr());
    lua::lua_pushboolean(lua, retryable.into());
    lua::lua_setfield(lua, -2, c"retryable".as_ptr());
    lua::lua_pushboolean(lua, maybe_applied.into());
    lua::lua_setfield(lua, -2, c"maybe_applied".as_ptr());
    lua::lua_pushvalue(lua, lua::lua_upvalueindex(ERROR_MT));
    lua::lua_setmetatable(lua, -2);
}

/// Pushes an ASCII name in lower case, without memory that would need freeing.
unsafe fn push_lower_case(lua: *mut lua_State, name: &str) {
    let mut lower = [0; 32];
    for (to, from) in lower.iter_mut().zip(name.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    lua::push_bytes(lua, lower.get(..name.len()).unwrap_or(&lower));
}

/// As the second result, after nil.
impl Push for Box<StoreError> {
    unsafe fn push(&self, lua: *mut lua_State) -> std::os::raw::c_int {
        push(lua, self);
        1
    }
}
