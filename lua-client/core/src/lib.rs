//! The native half of Stillpoint's Lua client: values in and out, submit, take, wait. Everything that users see is
//! written in Lua on top of it.
//!
//! # Layout
//!
//! In the order a call meets it:
//!
//! - `open`: `require "stillpoint_core"`; `version` first checks that the running Lua is the one this is built for.
//! - `entry`: how a call gets from Lua into Rust and its results back, so that neither errors nor panics cross.
//! - `context`: what is kept per Lua universe.
//! - `connection`: the verbs of a connection, on top of stillpoint-client.
//! - `op`: the operations: arguments from the Lua stack, results onto it.
//! - `codec`: Lua values straight to MessagePack and back, by `stillpoint-value`, which also has the C API under one set of
//!   names for all versions, as `lua`.
//! - [`host`]: runs a script in the built-in Lua with the client preloaded, for `stillpoint lua`.
//!
//! # Building
//!
//! With Lua built in (the default): as any crate. The module for an installed interpreter, here of Lua 5.4:
//!
//! ```sh
//! cargo build -p stillpoint-core --release --no-default-features --features module,lua54 --target-dir target/modules
//! cp target/modules/release/libstillpoint_core.so somewhere/on/package.cpath/stillpoint_core.so
//! ```
//!
//! and likewise `lua51`, `lua52`, `lua53`, `lua55`, `luajit`. A target directory of their own keeps them from rebuilding the
//! rest of the workspace, whose features differ. The module must unwind on panic, never abort.

// Nearly every function here is the body of a C function or part of one, and unsafe from its first line to its last. Its
// contract stands in the module's doc; a block around each body would say nothing more.
#![allow(unsafe_op_in_unsafe_fn)]

mod codec;
mod connection;
mod context;
mod entry;
#[cfg(feature = "vendored")]
pub mod host;
mod op;
mod open;
mod version;

use stillpoint_value::lua;

pub use open::luaopen_stillpoint_core;
pub use version::LUA_VERSION;
