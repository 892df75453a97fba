//! `"put", collection, key, value, opts` → `rev, version`.

use std::os::raw::c_int;

use stillpoint_client::v1::{PutOp, PutResult};

use crate::{
    codec::int64,
    lua::lua_State,
    op::{
        options,
        reader::{Reader, Reject},
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<PutOp, Reject> {
    let key = reader.record_key(first)?;
    let value = reader
        .value(first + 2)
        .map_err(|reject| reject.about(&key))?;
    let mut op = PutOp {
        value,
        ..Default::default()
    };
    options::read(reader, first + 3, &mut op.guards, |reader, name, at| {
        match name {
            b"ttl" => op.ttl_ms = reader.lifetime_ms(at)?,
            b"schema" => op.schema = Some(reader.count32(at, "schema")?),
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(|reject| reject.about(&key))?;
    op.key = Some(key);
    Ok(op)
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &PutResult) -> c_int {
    int64::push(lua, result.mod_rev.into());
    int64::push(lua, result.version.into());
    2
}
