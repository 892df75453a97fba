//! Lua values straight to MessagePack and back, strict and lossless: what the Lua client and the migrations share, so that
//! a value looks the same in both.
//!
//! # Lua to MessagePack ([`encode`])
//!
//! | Lua | MessagePack |
//! |---|---|
//! | null (a light userdata NULL) | nil |
//! | boolean | boolean |
//! | integer | the smallest form that holds it |
//! | float | float 64; where Lua has only floats, whole ones up to 2^53 are integers |
//! | string | str if it is UTF-8, else bin |
//! | table with the keys 1..n, or marked `array` | array |
//! | table with string keys only, empty table | map |
//! | table marked `map`, any scalar keys | map |
//! | `{type=, data=}` marked `ext` | ext |
//! | 64-bit integer: cdata or `int64` (see [`int64`]) | the smallest integer form that holds it |
//!
//! All else is refused with the path to it: functions, other userdata, coroutines, tables with other metatables, with
//! holes, with mixed keys, that contain themselves, that are nested too deep.
//!
//! # MessagePack to Lua ([`decode`])
//!
//! The same backwards: nil becomes null (so arrays have no holes), an empty array a table marked `array`, a
//! map with other than string keys a table marked `map`, an ext value a table marked `ext`. bin and str both become
//! strings, float 32 a number. Lua itself makes the keys `1.0` and `1` one.
//!
//! # Layout
//!
//! - [`encode`], [`decode`]: the two ways; [`refusal`]: why a value is refused and where in it.
//! - [`canonical`]: equal values as equal bytes, for who compares them.
//! - [`marks`]: the metatables that mark tables, and how functions reach them.
//! - [`int64`]: integers that a Lua number cannot hold.
//! - [`lua`]: the C API under one set of names for all versions, and which of it may raise. That word is the contract of
//!   every unsafe function here, together with a state that has the stack slots it says.

// Nearly every function here is part of the body of a C function, and unsafe from its first line to its last. A section
// or a block for each would repeat the contract that stands above.
#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

mod blame;
pub mod canonical;
pub mod decode;
pub mod encode;
pub mod int64;
pub mod lua;
pub mod marks;
pub mod refusal;

/// Levels of nesting unless told otherwise: the store's default.
pub const NESTING_DEFAULT: usize = 64;

/// Levels of nesting at most, whatever the store's limit: bounds the recursion.
pub const NESTING_MAX: usize = 512;

/// Bytes of one value unless told otherwise.
pub const BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// How large and deep a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of its encoding.
    pub bytes: usize,
    /// Levels of nested tables.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: BYTES_DEFAULT,
            nesting: NESTING_DEFAULT,
        }
    }
}
