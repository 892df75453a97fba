//! What the tests share.
//!
//! # Layout
//!
//! - [`lua_modules`]: the Lua module as it ships, for every Lua version, and the interpreters that load it.

pub mod lua_modules;
