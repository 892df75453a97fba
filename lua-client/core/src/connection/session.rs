//! The functions on the session:
//!
//! ```text
//! session(handle) → nil | { id, service, instance, code_version, fence, resume_token (hexadecimal), ttl, succeeded, claims,
//!     gap, state }
//! end_session(handle, keep_claims, linger_seconds, timeout_seconds) → true | nil, err
//! unsaved(handle, documents, oldest_age_seconds)    for the operator: changes that the store has not acknowledged
//! ```

use std::{fmt::Write, os::raw::c_int, time::Instant};

use stillpoint_client::{SessionInfo, SessionState};

use crate::{
    codec::int64,
    connection::verbs::{refused, with_reader},
    entry::{Push, enter},
    lua::{self, lua_State},
    op::reader::Reject,
};

/// `core.session(handle)`
pub(crate) unsafe extern "C-unwind" fn session(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, _| {
            Ok(handle.client.session().map(SessionTable::new))
        })?)
    })
}

/// `core.end_session(handle, keep_claims, linger_seconds, timeout_seconds)`
pub(crate) unsafe extern "C-unwind" fn end_session(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, reader| {
            let keep_claims = reader.flag(2, "keep_claims")?;
            let linger = reader.seconds(3, "linger")?;
            let timeout = reader.seconds(4, "timeout")?;
            handle
                .client
                .close_session(keep_claims, linger, timeout)
                .map_err(|error| Reject::Refused(Box::new(error)))?;
            Ok(true)
        }))
    })
}

/// `core.unsaved(handle, documents, oldest_age_seconds)`
pub(crate) unsafe extern "C-unwind" fn unsaved(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let documents = reader.count(2, "documents")?;
            let oldest = if documents == 0 || reader.is_absent(3) {
                None
            } else {
                Instant::now().checked_sub(reader.seconds(3, "oldest_age")?)
            };
            handle.client.set_unsaved(documents, oldest);
            Ok(())
        })?)
    })
}

/// What is known of a session, pushed as a table.
struct SessionTable {
    info: SessionInfo,
    resume_token: String,
}

impl SessionTable {
    fn new(info: SessionInfo) -> Self {
        let mut resume_token = String::with_capacity(info.resume_token.len() * 2);
        for byte in &info.resume_token {
            _ = write!(resume_token, "{byte:02x}");
        }
        SessionTable { info, resume_token }
    }
}

impl Push for SessionTable {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        let info = &self.info;
        let state = match info.state {
            SessionState::Attached => "attached",
            SessionState::Detached => "detached",
            SessionState::Fenced => "fenced",
            SessionState::Closed => "closed",
        };
        lua::lua_createtable(lua, 0, 11);
        for (name, text) in [
            (c"id", info.id.as_str()),
            (c"service", info.service.as_str()),
            (c"instance", info.instance.as_str()),
            (c"code_version", info.code_version.as_str()),
            (c"resume_token", self.resume_token.as_str()),
            (c"state", state),
        ] {
            lua::set_text(lua, name, text.as_bytes());
        }
        for (name, number) in [(c"fence", info.fence), (c"claims", info.claims)] {
            int64::push(lua, number.into());
            lua::lua_setfield(lua, -2, name.as_ptr());
        }
        for (name, time) in [(c"ttl", info.ttl), (c"gap", info.gap)] {
            lua::lua_pushnumber(lua, time.as_secs_f64());
            lua::lua_setfield(lua, -2, name.as_ptr());
        }
        lua::lua_pushboolean(lua, info.succeeded.into());
        lua::lua_setfield(lua, -2, c"succeeded".as_ptr());
        1
    }
}
