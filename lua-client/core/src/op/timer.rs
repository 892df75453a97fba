//! Timers. Times are in seconds, due times since 1970; a firing is named by its `due_ms`.
//!
//! - `"set_timer", name, { service=, due= | delay=, period=, payload=, owner = { collection, key }, missed=, once= }` → `due`
//! - `"cancel_timer", name, { service=, once= }` → `existed`
//! - `"finish_timer", name, { service=, due_ms=, once= }` → `next_due`, nil if the timer is gone

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::v1::{
    CancelTimerOp, CancelTimerResult, FinishTimerOp, FinishTimerResult, MissedFirings, SetTimerOp,
    SetTimerResult,
};

use crate::{
    lua::{self, lua_State},
    op::{
        options,
        reader::{Reader, Reject, misuse},
    },
};

pub(super) fn read_set(reader: &mut Reader<'_>, first: c_int) -> Result<SetTimerOp, Reject> {
    reader.reserve()?;
    let mut op = SetTimerOp {
        name: name(reader, first)?,
        ..Default::default()
    };
    reader.each_field(first + 1, "timer options", |reader, field, at| {
        match field {
            b"service" => op.service = reader.text(at, "service")?,
            // 0 would mean that it is not given.
            b"due" => op.due_ms = reader.milliseconds(at, "due")?.max(1),
            b"delay" => op.delay_ms = reader.milliseconds(at, "delay")?,
            b"period" => op.period_ms = reader.milliseconds(at, "period")?.max(1),
            b"payload" => {
                op.payload = reader
                    .value(at)
                    .map_err(|reject| reject.within("payload"))?
            }
            b"owner" => {
                let owner = reader.spread(at, 1, 2, "owner")?;
                op.owner = Some(reader.record_key(owner)?);
            }
            b"missed" => op.set_missed(read_missed(reader, at)?),
            b"once" => options::read_once(reader, at)?,
            _ => return Err(misuse("timer options", "only known options")),
        }
        Ok(())
    })?;
    Ok(op)
}

fn read_missed(reader: &Reader<'_>, at: c_int) -> Result<MissedFirings, Reject> {
    match reader.bytes(at, "missed")? {
        b"once" => Ok(MissedFirings::Once),
        b"all" => Ok(MissedFirings::All),
        b"skip" => Ok(MissedFirings::Skip),
        _ => Err(misuse("missed", "\"once\", \"all\" or \"skip\"")),
    }
}

pub(super) fn read_cancel(reader: &mut Reader<'_>, first: c_int) -> Result<CancelTimerOp, Reject> {
    let mut op = CancelTimerOp {
        name: name(reader, first)?,
        ..Default::default()
    };
    if reader.is_absent(first + 1) {
        return Ok(op);
    }
    reader.each_field(first + 1, "timer options", |reader, field, at| {
        match field {
            b"service" => op.service = reader.text(at, "service")?,
            b"once" => options::read_once(reader, at)?,
            _ => return Err(misuse("timer options", "only service and once")),
        }
        Ok(())
    })?;
    Ok(op)
}

pub(super) fn read_finish(reader: &mut Reader<'_>, first: c_int) -> Result<FinishTimerOp, Reject> {
    let mut op = FinishTimerOp {
        name: name(reader, first)?,
        ..Default::default()
    };
    reader.each_field(first + 1, "timer options", |reader, field, at| {
        match field {
            b"service" => op.service = reader.text(at, "service")?,
            b"due_ms" => op.due_ms = reader.count(at, "due_ms")?,
            b"once" => options::read_once(reader, at)?,
            _ => return Err(misuse("timer options", "only service, due_ms and once")),
        }
        Ok(())
    })?;
    Ok(op)
}

fn name(reader: &Reader<'_>, at: c_int) -> Result<Bytes, Reject> {
    reader.bytes(at, "name").map(Bytes::copy_from_slice)
}

pub(super) unsafe fn push_set(lua: *mut lua_State, result: &SetTimerResult) -> c_int {
    lua::push_seconds(lua, result.due_ms);
    1
}

pub(super) unsafe fn push_cancel(lua: *mut lua_State, result: &CancelTimerResult) -> c_int {
    lua::lua_pushboolean(lua, result.existed.into());
    1
}

pub(super) unsafe fn push_finish(lua: *mut lua_State, result: &FinishTimerResult) -> c_int {
    match result.next_due_ms {
        0 => lua::lua_pushnil(lua),
        due_ms => lua::push_seconds(lua, due_ms),
    }
    1
}
