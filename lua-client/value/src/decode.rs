//! MessagePack to Lua.
//!
//! It is called by a C function that has the [`marks`](crate::marks) as upvalues. Everything here may raise (see [`lua`]),
//! so it holds nothing that needs dropping; and it does not panic: bytes are only ever split off with a check.

use std::os::raw::c_int;

use rmp::Marker;

use crate::{
    NESTING_MAX, int64,
    lua::{self, lua_State},
    marks::{ARRAY_MT, EXT_MT, MAP_MT},
};

/// Stack slots that one level of nesting uses: table, key, value, and what pushing a value takes.
const SLOTS_PER_LEVEL: c_int = 8;

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug)]
pub struct Malformed {
    /// Ends with a NUL, so that Lua can format it.
    what: &'static std::ffi::CStr,
    /// Where, in bytes from the beginning.
    offset: usize,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = self.what.to_string_lossy();
        write!(f, "not a MessagePack value: {what} at byte {}", self.offset)
    }
}

impl Malformed {
    /// Pushes what is wrong. Raising.
    pub unsafe fn push(self, lua: *mut lua_State) {
        mlua::ffi::lua_pushfstring(
            lua,
            c"not a MessagePack value: %s at byte %d".as_ptr(),
            self.what.as_ptr(),
            self.offset.min(c_int::MAX as usize) as c_int,
        );
    }
}

