//! `"history", collection, key, { before, before_seq, limit }` → `entries, next_seq, since, is_whole`. An entry is the record
//! as it was written, if it was not deleted, with `rev`, `time`, `by`, `who`, `actor` and `records`. `since`: when the store's log
//! begins; `is_whole`: it has all that was ever committed.

use std::os::raw::c_int;

use stillpoint_client::v1::{CommitOrigin, HistoryChange, HistoryOp, HistoryResult};

use crate::{
    codec::{decode::Malformed, int64, refusal::quoted},
    entry::Fault,
    lua::{self, lua_State},
    op::{
        reader::{Reader, Reject},
        record,
    },
};

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<HistoryOp, Reject> {
    let mut op = HistoryOp {
        key: Some(reader.record_key(first)?),
        ..Default::default()
    };
    if reader.is_absent(first + 2) {
        return Ok(op);
    }
    reader.each_field(first + 2, "history options", |reader, name, at| {
        match name {
            b"before" => op.before_revision = reader.count(at, "before")?,
            b"before_seq" => op.before_seq = reader.count(at, "before_seq")?,
            b"limit" => op.limit = reader.count32(at, "limit")?,
            _ => {
                let message = format!("stillpoint_core: unknown history option {}", quoted(name));
                return Err(Fault::Misuse(message).into());
            }
        }
        Ok(())
    })?;
    Ok(op)
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &HistoryResult) -> Result<c_int, Malformed> {
    lua::lua_createtable(lua, result.changes.len() as c_int, 0);
    for (i, change) in result.changes.iter().enumerate() {
        push_change(lua, change)?;
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    match result.next_seq {
        0 => lua::lua_pushnil(lua),
        seq => int64::push(lua, seq.into()),
    }
    match result.log_first_seq {
        0 => lua::lua_pushnil(lua),
        _ => lua::push_seconds(lua, result.log_first_ms),
    }
    lua::lua_pushboolean(lua, (result.log_first_seq <= 1).into());
    Ok(4)
}

unsafe fn push_change(lua: *mut lua_State, change: &HistoryChange) -> Result<(), Malformed> {
    lua::lua_createtable(lua, 0, 12);
    match &change.record {
        Some(record) => record::set_fields(lua, record)?,
        None => {
            int64::push(lua, change.revision.into());
            lua::lua_setfield(lua, -2, c"rev".as_ptr());
        }
    }
    lua::lua_pushboolean(lua, change.record.is_none().into());
    lua::lua_setfield(lua, -2, c"deleted".as_ptr());
    lua::push_seconds(lua, change.time_ms);
    lua::lua_setfield(lua, -2, c"time".as_ptr());
    lua::push_integer(lua, change.records_written.into());
    lua::lua_setfield(lua, -2, c"records".as_ptr());
    let by: &[u8] = match change.origin() {
        CommitOrigin::Expiry => b"expiry",
        CommitOrigin::Store => b"store",
        CommitOrigin::Migration => b"migration",
        CommitOrigin::Client | CommitOrigin::Unspecified => b"client",
    };
    lua::set_text(lua, c"by", by);
    if !change.actor.is_empty() {
        lua::set_text(lua, c"actor", change.actor.as_bytes());
    }
    if !change.session_id.is_empty() {
        lua::lua_createtable(lua, 0, 3);
        lua::set_text(lua, c"session", change.session_id.as_bytes());
        lua::set_text(lua, c"service", change.service.as_bytes());
        lua::set_text(lua, c"instance", change.instance.as_bytes());
        lua::lua_setfield(lua, -2, c"who".as_ptr());
    }
    Ok(())
}
