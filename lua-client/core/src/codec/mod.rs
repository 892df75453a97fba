//! Lua values straight to MessagePack and back, by [`stillpoint_value`], as the verbs of this crate use it.

pub(crate) mod int64;
pub(crate) mod verbs;

pub(crate) use stillpoint_value::{
    BYTES_DEFAULT, Limits, NESTING_DEFAULT, NESTING_MAX, decode, encode, refusal,
};
