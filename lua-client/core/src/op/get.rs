//! `"get", collection, key, raw` → `value, rev, version, schema, expires_at`, nothing if the record is missing.
//!
//! `"owner", collection, key` → `{ service=, instance=, token=, session= }`, nil if nobody owns it. To the store this is a
//! get, too; so whoever pushes its result has to know.

use std::os::raw::c_int;

use stillpoint_client::v1::{Claim, GetOp, GetResult};

use crate::{
    codec::{decode::Malformed, int64},
    lua::{self, lua_State},
    op::{
        reader::{Reader, Reject},
        record,
    },
};

pub(super) fn read(reader: &Reader<'_>, first: c_int, with_claim: bool) -> Result<GetOp, Reject> {
    Ok(GetOp {
        key: Some(reader.record_key(first)?),
        with_claim,
        raw: !reader.is_absent(first + 2) && reader.flag(first + 2, "raw")?,
    })
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &GetResult) -> Result<c_int, Malformed> {
    match &result.record {
        Some(record) => record::push_spread(lua, record),
        None => Ok(0),
    }
}

pub(super) unsafe fn push_owner(lua: *mut lua_State, result: &GetResult) -> c_int {
    let Some(claim) = &result.claim else {
        lua::lua_pushnil(lua);
        return 1;
    };
    let Claim {
        session_id,
        service,
        instance,
        token,
    } = claim;
    lua::lua_createtable(lua, 0, 4);
    lua::set_text(lua, c"session", session_id.as_bytes());
    lua::set_text(lua, c"service", service.as_bytes());
    lua::set_text(lua, c"instance", instance.as_bytes());
    int64::push(lua, (*token).into());
    lua::lua_setfield(lua, -2, c"token".as_ptr());
    1
}
