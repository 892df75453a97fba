//! A record as Lua gets it: `{ value=, rev=, version=, schema=, expires_at= }`, with `unreadable=` in the value's place where
//! it cannot be given.

use std::os::raw::c_int;

use stillpoint_client::v1::Record;

use crate::{
    codec::{
        decode::{Malformed, decode},
        int64,
    },
    lua::{self, lua_State},
};

/// Pushes the record as a table. Raising.
pub(crate) unsafe fn push(lua: *mut lua_State, record: &Record) -> Result<(), Malformed> {
    lua::lua_createtable(lua, 0, 6);
    set_fields(lua, record)
}

/// Sets the record's fields in the table on top. Raising.
pub(crate) unsafe fn set_fields(lua: *mut lua_State, record: &Record) -> Result<(), Malformed> {
    if !record.unreadable.is_empty() {
        lua::set_text(lua, c"unreadable", record.unreadable.as_bytes());
    } else if !record.value.is_empty() {
        // A scan of keys only leaves the value out.
        decode(lua, &record.value)?;
        lua::lua_setfield(lua, -2, c"value".as_ptr());
    }
    int64::push(lua, record.mod_rev.into());
    lua::lua_setfield(lua, -2, c"rev".as_ptr());
    int64::push(lua, record.version.into());
    lua::lua_setfield(lua, -2, c"version".as_ptr());
    lua::push_integer(lua, record.schema.into());
    lua::lua_setfield(lua, -2, c"schema".as_ptr());
    if record.expires_at_ms > 0 {
        lua::push_seconds(lua, record.expires_at_ms);
        lua::lua_setfield(lua, -2, c"expires_at".as_ptr());
    }
    Ok(())
}

/// Pushes the record, or false. Raising.
pub(super) unsafe fn push_or_false(
    lua: *mut lua_State,
    record: Option<&Record>,
) -> Result<(), Malformed> {
    match record {
        Some(record) => push(lua, record),
        None => {
            lua::lua_pushboolean(lua, 0);
            Ok(())
        }
    }
}

/// Pushes `value, rev, version, schema, expires_at`. Raising.
pub(super) unsafe fn push_spread(lua: *mut lua_State, record: &Record) -> Result<c_int, Malformed> {
    decode(lua, &record.value)?;
    int64::push(lua, record.mod_rev.into());
    int64::push(lua, record.version.into());
    lua::push_integer(lua, record.schema.into());
    if record.expires_at_ms == 0 {
        return Ok(4);
    }
    lua::push_seconds(lua, record.expires_at_ms);
    Ok(5)
}
