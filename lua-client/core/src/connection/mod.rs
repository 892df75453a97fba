//! The verbs of a connection: connect, submit, wait, take, and what goes with them.
//!
//! # Layout
//!
//! - [`handle`]: the connection as a Lua value; [`config`]: what it is told.
//! - [`verbs`]: the functions on operations; [`session`], [`event`], [`command`], [`watch`]: the others.
//! - [`clock`]: time for the Lua layer.

pub(crate) mod clock;
pub(crate) mod command;
mod config;
pub(crate) mod event;
pub(crate) mod handle;
pub(crate) mod session;
pub(crate) mod verbs;
pub(crate) mod watch;
