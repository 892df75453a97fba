//! `core.event(handle)` → the next thing that the store told unasked, each once, or nil. A table with its `type`:
//!
//! ```text
//! release_wanted   collection, key, wanted_by, within (seconds), steals
//! claim_lost       collection, key, taken_by
//! timer            service, name, due (seconds since 1970), due_ms, count, payload, owner = { collection, key }
//! fenced           message, fence, holder
//! shutting_down    message
//! command          id, name, args, within (seconds), actor      answered with `answer`, see `command`
//! notice           message, payload, actor
//! reconnected
//! restored         incarnation
//! watch            id: this watch has messages to take; told again only after they were taken
//! ```

use std::{ffi::CStr, os::raw::c_int};

use stillpoint_client::{
    Event,
    v1::{RecordKey, TimerFired},
};

use crate::{
    codec::{decode::decode, int64},
    connection::verbs::with_reader,
    entry::{Push, enter},
    lua::{self, lua_State},
};

/// `core.event(handle)`
pub(crate) unsafe extern "C-unwind" fn event(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, _| {
            Ok(handle.client.event().map(EventTable))
        })?)
    })
}

/// An event, pushed as a table.
struct EventTable(Event);

impl Push for EventTable {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::lua_createtable(lua, 0, 8);
        let kind = match &self.0 {
            Event::ReleaseWanted(notice) => {
                set_record(lua, notice.key.as_ref());
                lua::set_text(lua, c"wanted_by", notice.wanted_by.as_bytes());
                lua::push_seconds(lua, notice.within_ms);
                lua::lua_setfield(lua, -2, c"within".as_ptr());
                lua::lua_pushboolean(lua, notice.steals.into());
                lua::lua_setfield(lua, -2, c"steals".as_ptr());
                "release_wanted"
            }
            Event::ClaimLost(notice) => {
                set_record(lua, notice.key.as_ref());
                lua::set_text(lua, c"taken_by", notice.taken_by.as_bytes());
                "claim_lost"
            }
            Event::TimerFired(notice) => {
                set_timer(lua, notice);
                "timer"
            }
            Event::ShuttingDown(notice) => {
                lua::set_text(lua, c"message", notice.message.as_bytes());
                "shutting_down"
            }
            Event::Command(command) => {
                set_integer(lua, c"id", command.command_id);
                lua::set_text(lua, c"name", command.name.as_bytes());
                set_value(lua, c"args", &command.arguments);
                lua::push_seconds(lua, command.timeout_ms);
                lua::lua_setfield(lua, -2, c"within".as_ptr());
                lua::set_text(lua, c"actor", command.actor.as_bytes());
                "command"
            }
            Event::Notice(notice) => {
                lua::set_text(lua, c"message", notice.message.as_bytes());
                set_value(lua, c"payload", &notice.payload);
                lua::set_text(lua, c"actor", notice.actor.as_bytes());
                "notice"
            }
            Event::Fenced(notice) => {
                lua::set_text(lua, c"message", notice.message.as_bytes());
                lua::set_text(lua, c"holder", notice.holder.as_bytes());
                set_integer(lua, c"fence", notice.fence);
                "fenced"
            }
            Event::Reconnected => "reconnected",
            Event::Restored { incarnation } => {
                set_integer(lua, c"incarnation", *incarnation);
                "restored"
            }
            Event::Watch(id) => {
                set_integer(lua, c"id", *id);
                "watch"
            }
        };
        lua::set_text(lua, c"type", kind.as_bytes());
        1
    }
}

unsafe fn set_timer(lua: *mut lua_State, notice: &TimerFired) {
    lua::set_text(lua, c"service", notice.service.as_bytes());
    lua::set_text(lua, c"name", &notice.name);
    lua::push_seconds(lua, notice.due_ms);
    lua::lua_setfield(lua, -2, c"due".as_ptr());
    set_integer(lua, c"due_ms", notice.due_ms);
    set_integer(lua, c"count", notice.count);
    set_value(lua, c"payload", &notice.payload);
    if let Some(owner) = &notice.owner {
        lua::lua_createtable(lua, 2, 0);
        lua::push_bytes(lua, owner.collection.as_bytes());
        lua::raw_set_index(lua, -2, 1);
        lua::push_bytes(lua, &owner.key);
        lua::raw_set_index(lua, -2, 2);
        lua::lua_setfield(lua, -2, c"owner".as_ptr());
    }
}

/// Sets a field of the table on top to a MessagePack value, unless that is empty. Raising.
unsafe fn set_value(lua: *mut lua_State, name: &CStr, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    let top = lua::lua_gettop(lua);
    match decode(lua, value) {
        Ok(()) => lua::lua_setfield(lua, top, name.as_ptr()),
        // The store has checked it.
        Err(_) => lua::lua_settop(lua, top),
    }
}

/// Sets `collection` and `key` of the table on top. Raising.
pub(super) unsafe fn set_record(lua: *mut lua_State, key: Option<&RecordKey>) {
    if let Some(RecordKey { collection, key }) = key {
        lua::set_text(lua, c"collection", collection.as_bytes());
        lua::set_text(lua, c"key", key);
    }
}

/// Sets a field of the table on top. Raising.
pub(super) unsafe fn set_integer(lua: *mut lua_State, name: &CStr, integer: u64) {
    int64::push(lua, integer.into());
    lua::lua_setfield(lua, -2, name.as_ptr());
}
