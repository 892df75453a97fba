//! Values as bytes: checked, searched, changed and compared without building a tree of them.
//!
//! A value is one MessagePack value. It comes from a client, is checked once at the door, and is from then on kept,
//! read and patched as the bytes it came as, so that what a client reads is what it wrote.
//!
//! # Layout
//!
//! - [`mod@check`]: is this exactly one well-formed value within the limits? Takes any bytes at all.
//! - [`walk`]: a cursor over the bytes: what stands here, and where does the next value begin?
//! - [`place`]: finds the bytes a path leads to.
//! - [`mod@patch`]: changes a document by the steps of a patch, on a [`working_copy`].
//! - [`compare`]: are two values equal, is one less, does a predicate hold? Uses the [`canonical`] form.
//! - [`number`]: integers and floats compared and added without loss.
//! - [`encode`]: writes the few things that are written here.
//! - [`name`]: how a message names a place: `players[3].name`.

pub mod canonical;
pub mod check;
pub mod compare;

pub mod encode;
pub mod name;
pub mod number;
pub mod patch;
pub mod place;
pub mod walk;
pub mod working_copy;

pub use check::{NESTING_MAX, ValueLimits, check};
pub use compare::{equal, holds};
pub use patch::{Patched, patch};
