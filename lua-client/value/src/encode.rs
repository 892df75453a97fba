//! Lua to MessagePack.
//!
//! Everything here is quiet (see [`lua`]): it allocates nothing in Lua and runs no Lua code, but for the
//! question what a cdata is.
//!
//! While a table is walked, the stack has `table, key, value`, and a nested table is the `value` of its parent: so the
//! tables that enclose a place lie two slots apart, which is how a cycle is told from mere depth.

use std::os::raw::{c_int, c_void};

use crate::{
    Limits, blame,
    canonical::Canonical,
    int64,
    lua::{self, Number, lua_State},
    marks::Marks,
    refusal::Refusal,
};

/// Stack slots that one level of nesting uses: key, value, and what looking at them takes.
pub(crate) const SLOTS_PER_LEVEL: c_int = 2;

/// Stack slots that are used beyond the deepest level.
const SLOTS_BEYOND: c_int = 6;

/// How far beyond its limit a value is still measured, to tell its size.
const MEASURED_TIMES: usize = 8;

/// First byte of a string of length 0, in the form for the shortest ones.
const FIXSTR: u8 = 0xa0;

/// First length that is too long for that form.
const FIXSTR_LEN_END: u32 = 32;

/// Whether a value was written.
type Written = Result<(), Box<Refusal>>;

/// Writes Lua values into a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    /// The state they are in.
    pub lua: *mut lua_State,
    /// What marks tables there.
    pub marks: Marks,
    /// Is appended to.
    pub buffer: &'a mut Vec<u8>,
    /// Bounds on the value.
    pub limits: Limits,
    /// Highest stack index that may be used.
    pub stack_last: c_int,
    /// Writes maps in the order of their keys, and notes what a copy of the value would not share with it.
    pub canonical: Option<&'a mut Canonical>,
}

/// Stack slots needed for a value of the deepest allowed nesting that begins `used` slots above the arguments.
pub fn slots_needed(used: c_int, limits: Limits) -> c_int {
    used + SLOTS_PER_LEVEL * limits.nesting as c_int + SLOTS_BEYOND + SLOTS_PER_LEVEL
}

