//! A Lua state that runs the scripts of one chain, on one document at a time.
//!
//! # Layout
//!
//! - [`budget`]: what a script may use: work, time, memory.
//! - [`entry`]: how a document gets in.
//! - [`environment`]: what a script sees; its functions are in [`basic`], [`order`], [`pattern`], [`values`] and `prelude.lua`.
//! - [`script`]: loads a script and reads the table that it returns.
//!
//! # The stack
//!
//! ```text
//!  1  functions   array: up, down, check of each script
//!  2  _ENV
//!  3  begin       C function that pushes a document and its key
//!  4  document    of the record at hand
//!  5  key
//! ```
//!
//! Everything that may raise runs in protected calls; between them only quiet functions of the C API are used (see
//! [`stillpoint_value::lua`]). Rust holds nothing that needs dropping within them.

mod basic;
mod budget;
mod entry;
mod environment;
mod order;
mod pattern;
mod script;
mod values;

use std::os::raw::c_int;

use bytes::Bytes;
use mlua::ffi as sys;
use stillpoint_value::{
    canonical::Canonical,
    encode::{Encoder, slots_needed},
    lua::{self, lua_State},
    marks::Marks,
    refusal::Kind,
};

use crate::{Fault, Limits};
use budget::{Budget, Stop};
pub(crate) use budget::{Share, processor_time};
use entry::{Beginning, Building, build};
pub(crate) use script::Script;

const FUNCTIONS: c_int = 1;
const ENVIRONMENT: c_int = 2;
const BEGIN: c_int = 3;
const DOCUMENT: c_int = 4;
const KEY: c_int = 5;

/// Stack slots that are used below a value that is written.
const SLOTS: c_int = 40;

/// Functions of one script in the table of functions.
const FUNCTIONS_PER_SCRIPT: i64 = 3;

/// Longest message of a script that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 2000;

/// A function of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Up,
    Down,
    Check,
}

/// A Lua state with scripts loaded.
pub(crate) struct Sandbox {
    lua: *mut lua_State,
    budget: *mut Budget,
    marks: Marks,
    limits: Limits,
    /// The document as it was written last.
    buffer: Vec<u8>,
    canonical: Canonical,
}

// SAFETY: nothing in the state belongs to a thread, and it is used by whoever has the only reference to it.
unsafe impl Send for Sandbox {}

impl Sandbox {
    /// A state with room for so many scripts.
    pub(crate) fn new(scripts: usize, limits: &Limits) -> Result<Sandbox, Fault> {
        let too_small = || Fault::Memory {
            bytes: limits.memory_bytes,
        };
        let budget = Box::into_raw(Box::new(Budget::new(limits)));
        let mut building = Building {
            scripts: c_int::try_from(scripts).unwrap_or(c_int::MAX),
            marks: Marks::default(),
        };
        // SAFETY: the budget lives until the state is closed, in `drop`. `build` gets what it expects.
        unsafe {
            let lua = budget::new_state(budget);
            if lua.is_null() {
                drop(Box::from_raw(budget));
                return Err(too_small());
            }
            let mut sandbox = Sandbox {
                lua,
                budget,
                marks: Marks::default(),
                limits: limits.clone(),
                buffer: Vec::new(),
                canonical: Canonical::default(),
            };
            lua::push_function(lua, build, 0);
            lua::lua_pushlightuserdata(lua, (&raw mut building).cast());
            let slots = SLOTS + slots_needed(0, limits.of_values());
            if lua::protected_call(lua, 1, BEGIN) != lua::LUA_OK
                || lua::lua_checkstack(lua, slots) == 0
            {
                return Err(too_small());
            }
            sandbox.marks = building.marks;
            Ok(sandbox)
        }
    }

    /// Shares what is left of an allowance with the calls that follow; `None`: each stands for itself.
    pub(crate) fn share(&mut self, share: Option<Share>) {
        // SAFETY: the budget lives as long as the state, and nothing runs.
        unsafe { (*self.budget).share(share) }
    }

    /// What is left of it.
    pub(crate) fn shared(&self) -> Option<Share> {
        // SAFETY: as in `share`.
        unsafe { (*self.budget).shared() }
    }

    /// Makes a record's document the one at hand.
    pub(crate) fn begin(&mut self, value: &[u8], key: &[u8]) -> Result<(), Fault> {
        let mut beginning = Beginning {
            value,
            key,
            malformed: None,
        };
        // SAFETY: the stack is as the module's doc says; `begin` gets what it expects, and it lives longer than the call.
        unsafe {
            lua::lua_settop(self.lua, BEGIN);
            lua::lua_pushvalue(self.lua, BEGIN);
            lua::lua_pushlightuserdata(self.lua, (&raw mut beginning).cast());
            (*self.budget).begin_unmetered();
            self.call(1, 2)?;
        }
        match beginning.malformed {
            Some(malformed) => Err(Fault::Malformed(malformed.to_string())),
            None => Ok(()),
        }
    }

    /// Calls `up` or `down` of a script with the document at hand; what it makes is then at hand.
    pub(crate) fn change(&mut self, script: usize, function: Function) -> Result<(), Fault> {
        // SAFETY: the stack is as the module's doc says.
        unsafe {
            self.push_call(script, function);
            self.call(2, 2)?;
            let (result, message) = (KEY + 1, KEY + 2);
            match lua::lua_type(self.lua, result) {
                // Nothing: the document was changed in place. But nothing and a message is Lua's way to fail.
                lua::LUA_TNIL if lua::lua_type(self.lua, message) != lua::LUA_TNIL => {
                    return Err(Fault::Raised(self.message_at(message)));
                }
                lua::LUA_TNIL => {}
                lua::LUA_TFUNCTION => return Err(Fault::NotADocument("it is a function".into())),
                _ => {
                    self.refuse_another_key(message)?;
                    lua::lua_settop(self.lua, result);
                    sys::lua_replace(self.lua, DOCUMENT);
                }
            }
            lua::lua_settop(self.lua, KEY);
        }
        Ok(())
    }

