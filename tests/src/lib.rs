//! What the tests share.
//!
//! # Layout
//!
//! - [`lua_modules`]: the Lua module as it ships, for every Lua version, and the interpreters that load it.
//! - [`server`]: the built program, and a real server for a test.
//! - [`bucket`]: a bucket for its backups.
//! - [`raw`]: the contract without our client.
//! - [`op`]: operations and values as the tests write them.
//! - [`linearizability`]: whether answers can be explained by one thing used by one caller at a time.

pub mod bucket;
pub mod linearizability;
pub mod lua_modules;
pub mod op;
pub mod raw;
pub mod server;
