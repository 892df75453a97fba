//! The operations: each file reads one kind's arguments from the Lua stack and pushes its results.
//!
//! # Layout
//!
//! - [`reader`]: arguments of every type, with the errors for wrong ones.
//! - [`get`], [`put`], [`delete`], [`patch`], [`batch_get`], [`txn`], [`scan`], [`claim`], [`timer`], [`cursor`],
//!   [`history`]: one kind of operation each.
//! - [`options`]: guards and what else writes have in common; [`path`]: places in a document.
//! - [`record`], [`failure`]: how a record and an error look in Lua.

mod batch_get;
mod claim;
mod cursor;
mod delete;
pub(crate) mod failure;
mod get;
mod history;
mod options;
mod patch;
mod path;
mod put;
pub(crate) mod reader;
pub(crate) mod record;
mod scan;
mod timer;
mod txn;

use std::os::raw::c_int;

use stillpoint_client::v1::{self, op, op_result};

use crate::{
    codec::{decode::Malformed, refusal::quoted},
    entry::Fault,
    lua::lua_State,
    op::reader::{Reader, Reject},
};

/// Stack slots that the deepest table of arguments takes, without the values in it.
const SLOTS: c_int = 64;

/// Reads the operation called `name`, whose arguments are those from the stack index `first` on.
pub(crate) fn read(reader: &mut Reader<'_>, name: &[u8], first: c_int) -> Result<v1::Op, Reject> {
    let kind = match name {
        b"get" => op::Kind::Get(get::read(reader, first, false)?),
        b"owner" => op::Kind::Get(get::read(reader, first, true)?),
        b"put" => op::Kind::Put(put::read(reader, first)?),
        b"delete" => op::Kind::Delete(delete::read(reader, first)?),
        b"patch" => op::Kind::Patch(patch::read(reader, first)?),
        b"batch_get" => op::Kind::BatchGet(batch_get::read(reader, first)?),
        b"txn" => op::Kind::Txn(txn::read(reader, first)?),
        b"scan" => op::Kind::Scan(scan::read(reader, first)?),
        b"claim" => op::Kind::Claim(claim::read(reader, first)?),
        b"release" => op::Kind::Release(claim::read_release(reader, first)?),
        b"set_timer" => op::Kind::SetTimer(timer::read_set(reader, first)?),
        b"cancel_timer" => op::Kind::CancelTimer(timer::read_cancel(reader, first)?),
        b"finish_timer" => op::Kind::FinishTimer(timer::read_finish(reader, first)?),
        b"history" => op::Kind::History(history::read(reader, first)?),
        b"set_cursor" => op::Kind::SetCursor(cursor::read(reader, first)?),
        _ => return Err(Fault::Misuse(format!("unknown operation {}", quoted(name))).into()),
    };
    Ok(v1::Op { kind: Some(kind) })
}

/// Whether an operation asks for the owner of a record, not for the record.
pub(crate) fn is_owner(op: &v1::Op) -> bool {
    matches!(&op.kind, Some(op::Kind::Get(get)) if get.with_claim)
}

/// Pushes the results of an operation and returns how many; `is_owner` as said of the operation. Raising.
pub(crate) unsafe fn push(
    lua: *mut lua_State,
    kind: &op_result::Kind,
    is_owner: bool,
) -> Result<c_int, Malformed> {
    match kind {
        op_result::Kind::Get(result) if is_owner => Ok(get::push_owner(lua, result)),
        op_result::Kind::Get(result) => get::push(lua, result),
        op_result::Kind::Put(result) => Ok(put::push(lua, result)),
        op_result::Kind::Delete(result) => Ok(delete::push(lua, result)),
        op_result::Kind::Patch(result) => patch::push(lua, result),
        op_result::Kind::BatchGet(result) => batch_get::push(lua, result),
        op_result::Kind::Txn(result) => txn::push(lua, result),
        op_result::Kind::Scan(result) => scan::push(lua, result),
        op_result::Kind::Claim(result) => claim::push(lua, result),
        op_result::Kind::Release(result) => Ok(claim::push_release(lua, result)),
        op_result::Kind::SetTimer(result) => Ok(timer::push_set(lua, result)),
        op_result::Kind::CancelTimer(result) => Ok(timer::push_cancel(lua, result)),
        op_result::Kind::FinishTimer(result) => Ok(timer::push_finish(lua, result)),
        op_result::Kind::History(result) => history::push(lua, result),
        op_result::Kind::SetCursor(_) => Ok(0),
        // No operation above asks for the collections, and the client gives errors as such.
        op_result::Kind::ListCollections(_) | op_result::Kind::Error(_) => Ok(0),
    }
}
