//! Tests of values as bytes: what the check at the door lets in, what patches make of a document, what guards say.
//!
//! - `golden`: scripts in `scripts/`, a document and steps in, the outcome out, for reading.
//! - `check`: any bytes at all, against a slow reference decoder.
//! - `patch`: random documents and steps, against a naive patch of trees.
//! - `compare`: random values, against a naive comparison of trees; what predicates say.
//! - `width`: every container and number at the sizes where its head gets wider.

mod check;
mod compare;
mod golden;
mod model;
mod notation;
mod patch;
mod random;
mod width;
