//! Reads arguments from the Lua stack. All of it is quiet (see [`lua`](crate::lua)).
//!
//! What the Lua layer checks is misuse here, and raised: types of keys and options. What only the user's data decides
//! is an error with the reason `invalid` or `too_large`: values, paths.

use std::{os::raw::c_int, time::Duration};

use bytes::Bytes;
use stillpoint_client::v1::{Durability, OnceKey, Reason, RecordKey, StoreError};

use crate::{
    codec::{
        Limits,
        refusal::quoted,
        verbs::{EncodeFault, encode_at},
    },
    entry::{Call, Fault},
    lua::{self, Number},
    op::SLOTS,
};

/// Why arguments are not an operation.
pub(crate) enum Reject {
    /// Not the user's doing.
    Fault(Fault),
    /// The error the user gets.
    Refused(Box<StoreError>),
}

impl From<Fault> for Reject {
    fn from(fault: Fault) -> Self {
        Reject::Fault(fault)
    }
}

/// For verbs that have no errors: all is misuse.
impl From<Reject> for Fault {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::Fault(fault) => fault,
            Reject::Refused(error) => Fault::Misuse(error.message),
        }
    }
}

impl Reject {
    /// An error with the reason `invalid`.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Reject::refused(Reason::Invalid, message)
    }

    /// An error with this reason.
    pub(crate) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Reject::Refused(Box::new(StoreError::new(reason, message)))
    }

    /// Names the record that it is about.
    pub(crate) fn about(mut self, key: &RecordKey) -> Self {
        if let Reject::Refused(error) = &mut self {
            error.key = Some(key.clone());
        }
        self
    }

    /// Puts before the message which of several things it is about.
    pub(crate) fn within(mut self, what: &str) -> Self {
        if let Reject::Refused(error) = &mut self {
            error.message = format!("{what}: {}", error.message);
        }
        self
    }
}