/// Pushes the value that `bytes` are, all of them. Raising; on failure the stack may have more on it.
pub unsafe fn decode(lua: *mut lua_State, bytes: &[u8]) -> Result<(), Malformed> {
    let mut decoder = Decoder {
        lua,
        rest: bytes,
        len: bytes.len(),
    };
    decoder.value(0)?;
    if decoder.rest.is_empty() {
        Ok(())
    } else {
        decoder.fail(c"more bytes than the value has")
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    lua: *mut lua_State,
    rest: &'a [u8],
    len: usize,
}

impl<'a> Decoder<'a> {
    /// Pushes one value, inside of `depth` others.
    unsafe fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.marker()? {
            Marker::FixPos(n) => lua::push_integer(self.lua, n.into()),
            Marker::FixNeg(n) => lua::push_integer(self.lua, n.into()),
            Marker::Null => lua::lua_pushlightuserdata(self.lua, std::ptr::null_mut()),
            Marker::True => lua::lua_pushboolean(self.lua, 1),
            Marker::False => lua::lua_pushboolean(self.lua, 0),
            Marker::U8 => lua::push_integer(self.lua, u8::from_be_bytes(self.bytes()?).into()),
            Marker::U16 => lua::push_integer(self.lua, u16::from_be_bytes(self.bytes()?).into()),
            Marker::U32 => lua::push_integer(self.lua, u32::from_be_bytes(self.bytes()?).into()),
            Marker::U64 => int64::push(self.lua, u64::from_be_bytes(self.bytes()?).into()),
            Marker::I8 => lua::push_integer(self.lua, i8::from_be_bytes(self.bytes()?).into()),
            Marker::I16 => lua::push_integer(self.lua, i16::from_be_bytes(self.bytes()?).into()),
            Marker::I32 => lua::push_integer(self.lua, i32::from_be_bytes(self.bytes()?).into()),
            Marker::I64 => int64::push(self.lua, i64::from_be_bytes(self.bytes()?).into()),
            Marker::F32 => lua::lua_pushnumber(self.lua, f32::from_be_bytes(self.bytes()?).into()),
            Marker::F64 => lua::lua_pushnumber(self.lua, f64::from_be_bytes(self.bytes()?)),
            Marker::FixStr(len) => self.string(len.into())?,
            Marker::Str8 | Marker::Bin8 => {
                let len = self.len8()?;
                self.string(len)?;
            }
            Marker::Str16 | Marker::Bin16 => {
                let len = self.len16()?;
                self.string(len)?;
            }
            Marker::Str32 | Marker::Bin32 => {
                let len = self.len32()?;
                self.string(len)?;
            }
            Marker::FixArray(len) => self.array(len.into(), depth)?,
            Marker::Array16 => {
                let len = self.len16()?;
                self.array(len, depth)?;
            }
            Marker::Array32 => {
                let len = self.len32()?;
                self.array(len, depth)?;
            }
            Marker::FixMap(len) => self.map(len.into(), depth)?,
            Marker::Map16 => {
                let len = self.len16()?;
                self.map(len, depth)?;
            }
            Marker::Map32 => {
                let len = self.len32()?;
                self.map(len, depth)?;
            }
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => {
                let len = self.len8()?;
                self.ext(len)?;
            }
            Marker::Ext16 => {
                let len = self.len16()?;
                self.ext(len)?;
            }
            Marker::Ext32 => {
                let len = self.len32()?;
                self.ext(len)?;
            }
            Marker::Reserved => return self.fail(c"the reserved type 0xc1"),
        }

        Ok(())
    }

    unsafe fn string(&mut self, len: usize) -> Result<(), Malformed> {
        let bytes = self.split(len)?;
        lua::push_bytes(self.lua, bytes);
        Ok(())
    }

    unsafe fn array(&mut self, len: usize, depth: usize) -> Result<(), Malformed> {
        self.enter(depth, len, 1)?;

        lua::lua_createtable(self.lua, len as c_int, 0);
        for i in 1..=len {
            self.value(depth + 1)?;
            lua::raw_set_index(self.lua, -2, i as i64);
        }
        if len == 0 {
            self.mark(ARRAY_MT);
        }

        Ok(())
    }

    unsafe fn map(&mut self, len: usize, depth: usize) -> Result<(), Malformed> {
        self.enter(depth, len, 2)?;

        lua::lua_createtable(self.lua, 0, len as c_int);
        let mut strings_only = true;
        for _ in 0..len {
            strings_only &= self.key()?;
            self.value(depth + 1)?;
            lua::lua_rawset(self.lua, -3);
        }
        if !strings_only {
            self.mark(MAP_MT);
        }

        Ok(())
    }

    /// Pushes a map's key; says whether it is a string.
    unsafe fn key(&mut self) -> Result<bool, Malformed> {
        let marker = match self.rest.first() {
            Some(byte) => Marker::from_u8(*byte),
            None => return self.fail(c"it ends early"),
        };
        match marker {
            Marker::FixStr(len) => {
                // By far the most common key.
                let (_, rest) = self.rest.split_at_checked(1).unwrap_or_default();
                self.rest = rest;
                self.string(len.into())?;
                return Ok(true);
            }
            Marker::Str8
            | Marker::Str16
            | Marker::Str32
            | Marker::Bin8
            | Marker::Bin16
            | Marker::Bin32 => {
                self.value(NESTING_MAX)?;
                return Ok(true);
            }
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::True | Marker::False => {}
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => {}
            Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {}
            Marker::F32 | Marker::F64 => {
                let before = *self;
                let float = match self.marker()? {
                    Marker::F32 => f32::from_be_bytes(self.bytes()?).into(),
                    _ => f64::from_be_bytes(self.bytes()?),
                };
                if float.is_nan() {
                    return self.fail(c"a key that is not a number (NaN)");
                }
                *self = before;
            }
            _ => return self.fail(c"a key that is not a scalar"),
        }
        self.value(NESTING_MAX)?;
        Ok(false)
    }

    unsafe fn ext(&mut self, len: usize) -> Result<(), Malformed> {
        let [kind] = self.bytes()?;
        let data = self.split(len)?;

        lua::lua_createtable(self.lua, 0, 2);
        lua::push_integer(self.lua, (kind as i8).into());
        lua::lua_setfield(self.lua, -2, c"type".as_ptr());
        lua::push_bytes(self.lua, data);
        lua::lua_setfield(self.lua, -2, c"data".as_ptr());
        self.mark(EXT_MT);

        Ok(())
    }

    /// Sets the metatable of the table on top.
    unsafe fn mark(&self, upvalue: c_int) {
        lua::lua_pushvalue(self.lua, lua::lua_upvalueindex(upvalue));
        lua::lua_setmetatable(self.lua, -2);
    }

    /// Before a table of `len` entries of at least `bytes_min` bytes each: checks that they can be there, so that no
    /// memory is reserved for what is not, and that the stack has room.
    fn enter(&self, depth: usize, len: usize, bytes_min: usize) -> Result<(), Malformed> {
        if len.saturating_mul(bytes_min) > self.rest.len() {
            return self.fail(c"it ends early");
        }
        if depth >= NESTING_MAX {
            return self.fail(c"nesting deeper than 512 levels");
        }
        // SAFETY: nothing here needs dropping.
        if unsafe { lua::lua_checkstack(self.lua, SLOTS_PER_LEVEL) } == 0 {
            return self.fail(c"the Lua stack is full");
        }
        Ok(())
    }

    fn marker(&mut self) -> Result<Marker, Malformed> {
        let [byte] = self.bytes()?;
        Ok(Marker::from_u8(byte))
    }

    fn len8(&mut self) -> Result<usize, Malformed> {
        Ok(u8::from_be_bytes(self.bytes()?).into())
    }

    fn len16(&mut self) -> Result<usize, Malformed> {
        Ok(u16::from_be_bytes(self.bytes()?).into())
    }

    fn len32(&mut self) -> Result<usize, Malformed> {
        Ok(u32::from_be_bytes(self.bytes()?) as usize)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => self.fail(c"it ends early"),
        }
    }

    fn split(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => self.fail(c"it ends early"),
        }
    }

    #[cold]
    fn fail<T>(&self, what: &'static std::ffi::CStr) -> Result<T, Malformed> {
        Err(Malformed {
            what,
            offset: self.len.saturating_sub(self.rest.len()),
        })
    }
}
