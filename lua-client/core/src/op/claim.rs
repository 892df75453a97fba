//! `"claim", collection, key, { wait=, steal=, load= }` → `token, value, rev, version, schema, expires_at`; without a
//! record, or `load`, only the token. Times in seconds.
//!
//! `"release", collection, key` → `released`.

use std::os::raw::c_int;

use stillpoint_client::v1::{ClaimOp, ClaimResult, ReleaseOp, ReleaseResult};

use crate::{
    codec::{decode::Malformed, int64},
    lua::{self, lua_State},
    op::{
        reader::{Reader, Reject, misuse},
        record,
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<ClaimOp, Reject> {
    let mut op = ClaimOp {
        key: Some(reader.record_key(first)?),
        ..Default::default()
    };
    if reader.is_absent(first + 2) {
        return Ok(op);
    }
    reader.each_field(first + 2, "claim options", |reader, name, at| {
        match name {
            b"wait" => {
                op.wait_ms = u32::try_from(reader.milliseconds(at, "wait")?).unwrap_or(u32::MAX)
            }
            b"steal" => op.steal = reader.flag(at, "steal")?,
            b"load" => op.load = reader.flag(at, "load")?,
            _ => return Err(misuse("claim options", "only wait, steal and load")),
        }
        Ok(())
    })?;
    Ok(op)
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &ClaimResult) -> Result<c_int, Malformed> {
    int64::push(lua, result.token.into());
    match &result.record {
        Some(record) => Ok(1 + record::push_spread(lua, record)?),
        None => Ok(1),
    }
}

pub(super) fn read_release(reader: &Reader<'_>, first: c_int) -> Result<ReleaseOp, Reject> {
    Ok(ReleaseOp {
        key: Some(reader.record_key(first)?),
    })
}

pub(super) unsafe fn push_release(lua: *mut lua_State, result: &ReleaseResult) -> c_int {
    lua::lua_pushboolean(lua, result.released.into());
    1
}