impl Encoder<'_> {
    /// Appends the value at `index`. Leaves the stack as it was if the value was written.
    pub fn encode(&mut self, index: c_int) -> Written {
        let start = self.buffer.len();
        // SAFETY: the caller's stack has room for a few more values; tables check for theirs.
        unsafe {
            lua::lua_pushvalue(self.lua, index);
            let top = lua::lua_gettop(self.lua);
            self.value(top, 1)?;
            lua::lua_settop(self.lua, top - 1);
        }
        let bytes = self.buffer.len() - start;
        if bytes > self.limits.bytes {
            return Err(self.too_large(&bytes.to_string()));
        }
        Ok(())
    }

    /// Appends the value at the absolute index `at`, the top of the stack; a table there is `depth` levels deep.
    unsafe fn value(&mut self, at: c_int, depth: usize) -> Written {
        match lua::lua_type(self.lua, at) {
            lua::LUA_TSTRING => self.string(lua::string_at(self.lua, at)),
            lua::LUA_TNUMBER => {
                self.number(at);
                Ok(())
            }
            lua::LUA_TTABLE => self.table(at, depth),
            lua::LUA_TBOOLEAN => {
                let yes = lua::lua_toboolean(self.lua, at) != 0;
                self.buffer.push(if yes { 0xc3 } else { 0xc2 });
                Ok(())
            }
            lua::LUA_TLIGHTUSERDATA if lua::lua_touserdata(self.lua, at).is_null() => {
                self.buffer.push(0xc0);
                Ok(())
            }
            _ => self.other(at),
        }
    }

    /// Appends what is not a plain value: on LuaJIT a 64-bit cdata.
    #[cold]
    unsafe fn other(&mut self, at: c_int) -> Written {
        #[cfg(feature = "luajit")]
        if let Some(integer) = int64::of_cdata(self.lua, at) {
            self.integer(integer);
            return Ok(());
        }
        let what = match lua::lua_type(self.lua, at) {
            lua::LUA_TNIL | lua::LUA_TNONE => "nil: use stillpoint.null",
            lua::LUA_TFUNCTION => "a function",
            lua::LUA_TTHREAD => "a coroutine",
            lua::LUA_TUSERDATA | lua::LUA_TLIGHTUSERDATA => "a userdata",
            _ => "a cdata that is not a 64-bit integer",
        };
        Err(Refusal::new(format!("cannot store {what}")))
    }

    /// Appends a number.
    unsafe fn number(&mut self, at: c_int) {
        match lua::number_at(self.lua, at) {
            Number::Integer(integer) => self.sint(integer),
            Number::Float(float) => self.float(float),
        }
    }

    /// Appends an integer in its smallest form.
    fn sint(&mut self, integer: i64) {
        match integer {
            0..=0x7f => self.buffer.push(integer as u8),
            // Writing to memory does not fail.
            _ => _ = rmp::encode::write_sint(self.buffer, integer),
        }
    }

    /// Appends an integer of the union of the signed and unsigned 64-bit ranges in its smallest form.
    fn integer(&mut self, integer: i128) {
        match i64::try_from(integer) {
            Ok(signed) => self.sint(signed),
            Err(_) => _ = rmp::encode::write_uint(self.buffer, integer as u64),
        }
    }

    fn float(&mut self, float: f64) {
        _ = rmp::encode::write_f64(self.buffer, float);
    }

    /// Appends a string: str if it is UTF-8, else bin.
    fn string(&mut self, bytes: &[u8]) -> Written {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return Err(self.too_large(&format!("more than {}", u32::MAX)));
        };
        if len < FIXSTR_LEN_END && bytes.is_ascii() {
            // Most strings by far.
            self.buffer.push(FIXSTR | len as u8);
        } else if std::str::from_utf8(bytes).is_ok() {
            _ = rmp::encode::write_str_len(self.buffer, len);
        } else {
            _ = rmp::encode::write_bin_len(self.buffer, len);
        }
        self.check_size(bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a table.
    unsafe fn table(&mut self, at: c_int, depth: usize) -> Written {
        if depth > self.limits.nesting {
            return Err(self.too_deep(at, depth));
        }
        if at + SLOTS_BEYOND > self.stack_last {
            return Err(Refusal::stack());
        }
        let mark = self.mark(at)?;
        if let Some(canonical) = &mut self.canonical {
            canonical.note(lua::lua_topointer(self.lua, at), !mark.is_null());
        }
        if mark == self.marks.ext && !mark.is_null() {
            return self.ext(at);
        }
        if mark == self.marks.int64 && !mark.is_null() {
            let integer = int64::of_wrapper(self.lua, at)?;
            self.integer(integer);
            return Ok(());
        }
        let (is_array, is_map) = (mark == self.marks.array, mark == self.marks.map);
        lua::lua_pushnil(self.lua);
        if lua::lua_next(self.lua, at) == 0 {
            self.buffer.push(if is_array { 0x90 } else { 0x80 });
            return Ok(());
        }
        if is_map {
            return self.map(at, depth, true);
        }
        match lua::lua_type(self.lua, at + 1) {
            lua::LUA_TSTRING if !is_array => self.map(at, depth, false),
            lua::LUA_TNUMBER => self.array(at, depth, is_array),
            _ => self.array_any_order(at, depth, is_array),
        }
    }

    /// The table's metatable if it is one of the marks; null: it has none.
    unsafe fn mark(&self, at: c_int) -> Result<*const c_void, Box<Refusal>> {
        if lua::lua_getmetatable(self.lua, at) == 0 {
            return Ok(std::ptr::null());
        }
        let metatable = lua::lua_topointer(self.lua, -1);
        let marks = &self.marks;
        if ![marks.array, marks.map, marks.ext, marks.int64].contains(&metatable) {
            return Err(self.foreign_metatable());
        }
        lua::pop(self.lua, 1);
        Ok(metatable)
    }

    /// Appends a table as a map; its first key and value are on the stack. Only a marked one may have keys that are not
    /// strings.
    unsafe fn map(&mut self, at: c_int, depth: usize, marked: bool) -> Written {
        let header = self.buffer.len();
        self.buffer.push(0x80);
        let outer = self.canonical.as_ref().map_or(0, |form| form.open());
        let mut count: usize = 0;
        loop {
            let start = self.buffer.len();
            if lua::lua_type(self.lua, at + 1) == lua::LUA_TSTRING {
                self.string(lua::string_at(self.lua, at + 1))?;
            } else if marked {
                self.scalar_key(at + 1)?;
            } else {
                return Err(self.mixed_keys(at));
            }
            let key_end = self.buffer.len();
            self.value(at + 2, depth + 1)
                .map_err(|refusal| self.within(refusal, at + 1, depth))?;
            if let Some(canonical) = &mut self.canonical {
                canonical.entry(start, key_end, self.buffer.len());
            }
            count += 1;
            lua::pop(self.lua, 1);
            if lua::lua_next(self.lua, at) == 0 {
                break;
            }
        }
        if let Some(canonical) = &mut self.canonical {
            canonical.close(outer, self.buffer);
        }
        self.finish_map(header, count);
        self.check_size(0)
    }

    /// Writes the header of a map whose entries follow the one byte left for it.
    fn finish_map(&mut self, header: usize, count: usize) {
        if count < 16 {
            self.buffer[header] = 0x80 | count as u8;
        } else if let Ok(count) = u16::try_from(count) {
            let [high, low] = count.to_be_bytes();
            self.buffer.splice(header..=header, [0xde, high, low]);
        } else {
            // More entries than this do not fit into the size that was checked.
            let [a, b, c, d] = (count as u32).to_be_bytes();
            self.buffer.splice(header..=header, [0xdf, a, b, c, d]);
        }
    }

    /// Appends a key of a marked map that is not a string.
    unsafe fn scalar_key(&mut self, at: c_int) -> Written {
        match lua::lua_type(self.lua, at) {
            lua::LUA_TNUMBER | lua::LUA_TBOOLEAN => self.value(at, 0),
            lua::LUA_TTABLE if self.mark(at).is_ok_and(|mark| mark == self.marks.int64) => {
                let integer = int64::of_wrapper(self.lua, at)?;
                self.integer(integer);
                Ok(())
            }
            #[cfg(feature = "luajit")]
            lua::LUA_TCDATA => self.other(at),
            _ => Err(Refusal::new(format!(
                "cannot store a map with {} as a key",
                self.kind(at)
            ))),
        }
    }

    /// Appends a table whose first key is a number as an array, if its keys come in order, as they mostly do.
    unsafe fn array(&mut self, at: c_int, depth: usize, marked: bool) -> Written {
        let header = self.buffer.len();
        let len = lua::raw_len(self.lua, at);
        if len > u32::MAX as usize {
            return Err(self.too_large(&format!("more than {}", u32::MAX)));
        }
        _ = rmp::encode::write_array_len(self.buffer, len as u32);
        let mut count: i64 = 0;
        loop {
            count += 1;
            if lua::lua_type(self.lua, at + 1) != lua::LUA_TNUMBER
                || lua::number_at(self.lua, at + 1) != Number::Integer(count)
            {
                break;
            }
            self.value(at + 2, depth + 1)
                .map_err(|refusal| self.within(refusal, at + 1, depth))?;
            lua::pop(self.lua, 1);
            if lua::lua_next(self.lua, at) == 0 {
                if count == len as i64 {
                    return self.check_size(0);
                }
                break;
            }
        }
        self.buffer.truncate(header);
        self.array_any_order(at, depth, marked)
    }

    /// Appends a table as an array after looking at all its keys.
    unsafe fn array_any_order(&mut self, at: c_int, depth: usize, marked: bool) -> Written {
        let len = self.array_len(at, marked)?;
        _ = rmp::encode::write_array_len(self.buffer, len as u32);
        for i in 1..=len {
            lua::lua_settop(self.lua, at);
            lua::push_integer(self.lua, i);
            lua::raw_get_index(self.lua, at, i);
            self.value(at + 2, depth + 1)
                .map_err(|refusal| self.within(refusal, at + 1, depth))?;
        }
        lua::lua_settop(self.lua, at);
        self.check_size(0)
    }

    /// Number of elements of a table that has exactly the keys 1..n.
    unsafe fn array_len(&mut self, at: c_int, marked: bool) -> Result<i64, Box<Refusal>> {
        let (mut count, mut last) = (0_i64, 0_i64);
        lua::lua_settop(self.lua, at);
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, at) != 0 {
            lua::pop(self.lua, 1);
            let key = match lua::lua_type(self.lua, at + 1) {
                lua::LUA_TNUMBER => lua::number_at(self.lua, at + 1),
                lua::LUA_TSTRING if !marked => return Err(self.mixed_keys(at)),
                _ if marked => return Err(self.not_an_index(at + 1)),
                _ => return Err(self.odd_key(at + 1)),
            };
            match key {
                Number::Integer(index) if index >= 1 => last = last.max(index),
                _ if marked => return Err(self.not_an_index(at + 1)),
                _ => return Err(self.odd_key(at + 1)),
            }
            count += 1;
        }
        if last != count {
            return Err(self.hole(at));
        }
        Ok(count)
    }

    /// Appends `{type=, data=}` as an extension value.
    unsafe fn ext(&mut self, at: c_int) -> Written {
        let (mut kind, mut data) = (None, None);
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, at) != 0 {
            let name = (lua::lua_type(self.lua, at + 1) == lua::LUA_TSTRING)
                .then(|| lua::string_at(self.lua, at + 1));
            match (name, lua::lua_type(self.lua, at + 2)) {
                (Some(b"type"), lua::LUA_TNUMBER) => {
                    if let Number::Integer(integer) = lua::number_at(self.lua, at + 2) {
                        kind = i8::try_from(integer).ok();
                    }
                }
                (Some(b"data"), lua::LUA_TSTRING) => data = Some(lua::string_at(self.lua, at + 2)),
                _ => return Err(blame::bad_ext()),
            }
            lua::pop(self.lua, 1);
        }
        let (Some(kind), Some(data)) = (kind, data) else {
            return Err(blame::bad_ext());
        };
        let Ok(len) = u32::try_from(data.len()) else {
            return Err(blame::bad_ext());
        };
        self.check_size(data.len())?;
        _ = rmp::encode::write_ext_meta(self.buffer, len, kind);
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// Stops an encoding that is far beyond its limit, be it that one table is contained many times.
    #[inline]
    fn check_size(&self, more: usize) -> Written {
        let bytes = self.buffer.len().saturating_add(more);
        // Multiplied out only for what is over the limit.
        if bytes > self.limits.bytes {
            let measured_max = self
                .limits
                .bytes
                .saturating_mul(MEASURED_TIMES)
                .min(u32::MAX as usize);
            if bytes > measured_max {
                return Err(self.too_large(&format!("more than {measured_max}")));
            }
        }
        Ok(())
    }
}
