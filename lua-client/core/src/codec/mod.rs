//! Lua values straight to MessagePack and back, strict and lossless.
//!
//! # Lua to MessagePack ([`encode`])
//!
//! | Lua | MessagePack |
//! |---|---|
//! | `core.null` (a light userdata NULL) | nil |
//! | boolean | boolean |
//! | integer | the smallest form that holds it |
//! | float | float 64; where Lua has only floats, whole ones up to 2^53 are integers |
//! | string | str if it is UTF-8, else bin |
//! | table with the keys 1..n, or marked `array_mt` | array |
//! | table with string keys only, empty table | map |
//! | table marked `map_mt`, any scalar keys | map |
//! | `{type=, data=}` marked `ext_mt` | ext |
//! | 64-bit integer: cdata or `int64_mt` (see [`int64`]) | the smallest integer form that holds it |
//!
//! All else is refused with the path to it: functions, other userdata, coroutines, tables with other metatables, with
//! holes, with mixed keys, that contain themselves, that are nested too deep.
//!
//! # MessagePack to Lua ([`decode`])
//!
//! The same backwards: nil becomes `core.null` (so arrays have no holes), an empty array a table marked `array_mt`, a
//! map with other than string keys a table marked `map_mt`, an ext value a table marked `ext_mt`. bin and str both become
//! strings, float 32 a number. Lua itself makes the keys `1.0` and `1` one.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod int64;
pub(crate) mod refusal;
pub(crate) mod verbs;

/// Levels of nesting unless told otherwise: the store's default.
pub(crate) const NESTING_DEFAULT: usize = 64;

/// Levels of nesting at most, whatever the store's limit: bounds the recursion.
pub(crate) const NESTING_MAX: usize = 512;

/// Bytes of one value unless told otherwise.
pub(crate) const BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// How large and deep a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of its encoding.
    pub(crate) bytes: usize,
    /// Levels of nested tables.
    pub(crate) nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: BYTES_DEFAULT,
            nesting: NESTING_DEFAULT,
        }
    }
}
