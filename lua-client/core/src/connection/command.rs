//! The answers to the operator's commands, which come as events:
//!
//! ```text
//! answer(handle, id, "progress", text) → true | false (nobody waits for it any more) | nil, err
//! answer(handle, id, "ok", value)      the same; the last answer
//! answer(handle, id, "error", message, traceback | nil, unknown | nil)      the same; the last answer
//! awaited(handle, id) → boolean        whether anybody waits for an answer
//! ```

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::v1::{CommandError, command_answer::Kind};

use crate::{
    connection::verbs::{refused, with_reader},
    entry::enter,
    lua::lua_State,
    op::reader::{Reader, Reject, misuse},
};

/// `core.answer(handle, id, kind, ...)`
pub(crate) unsafe extern "C-unwind" fn answer(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, reader| {
            let id = reader.count(2, "id")?;
            let kind = read_kind(reader)?;
            handle
                .client
                .answer(id, kind)
                .map_err(|error| Reject::Refused(Box::new(error)))
        }))
    })
}

/// `core.awaited(handle, id)`
pub(crate) unsafe extern "C-unwind" fn awaited(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            Ok(handle.client.awaits_answer(reader.count(2, "id")?))
        })?)
    })
}

fn read_kind(reader: &Reader<'_>) -> Result<Kind, Reject> {
    match reader.bytes(3, "kind")? {
        b"progress" => Ok(Kind::Progress(lossy(reader, 4, "text")?)),
        b"ok" if reader.is_absent(4) => Ok(Kind::Value(Bytes::new())),
        b"ok" => Ok(Kind::Value(reader.value(4)?)),
        b"error" => Ok(Kind::Error(CommandError {
            message: lossy(reader, 4, "message")?,
            traceback: match reader.is_absent(5) {
                true => String::new(),
                false => lossy(reader, 5, "traceback")?,
            },
            unknown: !reader.is_absent(6) && reader.flag(6, "unknown")?,
        })),
        _ => Err(misuse("kind", "progress, ok or error")),
    }
}

/// Text for people: what is not UTF-8 in it is no reason not to say it.
fn lossy(reader: &Reader<'_>, at: c_int, what: &str) -> Result<String, Reject> {
    Ok(String::from_utf8_lossy(reader.bytes(at, what)?).into_owned())
}
