//! `"delete", collection, key, opts` → `existed, rev`.

use std::os::raw::c_int;

use stillpoint_client::v1::{DeleteOp, DeleteResult};

use crate::{
    codec::int64,
    lua::{self, lua_State},
    op::{
        options,
        reader::{Reader, Reject},
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<DeleteOp, Reject> {
    let key = reader.record_key(first)?;
    let mut op = DeleteOp::default();
    options::read(reader, first + 2, &mut op.guards, |_, _, _| Ok(false))
        .map_err(|reject| reject.about(&key))?;
    op.key = Some(key);
    Ok(op)
}

/// The revision only of a record that existed.
pub(super) unsafe fn push(lua: *mut lua_State, result: &DeleteResult) -> c_int {
    lua::lua_pushboolean(lua, result.existed.into());
    if !result.existed {
        return 1;
    }
    int64::push(lua, result.revision.into());
    2
}
