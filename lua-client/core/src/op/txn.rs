//! `"txn", guards, then_ops, else_ops, { once=, durability= }` → `succeeded, revision, results`.
//!
//! Guards: `{ collection, key, "rev" | "version" | "exists", x }` or `{ collection, key, "field", path, op, value }`.
//! Operations: `{ "get" | "put" | "patch" | "delete" | "set_timer" | "cancel_timer" | "finish_timer", arguments... }`. A
//! result is a table with the names of that operation's results; of a get the record, or false.

use std::os::raw::c_int;

use stillpoint_client::v1::{
    self, Guard, OpResult, Predicate, TxnOp, TxnResult, op_result, predicate::Test,
};

use crate::{
    codec::{decode::Malformed, int64, refusal::quoted},
    entry::Fault,
    lua::{self, lua_State},
    op::{
        options, patch,
        reader::{Reader, Reject, misuse},
        record,
    },
};

/// Elements of an operation's table: the name and as many arguments as a put or patch has.
const OP_ELEMENTS: i64 = 5;

/// Elements of a guard's table at most.
const GUARD_ELEMENTS: i64 = 6;

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<TxnOp, Reject> {
    reader.reserve()?;
    let mut op = TxnOp::default();
    reader.each_item(first, "guards", |reader, _, at| {
        op.guards.push(read_guard(reader, at)?);
        Ok(())
    })?;
    op.then = read_ops(reader, first + 1)?;
    if !reader.is_absent(first + 2) {
        op.otherwise = read_ops(reader, first + 2)?;
    }
    if !reader.is_absent(first + 3) {
        reader.each_field(
            first + 3,
            "transaction options",
            |reader, name, at| match name {
                b"once" => options::read_once(reader, at),
                b"durability" => options::read_durability(reader, at),
                _ => Err(misuse("transaction options", "only once and durability")),
            },
        )?;
    }
    Ok(op)
}

fn read_guard(reader: &mut Reader<'_>, at: c_int) -> Result<Guard, Reject> {
    let first = reader.spread(at, 1, GUARD_ELEMENTS, "guard")?;
    let key = reader.record_key(first)?;
    let (name, expected) = (reader.bytes(first + 2, "guard")?, first + 3);
    let test = match name {
        b"rev" => Test::ModRev(reader.count(expected, "rev")?),
        b"version" => Test::Version(reader.count(expected, "version")?),
        b"exists" => Test::Exists(reader.flag(expected, "exists")?),
        b"field" => {
            let field =
                options::read_field(reader, expected).map_err(|reject| reject.about(&key))?;
            Test::Field(field)
        }
        _ => {
            return Err(
                Fault::Misuse(format!("stillpoint_core: unknown guard {}", quoted(name))).into(),
            );
        }
    };
    Ok(Guard {
        key: Some(key),
        predicate: Some(Predicate { test: Some(test) }),
    })
}

fn read_ops(reader: &mut Reader<'_>, table: c_int) -> Result<Vec<v1::Op>, Reject> {
    let mut ops = Vec::new();
    reader.each_item(table, "operations", |reader, _, at| {
        let first = reader.spread(at, 1, OP_ELEMENTS, "operation")?;
        let name = reader.bytes(first, "operation")?;
        if !matches!(
            name,
            b"get"
                | b"put"
                | b"patch"
                | b"delete"
                | b"set_timer"
                | b"cancel_timer"
                | b"finish_timer"
        ) {
            let message = format!(
                "stillpoint_core: {} is no operation of a transaction",
                quoted(name)
            );
            return Err(Fault::Misuse(message).into());
        }
        ops.push(super::read(reader, name, first + 1)?);
        Ok(())
    })?;
    Ok(ops)
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &TxnResult) -> Result<c_int, Malformed> {
    lua::lua_pushboolean(lua, result.succeeded.into());
    int64::push(lua, result.revision.into());
    lua::lua_createtable(lua, result.results.len() as c_int, 0);
    for (i, result) in result.results.iter().enumerate() {
        push_result(lua, result)?;
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    Ok(3)
}

unsafe fn push_result(lua: *mut lua_State, result: &OpResult) -> Result<(), Malformed> {
    match &result.kind {
        Some(op_result::Kind::Get(result)) => record::push_or_false(lua, result.record.as_ref())?,
        Some(op_result::Kind::Put(result)) => {
            lua::lua_createtable(lua, 0, 2);
            int64::push(lua, result.mod_rev.into());
            lua::lua_setfield(lua, -2, c"rev".as_ptr());
            int64::push(lua, result.version.into());
            lua::lua_setfield(lua, -2, c"version".as_ptr());
        }
        Some(op_result::Kind::Patch(result)) => patch::push_as_table(lua, result)?,
        Some(op_result::Kind::Delete(result)) => {
            lua::lua_createtable(lua, 0, 2);
            lua::lua_pushboolean(lua, result.existed.into());
            lua::lua_setfield(lua, -2, c"existed".as_ptr());
            if result.existed {
                int64::push(lua, result.revision.into());
                lua::lua_setfield(lua, -2, c"rev".as_ptr());
            }
        }
        Some(op_result::Kind::SetTimer(result)) => {
            lua::lua_createtable(lua, 0, 1);
            lua::push_seconds(lua, result.due_ms);
            lua::lua_setfield(lua, -2, c"due".as_ptr());
        }
        Some(op_result::Kind::CancelTimer(result)) => {
            lua::lua_createtable(lua, 0, 1);
            lua::lua_pushboolean(lua, result.existed.into());
            lua::lua_setfield(lua, -2, c"existed".as_ptr());
        }
        Some(op_result::Kind::FinishTimer(result)) => {
            lua::lua_createtable(lua, 0, 1);
            if result.next_due_ms > 0 {
                lua::push_seconds(lua, result.next_due_ms);
                lua::lua_setfield(lua, -2, c"next_due".as_ptr());
            }
        }
        _ => lua::lua_pushboolean(lua, 0),
    }
    Ok(())
}
