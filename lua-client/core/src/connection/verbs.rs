//! The functions on connections. The interface:
//!
//! ```text
//! connect { endpoints=, namespace=, client_name=, deadline=, patience=, service=, instance=, takeover=, resume_token=,
//!           ttl=, session_wait=, labels=, code_version=, schemas= } → handle | nil, err
//! close(handle, seconds) → true | nil, err          waits for what is in flight
//! info(handle) → table                              limits, server_version, revision, incarnation, store_id, connected
//! fd(handle) → integer | nil, err                   readable while `next` has something
//! call(handle, deadline, op, ...) → true, results... | false, err
//! submit(handle, deadline, lane, op, ...) → id | nil, err
//! wait(handle, id, seconds) → true, results... | false, err | nil (not yet)       drives the connection
//! take(handle, id) → the same, without driving
//! next(handle) → id | nil                           a submitted operation that is done, each once
//! poll(handle, seconds) → integer                   drives; how many `next` and `event` would tell
//! forget(handle, id)                                its outcome will not be taken
//! ```
//!
//! Those of sessions, commands and watches stand in `session`, `event`, `command` and `watch`.

// The client's outcomes carry a large error; they are handed on, not kept.
#![allow(clippy::result_large_err)]

use std::{cell::Cell, os::raw::c_int};

use stillpoint_client::{CallOptions, Client, Info, Outcome, v1};

use crate::{
    codec::int64::Integer,
    connection::{
        config,
        handle::{self, Handle, NewHandle},
    },
    entry::{Call, Fault, Push, enter},
    lua::{self, lua_State},
    op::{
        self, failure,
        reader::{Reader, Reject},
    },
};

/// `core.connect(options)`
pub(crate) unsafe extern "C-unwind" fn connect(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(config::read(call).and_then(|config| {
            let client =
                Client::connect(config).map_err(|error| Reject::Refused(Box::new(error)))?;
            Ok(NewHandle(Cell::new(Some(Handle::new(client)))))
        }))
    })
}

/// `core.close(handle, seconds)`
pub(crate) unsafe extern "C-unwind" fn close(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, reader| {
            let timeout = reader.seconds(2, "seconds")?;
            handle
                .client
                .close(timeout)
                .map_err(|error| Reject::Refused(Box::new(error)))?;
            Ok(true)
        }))
    })
}

/// `core.info(handle)`
pub(crate) unsafe extern "C-unwind" fn info(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, _| {
            handle.refresh_limits();
            Ok(InfoTable(handle.client.info()))
        }))
    })
}

/// `core.fd(handle)`
pub(crate) unsafe extern "C-unwind" fn fd(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        refused(with_reader(call, |handle, _| {
            match handle.client.wake_fd() {
                Ok(fd) => Ok(Integer(fd.into())),
                Err(error) => Err(Reject::refused(
                    v1::Reason::Internal,
                    format!("no descriptor for completions: {error}"),
                )),
            }
        }))
    })
}

/// `core.call(handle, deadline, op, ...)`
pub(crate) unsafe extern "C-unwind" fn call(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        let finished = with_op(call, 3, |handle, op, options| Finished {
            is_owner: op::is_owner(&op),
            outcome: handle.client.call(op, options),
        });
        match finished {
            Ok(finished) => Ok(finished),
            Err(Reject::Refused(error)) => Ok(Finished {
                is_owner: false,
                outcome: Err(*error),
            }),
            Err(Reject::Fault(fault)) => Err(fault),
        }
    })
}

/// `core.submit(handle, deadline, lane, op, ...)`
pub(crate) unsafe extern "C-unwind" fn submit(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        let submitted = Reader::new(call, Default::default())
            .count(3, "lane")
            .and_then(|lane| {
                with_op(call, 4, |handle, op, options| {
                    let is_owner = op::is_owner(&op);
                    let id = handle.client.submit(op, CallOptions { lane, ..options })?;
                    if is_owner {
                        handle.note_owner(id);
                    }
                    Ok(id)
                })
            });
        refused(submitted.and_then(|submitted| match submitted {
            Ok(id) => Ok(Integer(id.into())),
            Err(error) => Err(Reject::Refused(Box::new(error))),
        }))
    })
}

/// `core.wait(handle, id, seconds)`
pub(crate) unsafe extern "C-unwind" fn wait(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let (id, timeout) = (reader.count(2, "id")?, reader.seconds(3, "seconds")?);
            let outcome = match handle.client.knows(id) {
                true => handle.client.wait(id, timeout),
                false => Some(Err(unknown(id))),
            };
            Ok(outcome.map(|outcome| Finished::of(handle, id, outcome)))
        })?)
    })
}

/// `core.take(handle, id)`
pub(crate) unsafe extern "C-unwind" fn take(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let id = reader.count(2, "id")?;
            let outcome = match handle.client.knows(id) {
                true => handle.client.take(id),
                false => Some(Err(unknown(id))),
            };
            Ok(outcome.map(|outcome| Finished::of(handle, id, outcome)))
        })?)
    })
}

/// `core.next(handle)`
pub(crate) unsafe extern "C-unwind" fn next(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, _| {
            Ok(handle.client.next().map(|id| Integer(id.into())))
        })?)
    })
}

/// `core.poll(handle, seconds)`
pub(crate) unsafe extern "C-unwind" fn poll(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let count = handle.client.poll(reader.seconds(2, "seconds")?);
            Ok(Integer(count as i128))
        })?)
    })
}

