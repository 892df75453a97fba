//! `"scan", collection, { prefix, start, end_, reverse, limit, keys_only, raw }` → `entries, next_key, revision`. An entry
//! is a record with its key.

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::v1::{ScanOp, ScanResult};

use crate::{
    codec::{decode::Malformed, int64, refusal::quoted},
    entry::Fault,
    lua::{self, lua_State},
    op::{
        reader::{Reader, Reject},
        record,
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<ScanOp, Reject> {
    let mut op = ScanOp {
        collection: reader.text(first, "collection")?,
        ..Default::default()
    };
    if reader.is_absent(first + 1) {
        return Ok(op);
    }
    reader.each_field(first + 1, "scan options", |reader, name, at| {
        let bytes = |reader: &Reader<'_>, what| reader.bytes(at, what).map(Bytes::copy_from_slice);
        match name {
            b"prefix" => op.prefix = bytes(reader, "prefix")?,
            b"start" => op.start = bytes(reader, "start")?,
            b"end_" => op.end = bytes(reader, "end_")?,
            b"reverse" => op.reverse = reader.flag(at, "reverse")?,
            b"limit" => op.limit = u32::try_from(reader.count(at, "limit")?).unwrap_or(u32::MAX),
            b"keys_only" => op.keys_only = reader.flag(at, "keys_only")?,
            b"raw" => op.raw = reader.flag(at, "raw")?,
            _ => {
                let message = format!("stillpoint_core: unknown scan option {}", quoted(name));
                return Err(Fault::Misuse(message).into());
            }
        }
        Ok(())
    })?;
    Ok(op)
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &ScanResult) -> Result<c_int, Malformed> {
    lua::lua_createtable(lua, result.entries.len() as c_int, 0);
    for (i, entry) in result.entries.iter().enumerate() {
        let Some(record) = &entry.record else {
            continue;
        };
        record::push(lua, record)?;
        lua::push_bytes(lua, &entry.key);
        lua::lua_setfield(lua, -2, c"key".as_ptr());
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    if result.more {
        lua::push_bytes(lua, &result.next_key);
    } else {
        lua::lua_pushnil(lua);
    }
    int64::push(lua, result.revision.into());
    Ok(3)
}
