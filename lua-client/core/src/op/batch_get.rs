//! `"batch_get", { collection, key, collection, key, ... }` → `records, revision`; false stands for a missing one.

use std::os::raw::c_int;

use stillpoint_client::v1::{BatchGetOp, BatchGetResult};

use crate::{
    codec::{decode::Malformed, int64},
    lua::{self, lua_State},
    op::{
        reader::{Reader, Reject},
        record,
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<BatchGetOp, Reject> {
    let lua = reader.call.lua;
    let mut op = BatchGetOp::default();
    let mut position = 1;
    loop {
        let collection = reader.spread(first, position, position + 1, "keys")?;
        if reader.is_absent(collection) {
            return Ok(op);
        }
        op.keys.push(reader.record_key(collection)?);
        position += 2;
        // SAFETY: pops what `spread` pushed.
        unsafe { lua::pop(lua, 2) };
    }
}

pub(super) unsafe fn push(
    lua: *mut lua_State,
    result: &BatchGetResult,
) -> Result<c_int, Malformed> {
    lua::lua_createtable(lua, result.results.len() as c_int, 0);
    for (i, result) in result.results.iter().enumerate() {
        record::push_or_false(lua, result.record.as_ref())?;
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    int64::push(lua, result.revision.into());
    Ok(2)
}
