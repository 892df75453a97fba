//! `core.encode` and `core.decode`.

use std::os::raw::c_int;

use super::{
    BYTES_DEFAULT, Limits, NESTING_DEFAULT, NESTING_MAX, decode,
    encode::{Encoder, slots_needed},
    refusal::Kind,
};
use crate::{
    context::Context,
    entry::{Call, Fault, Push, enter},
    lua::{self, Number, lua_State},
};

/// `core.encode(value [, max_bytes [, max_nesting]])` → string, or nil and why not.
pub(crate) unsafe extern "C-unwind" fn encode(lua: *mut lua_State) -> c_int {
    enter(lua, |call| {
        let limits = Limits {
            bytes: count_argument(call, 2, "max_bytes")?.unwrap_or(BYTES_DEFAULT),
            nesting: count_argument(call, 3, "max_nesting")?
                .unwrap_or(NESTING_DEFAULT)
                .min(NESTING_MAX),
        };
        let mut buffer = call.context().take_buffer();
        match encode_at(call, 1, limits, &mut buffer) {
            Ok(()) => Ok(Ok(Encoded(buffer))),
            Err(EncodeFault::Refused(message) | EncodeFault::OverLimit(message)) => {
                Ok(Err(message))
            }
            Err(EncodeFault::Stack(slots)) => Err(Fault::Stack(slots)),
        }
    })
}

/// `core.decode(string)` → value, or nil and why not.
pub(crate) unsafe extern "C-unwind" fn decode(lua: *mut lua_State) -> c_int {
    enter(lua, |call| match lua::lua_type(call.lua, 1) {
        lua::LUA_TSTRING => Ok(Decoded(lua::string_at(call.lua, 1))),
        _ => Err(Fault::Misuse(
            "bad argument #1 to 'decode' (string expected)".into(),
        )),
    })
}

/// Why a value was not encoded.
pub(crate) enum EncodeFault {
    /// It is too large or nested too deep; says so.
    OverLimit(String),
    /// It cannot be stored; says why and where.
    Refused(String),
    /// More stack slots are needed.
    Stack(c_int),
}

/// Appends the value at `index`.
pub(crate) fn encode_at(
    call: &Call,
    index: c_int,
    limits: Limits,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeFault> {
    let marks = call.context().marks;
    let stack_last = call.args + call.slots;
    // SAFETY: a verb runs with at least the slots that it was told.
    let used = unsafe { lua::lua_gettop(call.lua) } - call.args;
    Encoder {
        lua: call.lua,
        marks,
        buffer,
        limits,
        stack_last,
        canonical: None,
    }
    .encode(index)
    .map_err(|refusal| match refusal.kind {
        Kind::Stack => EncodeFault::Stack(slots_needed(used, limits)),
        Kind::OverLimit => EncodeFault::OverLimit(refusal.to_string()),
        Kind::Unfit => EncodeFault::Refused(refusal.to_string()),
    })
}

/// An optional whole number from 0 on.
unsafe fn count_argument(call: &Call, at: c_int, name: &str) -> Result<Option<usize>, Fault> {
    match lua::lua_type(call.lua, at) {
        lua::LUA_TNONE | lua::LUA_TNIL => Ok(None),
        lua::LUA_TNUMBER => match lua::number_at(call.lua, at) {
            Number::Integer(n) if n >= 0 => Ok(Some(n as usize)),
            _ => Err(Fault::Misuse(format!(
                "bad argument #{at} to 'encode' ({name} is a whole number)"
            ))),
        },
        _ => Err(Fault::Misuse(format!(
            "bad argument #{at} to 'encode' ({name} is a whole number)"
        ))),
    }
}

/// An encoded value; its memory is used again.
struct Encoded(Vec<u8>);

impl Push for Encoded {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::push_bytes(lua, &self.0);
        1
    }

    fn recycle(self, context: &mut Context) {
        context.return_buffer(self.0);
    }
}

/// The value that these bytes are. They belong to a string among the verb's arguments, which stay where they are until
/// the results are pushed.
struct Decoded(&'static [u8]);

impl Push for Decoded {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        match decode::decode(lua, self.0) {
            Ok(()) => 1,
            Err(malformed) => {
                lua::lua_settop(lua, 0);
                lua::lua_pushnil(lua);
                malformed.push(lua);
                2
            }
        }
    }
}
