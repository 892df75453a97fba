//! Loads a script, and reads the table that it returns.
//!
//! The table is read by walking it, since to ask for a field by its name would mean to make that string, which may fail.

use std::{ffi::CString, os::raw::c_int};

use bytes::Bytes;
use mlua::ffi as sys;
use stillpoint_value::lua::{self, Number, lua_State};

use super::{ENVIRONMENT, FUNCTIONS, FUNCTIONS_PER_SCRIPT, Function, Sandbox};
use crate::Fault;

/// Fields that a script's table may have.
const FIELDS: [&str; 8] = [
    "from", "to", "up", "down", "check", "samples", "keys", "lossy",
];

/// What a script says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) has_down: bool,
    pub(crate) has_check: bool,
    /// `down(up(x))` need not be `x`.
    pub(crate) lossy: bool,
    /// Documents of the version `from`.
    pub(crate) samples: Vec<Bytes>,
    /// Their keys, if it matters.
    pub(crate) keys: Vec<Bytes>,
}

impl Sandbox {
    /// Loads a script into its place. `name` is what errors call it.
    pub(crate) fn load(&mut self, place: usize, name: &str, text: &str) -> Result<Script, Fault> {
        let chunk = CString::new(format!("={name}")).unwrap_or_default();
        // SAFETY: the stack is as the module's doc says; it is left so, whatever comes of this.
        unsafe {
            lua::lua_settop(self.lua, super::BEGIN);
            (*self.budget).begin();
            let data = text.as_ptr().cast();
            let status =
                sys::luaL_loadbufferx(self.lua, data, text.len(), chunk.as_ptr(), c"t".as_ptr());
            if status != lua::LUA_OK {
                let stopped = (*self.budget).stopped().is_some() || status == sys::LUA_ERRMEM;
                return Err(stopped
                    .then(|| self.fault(status))
                    .flatten()
                    .unwrap_or_else(|| Fault::Syntax(self.message_at(-1))));
            }
            lua::lua_pushvalue(self.lua, ENVIRONMENT);
            sys::lua_setupvalue(self.lua, -2, 1);
            self.call(0, 1)?;
            let script = self.read(place);
            lua::lua_settop(self.lua, super::BEGIN);
            script
        }
    }

    /// Reads the table on top of the stack.
    unsafe fn read(&mut self, place: usize) -> Result<Script, Fault> {
        let table = lua::lua_gettop(self.lua);
        if lua::lua_type(self.lua, table) != lua::LUA_TTABLE {
            return Err(Fault::NotATable {
                found: kind(self.lua, table),
            });
        }
        self.refuse_unknown_fields(table)?;
        let mut script = Script {
            from: self.version(table, "from")?,
            to: self.version(table, "to")?,
            ..Script::default()
        };
        if !self.function(table, "up", place, Function::Up)? {
            return Err(Fault::MissingField("up"));
        }
        script.has_down = self.function(table, "down", place, Function::Down)?;
        script.has_check = self.function(table, "check", place, Function::Check)?;
        script.lossy = self.flag(table, "lossy")?;
        script.samples = self.samples(table)?;
        script.keys = self.keys(table)?;
        Ok(script)
    }