/// Reads arguments.
pub(crate) struct Reader<'a> {
    pub(crate) call: &'a Call,
    /// How large and deep values may be.
    pub(crate) limits: Limits,
    /// What the options said of durability.
    pub(crate) durability: Durability,
    /// What the options said the write is named.
    pub(crate) once: Option<OnceKey>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(call: &'a Call, limits: Limits) -> Self {
        Reader {
            call,
            limits,
            durability: Durability::Unspecified,
            once: None,
        }
    }

    /// Makes sure of the stack slots that arguments with tables in tables take.
    pub(crate) fn reserve(&self) -> Result<(), Reject> {
        if self.call.slots < SLOTS {
            Err(Fault::Stack(SLOTS).into())
        } else {
            Ok(())
        }
    }

    /// Lua type of the argument.
    pub(crate) fn kind(&self, at: c_int) -> c_int {
        // SAFETY: any index may be asked for.
        unsafe { lua::lua_type(self.call.lua, at) }
    }

    /// The argument is nil or was not given.
    pub(crate) fn is_absent(&self, at: c_int) -> bool {
        self.kind(at) <= lua::LUA_TNIL
    }

    /// A string. It lives as long as its argument stays where it is: until the verb ends.
    pub(crate) fn bytes(&self, at: c_int, what: &str) -> Result<&'a [u8], Reject> {
        match self.kind(at) {
            // SAFETY: it is a string.
            lua::LUA_TSTRING => Ok(unsafe { lua::string_at(self.call.lua, at) }),
            _ => Err(misuse(what, "a string")),
        }
    }

    /// A string that is UTF-8.
    pub(crate) fn text(&self, at: c_int, what: &str) -> Result<String, Reject> {
        let bytes = self.bytes(at, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Reject::invalid(format!(
                "{what} {} is not UTF-8",
                quoted(bytes)
            ))),
        }
    }

    /// A collection, and a key behind it.
    pub(crate) fn record_key(&self, first: c_int) -> Result<RecordKey, Reject> {
        Ok(RecordKey {
            collection: self.text(first, "collection")?,
            key: Bytes::copy_from_slice(self.bytes(first + 1, "key")?),
        })
    }

    /// An integer.
    pub(crate) fn integer(&self, at: c_int, what: &str) -> Result<i64, Reject> {
        match self.number(at) {
            Some(Number::Integer(integer)) => Ok(integer),
            // Where integers and floats are told apart, 7.0 is still a revision.
            Some(Number::Float(float)) if float.trunc() == float && float.abs() < 9e15 => {
                Ok(float as i64)
            }
            _ => Err(misuse(what, "a whole number")),
        }
    }

    /// An integer from 0 on.
    pub(crate) fn count(&self, at: c_int, what: &str) -> Result<u64, Reject> {
        u64::try_from(self.integer(at, what)?).map_err(|_| misuse(what, "a whole number from 0 on"))
    }

    /// An integer from 0 to 2^32-1.
    pub(crate) fn count32(&self, at: c_int, what: &str) -> Result<u32, Reject> {
        u32::try_from(self.integer(at, what)?)
            .map_err(|_| misuse(what, "a whole number from 0 to 2^32-1"))
    }

    /// A number of seconds; a negative one counts as 0, one too long for the clock as its longest.
    pub(crate) fn seconds(&self, at: c_int, what: &str) -> Result<Duration, Reject> {
        let seconds = match self.number(at) {
            Some(Number::Integer(integer)) => integer as f64,
            Some(Number::Float(float)) if !float.is_nan() => float,
            _ => return Err(misuse(what, "a number of seconds")),
        };
        Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// A number of seconds as milliseconds, rounded up.
    pub(crate) fn milliseconds(&self, at: c_int, what: &str) -> Result<u64, Reject> {
        let time = self.seconds(at, what)?;
        Ok(u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// A lifetime in milliseconds, at least one.
    pub(crate) fn lifetime_ms(&self, at: c_int) -> Result<u64, Reject> {
        Ok(self.milliseconds(at, "ttl")?.max(1))
    }

    /// Bytes in hexadecimal.
    pub(crate) fn hex(&self, at: c_int, what: &str) -> Result<Bytes, Reject> {
        let digits = self.bytes(at, what)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        bytes
            .map(Bytes::from)
            .ok_or_else(|| Reject::invalid(format!("{what}: pairs of hexadecimal digits expected")))
    }

    /// A boolean.
    pub(crate) fn flag(&self, at: c_int, what: &str) -> Result<bool, Reject> {
        match self.kind(at) {
            // SAFETY: any value may be asked.
            lua::LUA_TBOOLEAN => Ok(unsafe { lua::lua_toboolean(self.call.lua, at) } != 0),
            _ => Err(misuse(what, "a boolean")),
        }
    }

    /// A value, encoded.
    pub(crate) fn value(&self, at: c_int) -> Result<Bytes, Reject> {
        let mut buffer = self.call.context().take_buffer();
        let outcome = encode_at(self.call, at, self.limits, &mut buffer);
        let bytes = Bytes::copy_from_slice(&buffer);
        self.call.context().return_buffer(buffer);
        match outcome {
            Ok(()) => Ok(bytes),
            Err(EncodeFault::Stack(slots)) => Err(Fault::Stack(slots).into()),
            Err(EncodeFault::OverLimit(message)) => Err(Reject::refused(Reason::TooLarge, message)),
            Err(EncodeFault::Refused(message)) => Err(Reject::invalid(message)),
        }
    }

    /// Visits the fields of a table: name, stack index of the value. It may use the stack above.
    pub(crate) fn each_field(
        &mut self,
        table: c_int,
        what: &str,
        mut visit: impl FnMut(&mut Self, &[u8], c_int) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        if self.kind(table) != lua::LUA_TTABLE {
            return Err(misuse(what, "a table"));
        }
        let lua = self.call.lua;
        // SAFETY: `table` is the absolute index of a table, which nothing changes meanwhile.
        unsafe {
            let top = lua::lua_gettop(lua);
            lua::lua_pushnil(lua);
            while lua::lua_next(lua, table) != 0 {
                let name = self.bytes(top + 1, what)?;
                visit(self, name, top + 2)?;
                lua::lua_settop(lua, top + 1);
            }
        }
        Ok(())
    }

    /// Visits the elements of a table up to the first nil: position from 1, stack index. It may use the stack above.
    pub(crate) fn each_item(
        &mut self,
        table: c_int,
        what: &str,
        mut visit: impl FnMut(&mut Self, i64, c_int) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        if self.kind(table) != lua::LUA_TTABLE {
            return Err(misuse(what, "a table"));
        }
        let lua = self.call.lua;
        // SAFETY: `table` is the absolute index of a table.
        unsafe {
            let top = lua::lua_gettop(lua);
            for position in 1.. {
                lua::raw_get_index(lua, table, position);
                if lua::lua_type(lua, top + 1) == lua::LUA_TNIL {
                    break;
                }
                visit(self, position, top + 1)?;
                lua::lua_settop(lua, top);
            }
            lua::lua_settop(lua, top);
        }
        Ok(())
    }

    /// Pushes the elements `from` to `to` of the table at `table`; returns the stack index of the first. The caller, in a
    /// visit, leaves them for its visitor to pop.
    pub(crate) fn spread(
        &self,
        table: c_int,
        from: i64,
        to: i64,
        what: &str,
    ) -> Result<c_int, Reject> {
        if self.kind(table) != lua::LUA_TTABLE {
            return Err(misuse(what, "a table"));
        }
        // SAFETY: `table` is the absolute index of a table; `reserve` saw to the slots.
        unsafe {
            let first = lua::lua_gettop(self.call.lua) + 1;
            for position in from..=to {
                lua::raw_get_index(self.call.lua, table, position);
            }
            Ok(first)
        }
    }

    fn number(&self, at: c_int) -> Option<Number> {
        // SAFETY: it is a number.
        (self.kind(at) == lua::LUA_TNUMBER).then(|| unsafe { lua::number_at(self.call.lua, at) })
    }
}

/// An argument of the wrong type, which the Lua layer should have seen.
#[cold]
pub(crate) fn misuse(what: &str, expected: &str) -> Reject {
    Fault::Misuse(format!("stillpoint_core: {what}: {expected} expected")).into()
}