/// `core.forget(handle, id)`
pub(crate) unsafe extern "C-unwind" fn forget(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        Ok(with_reader(call, |handle, reader| {
            let id = reader.count(2, "id")?;
            handle.client.forget(id);
            handle.was_owner(id);
            Ok(())
        })?)
    })
}

/// The outcome of an operation that this process does not know; waiting for it would never end.
fn unknown(id: u64) -> v1::StoreError {
    v1::StoreError {
        maybe_applied: true,
        retryable: false,
        ..v1::StoreError::new(
            v1::Reason::Unavailable,
            format!(
                "operation {id} is not one of this process: its outcome was taken, or it was submitted before a fork"
            ),
        )
    }
}

/// Runs a verb on the handle that is the first argument.
pub(super) fn with_reader<T>(
    call: &Call,
    verb: impl FnOnce(&Handle, &mut Reader<'_>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    let handle = handle::argument(call, 1)?;
    verb(handle, &mut Reader::new(call, handle.limits()))
}

/// Reads deadline and operation, whose name is the argument `at`, and hands them over.
fn with_op<T>(
    call: &Call,
    at: c_int,
    run: impl FnOnce(&Handle, v1::Op, CallOptions) -> T,
) -> Result<T, Reject> {
    let handle = handle::argument(call, 1)?;
    let mut reader = Reader::new(call, handle.limits());
    let deadline = if reader.is_absent(2) {
        None
    } else {
        Some(reader.seconds(2, "deadline")?)
    };
    let name = reader.bytes(at, "operation")?;
    let mut op = op::read(&mut reader, name, at + 1);
    if op.as_ref().is_err_and(is_over_limit) && handle.refresh_limits() {
        // SAFETY: what was read so far is dropped from the stack.
        unsafe { lua::lua_settop(call.lua, call.args) };
        reader = Reader::new(call, handle.limits());
        op = op::read(&mut reader, name, at + 1);
    }
    let options = CallOptions {
        deadline,
        durability: reader.durability,
        once: reader.once,
        ..Default::default()
    };
    Ok(run(handle, op?, options))
}

fn is_over_limit(reject: &Reject) -> bool {
    matches!(reject, Reject::Refused(error) if error.reason() == v1::Reason::TooLarge)
}

/// For verbs that answer `nil, err`.
pub(super) fn refused<T>(
    outcome: Result<T, Reject>,
) -> Result<Result<T, Box<v1::StoreError>>, Fault> {
    match outcome {
        Ok(results) => Ok(Ok(results)),
        Err(Reject::Refused(error)) => Ok(Err(error)),
        Err(Reject::Fault(fault)) => Err(fault),
    }
}

/// Pushed as `true, results...` or `false, err`.
struct Finished {
    outcome: Outcome,
    /// It asked for the owner of a record, see [`op::is_owner`].
    is_owner: bool,
}

impl Finished {
    fn of(handle: &Handle, id: u64, outcome: Outcome) -> Self {
        let is_owner = handle.was_owner(id);
        Finished { outcome, is_owner }
    }
}

impl Push for Finished {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        match &self.outcome {
            Ok(reply) => {
                lua::lua_pushboolean(lua, 1);
                match op::push(lua, &reply.kind, self.is_owner) {
                    Ok(count) => return 1 + count,
                    Err(malformed) => {
                        lua::lua_settop(lua, 0);
                        lua::lua_pushboolean(lua, 0);
                        failure::push_malformed(lua, malformed);
                    }
                }
            }
            Err(error) => {
                lua::lua_pushboolean(lua, 0);
                failure::push(lua, error);
            }
        }
        2
    }
}

/// What is known of a connection, pushed as a table.
struct InfoTable(Info);

impl Push for InfoTable {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        let Info {
            limits,
            header,
            connected,
            endpoint,
        } = &self.0;
        lua::lua_createtable(lua, 0, 14);
        let numbers = [
            (c"max_in_flight", limits.max_in_flight.into()),
            (c"max_message_bytes", limits.max_message_bytes),
            (c"max_value_bytes", limits.max_value_bytes),
            (c"max_nesting", limits.max_nesting.into()),
            (c"max_batch_ops", limits.max_batch_ops.into()),
            (c"max_scan_page", limits.max_scan_page.into()),
            (c"revision", header.revision),
            (c"incarnation", header.incarnation),
        ];
        for (name, number) in numbers {
            crate::codec::int64::push(lua, number.into());
            lua::lua_setfield(lua, -2, name.as_ptr());
        }
        lua::lua_pushnumber(lua, limits.dedup_window_ms as f64 / 1000.0);
        lua::lua_setfield(lua, -2, c"dedup_window".as_ptr());
        for (name, text) in [
            (c"server_version", &limits.server_version),
            (c"endpoint", endpoint),
        ] {
            lua::push_bytes(lua, text.as_bytes());
            lua::lua_setfield(lua, -2, name.as_ptr());
        }
        push_hex(lua, &header.store_id);
        lua::lua_setfield(lua, -2, c"store_id".as_ptr());
        lua::lua_pushboolean(lua, (*connected).into());
        lua::lua_setfield(lua, -2, c"connected".as_ptr());
        1
    }
}

/// Pushes a store's identity of 16 bytes, or nothing yet, in hexadecimal.
unsafe fn push_hex(lua: *mut lua_State, bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut hex = [0; 32];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            (*high, *low) = (
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            );
        }
    }
    lua::push_bytes(lua, hex.get(..bytes.len() * 2).unwrap_or(&hex));
}
