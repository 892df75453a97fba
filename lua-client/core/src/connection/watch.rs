//! The functions on watches:
//!
//! ```text
//! watch(handle, { collection=, key=, prefix=, after=, position=, cursor=, snapshot=, skip_own=, keys_only= }) → id | nil, err
//! watch_next(handle, id, seconds) → item | false (nothing within that time; 0 never drives) | nil, err (it is over)
//! unwatch(handle, id)
//! ```
//!
//! An item has a `type` and, but within a resync, a `position`:
//!
//! ```text
//! started | bookmark (rev) | resync_begin (reason) | resync_data (events) | resync_end (rev)
//! commits   commits = { { rev, time, session, events } }
//! ```
//!
//! An event is a record, as far as there is one, with `type` (put, delete, expire, migrate), `collection` and `key`.

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::{
    Heard,
    v1::{
        WatchCommit, WatchEvent, WatchEventType, WatchRequest, WatchResponse, watch_request::Start,
        watch_response::Kind,
    },
};

use crate::{
    codec::{decode::Malformed, int64::Integer},
    connection::{
        event::{set_integer, set_record},
        verbs::{refused, with_reader},
    },
    entry::{Push, enter},
    lua::{self, lua_State},
    op::{
        failure,
        reader::{Reader, Reject, misuse},
        record,
    },
};

/// `core.watch(handle, request)`
pub(crate) unsafe extern "C-unwind" fn watch(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, reader| {
            let request = read_request(reader, 2)?;
            match handle.client.watch(request) {
                Ok(id) => Ok(Integer(id.into())),
                Err(error) => Err(Reject::Refused(Box::new(error))),
            }
        }))
    })
}

fn read_request(reader: &mut Reader<'_>, at: c_int) -> Result<WatchRequest, Reject> {
    let mut request = WatchRequest::default();
    reader.each_field(at, "watch options", |reader, name, at| {
        let bytes = |reader: &Reader<'_>, what| reader.bytes(at, what).map(Bytes::copy_from_slice);
        match name {
            b"collection" => request.collection = reader.text(at, "collection")?,
            b"key" => request.key = bytes(reader, "key")?,
            b"prefix" => request.prefix = bytes(reader, "prefix")?,
            b"after" => request.start = Some(Start::AfterRevision(reader.count(at, "after")?)),
            b"position" => request.start = Some(Start::Position(bytes(reader, "position")?)),
            b"cursor" => request.start = Some(Start::Cursor(reader.text(at, "cursor")?)),
            b"snapshot" => request.snapshot = reader.flag(at, "snapshot")?,
            b"skip_own" => request.skip_own = reader.flag(at, "skip_own")?,
            b"keys_only" => request.keys_only = reader.flag(at, "keys_only")?,
            _ => return Err(misuse("watch options", "only known options")),
        }
        Ok(())
    })?;
    Ok(request)
}

/// `core.watch_next(handle, id, seconds)`
pub(crate) unsafe extern "C-unwind" fn watch_next(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let (id, timeout) = (reader.count(2, "id")?, reader.seconds(3, "seconds")?);
            Ok(Item(if timeout.is_zero() {
                handle.client.watch_take(id)
            } else {
                handle.client.watch_wait(id, timeout)
            }))
        })?)
    })
}

/// `core.unwatch(handle, id)`
pub(crate) unsafe extern "C-unwind" fn unwatch(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            handle.client.unwatch(reader.count(2, "id")?);
            Ok(())
        })?)
    })
}

/// What a watch heard, pushed as a table; false: nothing.
struct Item(Option<Heard>);

impl Push for Item {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        match &self.0 {
            None => {
                lua::lua_pushboolean(lua, 0);
                1
            }
            Some(Ok(response)) => match push_response(lua, response) {
                Ok(()) => 1,
                Err(malformed) => {
                    lua::lua_settop(lua, 0);
                    lua::lua_pushnil(lua);
                    failure::push_malformed(lua, malformed);
                    2
                }
            },
            Some(Err(error)) => {
                lua::lua_pushnil(lua);
                failure::push(lua, error);
                2
            }
        }
    }
}

unsafe fn push_response(lua: *mut lua_State, response: &WatchResponse) -> Result<(), Malformed> {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    lua::lua_createtable(lua, 0, 4);
    if !response.position.is_empty() {
        lua::set_text(lua, c"position", &response.position);
    }
    let kind = match &response.kind {
        Some(Kind::Commits(commits)) => {
            lua::lua_createtable(lua, commits.commits.len() as c_int, 0);
            for (i, commit) in commits.commits.iter().enumerate() {
                push_commit(lua, commit)?;
                lua::raw_set_index(lua, -2, i as i64 + 1);
            }
            lua::lua_setfield(lua, -2, c"commits".as_ptr());
            "commits"
        }
        Some(Kind::Bookmark(_)) => {
            set_integer(lua, c"rev", revision);
            "bookmark"
        }
        Some(Kind::ResyncBegin(begin)) => {
            lua::set_text(lua, c"reason", begin.reason.as_bytes());
            "resync_begin"
        }
        Some(Kind::ResyncData(data)) => {
            set_events(lua, &data.events)?;
            "resync_data"
        }
        Some(Kind::ResyncEnd(_)) => {
            set_integer(lua, c"rev", revision);
            "resync_end"
        }
        Some(Kind::Started(_)) => "started",
        // Of a newer store; what it means for the position holds all the same.
        None => "bookmark",
    };
    lua::set_text(lua, c"type", kind.as_bytes());
    Ok(())
}

unsafe fn push_commit(lua: *mut lua_State, commit: &WatchCommit) -> Result<(), Malformed> {
    lua::lua_createtable(lua, 0, 4);
    set_integer(lua, c"rev", commit.revision);
    lua::push_seconds(lua, commit.time_ms);
    lua::lua_setfield(lua, -2, c"time".as_ptr());
    if !commit.session_id.is_empty() {
        lua::set_text(lua, c"session", commit.session_id.as_bytes());
    }
    set_events(lua, &commit.events)
}

/// Sets `events` of the table on top. Raising.
unsafe fn set_events(lua: *mut lua_State, events: &[WatchEvent]) -> Result<(), Malformed> {
    lua::lua_createtable(lua, events.len() as c_int, 0);
    for (i, event) in events.iter().enumerate() {
        lua::lua_createtable(lua, 0, 8);
        let kind = match event.r#type() {
            WatchEventType::Delete => "delete",
            WatchEventType::Expire => "expire",
            WatchEventType::Migrate => "migrate",
            WatchEventType::Put | WatchEventType::Unspecified => "put",
        };
        lua::set_text(lua, c"type", kind.as_bytes());
        set_record(lua, event.key.as_ref());
        if let Some(record) = &event.record {
            record::set_fields(lua, record)?;
        }
        lua::raw_set_index(lua, -2, i as i64 + 1);
    }
    lua::lua_setfield(lua, -2, c"events".as_ptr());
    Ok(())
}
