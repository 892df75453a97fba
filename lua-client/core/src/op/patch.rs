//! `"patch", collection, key, steps, opts` → `rev, version, step_results, record`.

use std::os::raw::c_int;

use stillpoint_client::v1::{
    AddStep, AppendStep, PatchOp, PatchResult, PatchStep, RemoveAtStep, SetInsertStep,
    SetRemoveStep, SetStep, UnsetStep, patch_step::Kind,
};

use crate::{
    codec::{
        decode::{Malformed, decode},
        int64,
        refusal::quoted,
    },
    lua::{self, lua_State},
    op::{
        options, path,
        reader::{Reader, Reject, misuse},
        record,
    },
};

/// Lua counts from 1.
pub(super) const INDEX_BASE: u32 = 1;

pub(super) fn read(reader: &mut Reader<'_>, first: c_int) -> Result<PatchOp, Reject> {
    reader.reserve()?;
    let key = reader.record_key(first)?;
    let mut op = PatchOp {
        index_base: INDEX_BASE,
        ..Default::default()
    };
    reader
        .each_item(first + 2, "steps", |reader, position, at| {
            let kind = read_step(reader, at)
                .map_err(|reject| reject.within(&format!("step {position}")))?;
            op.steps.push(PatchStep { kind: Some(kind) });
            Ok(())
        })
        .map_err(|reject| reject.about(&key))?;
    options::read(reader, first + 3, &mut op.guards, |reader, name, at| {
        match name {
            b"ttl" => op.ttl_ms = Some(reader.lifetime_ms(at)?),
            b"schema" => op.schema = Some(reader.count32(at, "schema")?),
            b"create" => op.create = reader.flag(at, "create")?,
            b"return_record" => op.return_record = reader.flag(at, "return_record")?,
            // Bounds of an addition, which stand in its step.
            b"min" | b"max" => {}
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(|reject| reject.about(&key))?;
    op.key = Some(key);
    Ok(op)
}

/// `{ name, path, ... }`.
fn read_step(reader: &mut Reader<'_>, at: c_int) -> Result<Kind, Reject> {
    if reader.kind(at) != lua::LUA_TTABLE {
        return Err(Reject::invalid(
            "a step is a table, e.g. { \"set\", path, value }",
        ));
    }
    let first = reader.spread(at, 1, 4, "step")?;
    let (path_at, third, fourth) = (first + 1, first + 2, first + 3);
    if reader.kind(first) != lua::LUA_TSTRING {
        return Err(Reject::invalid(
            "a step begins with its name, e.g. { \"set\", path, value }",
        ));
    }
    let name = reader.bytes(first, "step")?;
    let path = |reader: &mut Reader<'_>| path::read(reader, path_at).map(Some);
    Ok(match name {
        b"set" => Kind::Set(SetStep {
            path: path(reader)?,
            value: reader.value(third)?,
        }),
        b"unset" => Kind::Unset(UnsetStep {
            path: path(reader)?,
        }),
        b"add" => {
            let mut step = AddStep {
                path: path(reader)?,
                delta: reader.value(third)?,
                ..Default::default()
            };
            if !reader.is_absent(fourth) {
                reader.each_field(fourth, "bounds", |reader, name, at| {
                    match name {
                        b"min" => step.min = reader.value(at)?,
                        b"max" => step.max = reader.value(at)?,
                        _ => return Err(misuse("bounds", "only min and max")),
                    }
                    Ok(())
                })?;
            }
            Kind::Add(step)
        }
        b"append" => Kind::Append(AppendStep {
            path: path(reader)?,
            values: read_values(reader, at)?,
        }),
        b"remove_at" => {
            let path = path(reader)?;
            let position = reader.integer(third, "position").map_err(|_| {
                Reject::invalid("the position is a whole number: 1 is the first, -1 the last")
            })?;
            Kind::RemoveAt(RemoveAtStep { path, position })
        }
        b"insert" => Kind::SetInsert(SetInsertStep {
            path: path(reader)?,
            value: reader.value(third)?,
        }),
        b"remove" => Kind::SetRemove(SetRemoveStep {
            path: path(reader)?,
            value: reader.value(third)?,
        }),
        _ => {
            return Err(Reject::invalid(format!(
                "unknown step {}: use set, unset, add, append, remove_at, insert, remove",
                quoted(name)
            )));
        }
    })
}

/// All elements of the step at `at` from the third on.
fn read_values(reader: &mut Reader<'_>, at: c_int) -> Result<Vec<bytes::Bytes>, Reject> {
    let lua = reader.call.lua;
    // SAFETY: `at` is the absolute index of a table; `reserve` saw to the slots.
    unsafe {
        let last = lua::raw_len(lua, at) as i64;
        let mut values = Vec::new();
        for position in 3..=last {
            lua::raw_get_index(lua, at, position);
            values.push(reader.value(lua::lua_gettop(lua))?);
            lua::pop(lua, 1);
        }
        Ok(values)
    }
}

pub(super) unsafe fn push(lua: *mut lua_State, result: &PatchResult) -> Result<c_int, Malformed> {
    int64::push(lua, result.mod_rev.into());
    int64::push(lua, result.version.into());
    push_step_results(lua, result)?;
    match &result.record {
        Some(record) => {
            record::push(lua, record)?;
            Ok(4)
        }
        None => Ok(3),
    }
}

/// The same as one table.
pub(super) unsafe fn push_as_table(
    lua: *mut lua_State,
    result: &PatchResult,
) -> Result<(), Malformed> {
    lua::lua_createtable(lua, 0, 4);
    int64::push(lua, result.mod_rev.into());
    lua::lua_setfield(lua, -2, c"rev".as_ptr());
    int64::push(lua, result.version.into());
    lua::lua_setfield(lua, -2, c"version".as_ptr());
    push_step_results(lua, result)?;
    lua::lua_setfield(lua, -2, c"results".as_ptr());
    if let Some(record) = &result.record {
        record::push(lua, record)?;
        lua::lua_setfield(lua, -2, c"record".as_ptr());
    }
    Ok(())
}

unsafe fn push_step_results(lua: *mut lua_State, result: &PatchResult) -> Result<(), Malformed> {
    lua::lua_createtable(lua, result.step_results.len() as c_int, 0);
    for (i, value) in result.step_results.iter().enumerate() {
        decode(lua, value)?;
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    Ok(())
}
