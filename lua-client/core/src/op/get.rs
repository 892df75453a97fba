//! `"get", collection, key` → `value, rev, version, schema, expires_at`, nothing if the record is missing.

use std::os::raw::c_int;

use stillpoint_client::v1::{GetOp, GetResult};

use crate::{
    codec::decode::Malformed,
    lua::lua_State,
    op::{
        reader::{Reader, Reject},
        record,
    },
};

pub(super) fn read(reader: &Reader<'_>, first: c_int) -> Result<GetOp, Reject> {
    Ok(GetOp {
        key: Some(reader.record_key(first)?),
    })
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &GetResult) -> Result<c_int, Malformed> {
    match &result.record {
        Some(record) => record::push_spread(lua, record),
        None => Ok(0),
    }
}
