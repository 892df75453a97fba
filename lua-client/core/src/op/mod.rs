//! The operations: each file reads one kind's arguments from the Lua stack and pushes its results.
//!
//! # Layout
//!
//! - [`reader`]: arguments of every type, with the errors for wrong ones.
//! - [`get`], [`put`], [`delete`], [`patch`], [`batch_get`], [`txn`], [`scan`]: one operation each.
//! - [`options`]: guards and what else writes have in common; [`path`]: places in a document.
//! - [`record`], [`failure`]: how a record and an error look in Lua.

mod batch_get;
mod delete;
pub(crate) mod failure;
mod get;
mod options;
mod patch;
mod path;
mod put;
pub(crate) mod reader;
mod record;
mod scan;
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
        b"get" => op::Kind::Get(get::read(reader, first)?),
        b"put" => op::Kind::Put(put::read(reader, first)?),
        b"delete" => op::Kind::Delete(delete::read(reader, first)?),
        b"patch" => op::Kind::Patch(patch::read(reader, first)?),
        b"batch_get" => op::Kind::BatchGet(batch_get::read(reader, first)?),
        b"txn" => op::Kind::Txn(txn::read(reader, first)?),
        b"scan" => op::Kind::Scan(scan::read(reader, first)?),
        _ => return Err(Fault::Misuse(format!("unknown operation {}", quoted(name))).into()),
    };
    Ok(v1::Op { kind: Some(kind) })
}

/// Pushes the results of an operation and returns how many. Raising.
pub(crate) unsafe fn push(lua: *mut lua_State, kind: &op_result::Kind) -> Result<c_int, Malformed> {
    match kind {
        op_result::Kind::Get(result) => get::push(lua, result),
        op_result::Kind::Put(result) => Ok(put::push(lua, result)),
        op_result::Kind::Delete(result) => Ok(delete::push(lua, result)),
        op_result::Kind::Patch(result) => patch::push(lua, result),
        op_result::Kind::BatchGet(result) => batch_get::push(lua, result),
        op_result::Kind::Txn(result) => txn::push(lua, result),
        op_result::Kind::Scan(result) => scan::push(lua, result),
        // No operation above asks for the collections, and the client gives errors as such.
        op_result::Kind::ListCollections(_) | op_result::Kind::Error(_) => Ok(0),
    }
}