    unsafe fn refuse_unknown_fields(&self, table: c_int) -> Result<(), Fault> {
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, table) != 0 {
            lua::pop(self.lua, 1);
            let name = match lua::lua_type(self.lua, -1) {
                lua::LUA_TSTRING => {
                    String::from_utf8_lossy(lua::string_at(self.lua, -1)).into_owned()
                }
                _ => format!("[{}]", kind(self.lua, -1)),
            };
            if !FIELDS.contains(&name.as_str()) {
                return Err(Fault::UnknownField(name));
            }
        }
        Ok(())
    }

    /// Pushes a field; `None`, and nothing is pushed: it is not there.
    unsafe fn field(&self, table: c_int, name: &str) -> Option<c_int> {
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, table) != 0 {
            if lua::lua_type(self.lua, -2) == lua::LUA_TSTRING
                && lua::string_at(self.lua, -2) == name.as_bytes()
            {
                sys::lua_remove(self.lua, -2);
                return Some(lua::lua_gettop(self.lua));
            }
            lua::pop(self.lua, 1);
        }
        None
    }

    unsafe fn version(&self, table: c_int, name: &'static str) -> Result<u32, Fault> {
        let at = self.field(table, name).ok_or(Fault::MissingField(name))?;
        let version = match lua::lua_type(self.lua, at) {
            lua::LUA_TNUMBER => match lua::number_at(self.lua, at) {
                Number::Integer(n) => u32::try_from(n).ok(),
                Number::Float(_) => None,
            },
            _ => None,
        };
        version.ok_or_else(|| self.wrong_type(name, "a whole number from 0 on", at))
    }

    /// Keeps a function, if it is there.
    unsafe fn function(
        &mut self,
        table: c_int,
        name: &'static str,
        place: usize,
        function: Function,
    ) -> Result<bool, Fault> {
        let Some(at) = self.field(table, name) else {
            return Ok(false);
        };
        if lua::lua_type(self.lua, at) != lua::LUA_TFUNCTION {
            return Err(self.wrong_type(name, "a function", at));
        }
        // The place is there from the beginning, so this does not raise.
        let place = place as i64 * FUNCTIONS_PER_SCRIPT + function as i64 + 1;
        lua::raw_set_index(self.lua, FUNCTIONS, place);
        Ok(true)
    }

    unsafe fn flag(&self, table: c_int, name: &'static str) -> Result<bool, Fault> {
        match self.field(table, name) {
            None => Ok(false),
            Some(at) if lua::lua_type(self.lua, at) == lua::LUA_TBOOLEAN => {
                Ok(lua::lua_toboolean(self.lua, at) != 0)
            }
            Some(at) => Err(self.wrong_type(name, "true or false", at)),
        }
    }

    unsafe fn samples(&mut self, table: c_int) -> Result<Vec<Bytes>, Fault> {
        let Some(list) = self.list(table, "samples", "a list of documents")? else {
            return Ok(Vec::new());
        };
        let mut samples = Vec::new();
        for number in 1..=lua::raw_len(self.lua, list) {
            lua::raw_get_index(self.lua, list, number as i64);
            let mut sample = Vec::new();
            self.canonical.clear();
            self.encode(list + 1, &mut sample)
                .map_err(|fault| Fault::BadSample {
                    number,
                    why: fault.to_string(),
                })?;
            samples.push(sample.into());
            lua::pop(self.lua, 1);
        }
        Ok(samples)
    }

    unsafe fn keys(&self, table: c_int) -> Result<Vec<Bytes>, Fault> {
        let Some(list) = self.list(table, "keys", "a list of strings")? else {
            return Ok(Vec::new());
        };
        let mut keys = Vec::new();
        for number in 1..=lua::raw_len(self.lua, list) {
            lua::raw_get_index(self.lua, list, number as i64);
            if lua::lua_type(self.lua, list + 1) != lua::LUA_TSTRING {
                return Err(self.wrong_type("keys", "a list of strings", list + 1));
            }
            keys.push(Bytes::copy_from_slice(lua::string_at(self.lua, list + 1)));
            lua::pop(self.lua, 1);
        }
        Ok(keys)
    }

    /// Pushes a field that is a table.
    unsafe fn list(
        &self,
        table: c_int,
        name: &'static str,
        wanted: &'static str,
    ) -> Result<Option<c_int>, Fault> {
        match self.field(table, name) {
            Some(at) if lua::lua_type(self.lua, at) != lua::LUA_TTABLE => {
                Err(self.wrong_type(name, wanted, at))
            }
            found => Ok(found),
        }
    }

    unsafe fn wrong_type(&self, field: &'static str, wanted: &'static str, at: c_int) -> Fault {
        Fault::WrongType {
            field,
            wanted,
            found: kind(self.lua, at),
        }
    }
}

/// What a value is, for a message. Quiet.
pub(super) unsafe fn kind(lua: *mut lua_State, at: c_int) -> &'static str {
    match lua::lua_type(lua, at) {
        lua::LUA_TNIL | lua::LUA_TNONE => "nothing",
        lua::LUA_TBOOLEAN => "a boolean",
        lua::LUA_TNUMBER => match lua::number_at(lua, at) {
            Number::Integer(n) if n < 0 => "a negative number",
            Number::Integer(_) => "a number",
            Number::Float(_) => "a number with a fraction",
        },
        lua::LUA_TSTRING => "a string",
        lua::LUA_TTABLE => "a table",
        lua::LUA_TFUNCTION => "a function",
        lua::LUA_TLIGHTUSERDATA => "stillpoint.null",
        _ => "something else",
    }
}