    /// Calls `check` of a script with the document at hand.
    pub(crate) fn check(&mut self, script: usize) -> Result<(), Fault> {
        // SAFETY: the stack is as the module's doc says.
        unsafe {
            self.push_call(script, Function::Check);
            self.call(2, lua::LUA_MULTRET)?;
            let results = lua::lua_gettop(self.lua) - KEY;
            // A check that only asserts returns nothing at all.
            let passed = results == 0 || lua::lua_toboolean(self.lua, KEY + 1) != 0;
            let message = (results > 1 && lua::lua_type(self.lua, KEY + 2) != lua::LUA_TNIL)
                .then(|| self.message_at(KEY + 2));
            lua::lua_settop(self.lua, KEY);
            if passed {
                Ok(())
            } else {
                Err(Fault::CheckFailed(message))
            }
        }
    }

    /// Writes the document at hand, in the canonical form.
    pub(crate) fn write(&mut self) -> Result<(), Fault> {
        self.buffer.clear();
        self.canonical.clear();
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.encode(DOCUMENT, &mut buffer);
        self.buffer = buffer;
        written
    }

    /// A copy of what was written last.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.buffer)
    }

    /// Makes the document at hand what it would be if it were read from the store: what was written last.
    pub(crate) fn settle(&mut self, key: &[u8]) -> Result<(), Fault> {
        if self.canonical.is_as_decoded() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let begun = self.begin(&buffer, key);
        self.buffer = buffer;
        begun
    }

    /// Appends the value at `at`.
    fn encode(&mut self, at: c_int, buffer: &mut Vec<u8>) -> Result<(), Fault> {
        // SAFETY: `new` made room on the stack above what the module's doc says is on it.
        unsafe {
            let top = lua::lua_gettop(self.lua);
            let mut encoder = Encoder {
                lua: self.lua,
                marks: self.marks,
                buffer,
                limits: self.limits.of_values(),
                stack_last: SLOTS + slots_needed(0, self.limits.of_values()),
                canonical: Some(&mut self.canonical),
            };
            encoder.encode(at).map_err(|refusal| {
                lua::lua_settop(self.lua, top);
                match refusal.kind {
                    Kind::Unfit => Fault::NotADocument(refusal.to_string()),
                    Kind::OverLimit | Kind::Stack => Fault::TooLarge(refusal.to_string()),
                }
            })
        }
    }

    /// Refuses a text at `at`, beside the document, that is not the record's key. (Other things there are what a function of Lua
    /// left behind, e.g. the count of `gsub`.) Quiet.
    unsafe fn refuse_another_key(&self, at: c_int) -> Result<(), Fault> {
        let is_text = lua::lua_type(self.lua, at) == lua::LUA_TSTRING;
        if is_text && lua::string_at(self.lua, at) != lua::string_at(self.lua, KEY) {
            return Err(Fault::KeyChange(self.message_at(at)));
        }
        Ok(())
    }

    /// Pushes a function of a script with the document at hand and its key, and gives it a budget. Quiet.
    unsafe fn push_call(&mut self, script: usize, function: Function) {
        (*self.budget).begin();
        lua::lua_settop(self.lua, KEY);
        let place = script as i64 * FUNCTIONS_PER_SCRIPT + function as i64 + 1;
        lua::raw_get_index(self.lua, FUNCTIONS, place);
        lua::lua_pushvalue(self.lua, DOCUMENT);
        lua::lua_pushvalue(self.lua, KEY);
    }

    /// Calls the function under its arguments, with the budget that was given.
    unsafe fn call(&mut self, args: c_int, results: c_int) -> Result<(), Fault> {
        let status = lua::protected_call(self.lua, args, results);
        (*self.budget).end();
        match status {
            lua::LUA_OK => Ok(()),
            status => Err(self
                .fault(status)
                .unwrap_or_else(|| Fault::Raised(self.message_at(-1)))),
        }
    }

    /// What a call ran out of, if it did not simply fail. Quiet.
    unsafe fn fault(&self, status: c_int) -> Option<Fault> {
        let stop = (*self.budget).stopped();
        Some(match stop.or_else(|| basic::stop_of(self.lua, status))? {
            Stop::Work => Fault::Loop {
                steps: self.limits.steps,
            },
            Stop::Time => Fault::Slow {
                time: self.limits.time,
            },
            Stop::Share => Fault::used_up((*self.budget).shared()?.whole),
            Stop::Memory => Fault::Memory {
                bytes: self.limits.memory_bytes,
            },
            Stop::Recursion => Fault::Recursion,
        })
    }

    /// What a script said, at `at`. Quiet.
    unsafe fn message_at(&self, at: c_int) -> String {
        match lua::lua_type(self.lua, at) {
            lua::LUA_TSTRING => {
                let text = lua::string_at(self.lua, at);
                let shown = &text[..text.len().min(MESSAGE_BYTES_MAX)];
                String::from_utf8_lossy(shown).into_owned()
            }
            lua::LUA_TNUMBER => match lua::number_at(self.lua, at) {
                lua::Number::Integer(n) => n.to_string(),
                lua::Number::Float(float) => float.to_string(),
            },
            _ => format!("{} instead of a message", script::kind(self.lua, at)),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // SAFETY: both were made in `new`, and the state goes first.
        unsafe {
            sys::lua_close(self.lua);
            drop(Box::from_raw(self.budget));
        }
    }
}
