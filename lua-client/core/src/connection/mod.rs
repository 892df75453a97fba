//! The verbs of a connection: connect, submit, wait, take, and what goes with them.
//!
//! # Layout
//!
//! - [`handle`]: the connection as a Lua value.
//! - [`verbs`]: the functions.
//! - [`clock`]: time for the Lua layer.

pub(crate) mod clock;
pub(crate) mod handle;
pub(crate) mod verbs;
