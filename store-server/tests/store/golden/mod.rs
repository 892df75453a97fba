//! Scripts that a reviewer can read, in `scripts/`. With `UPDATE_GOLDENFILES=1` the outcomes are written anew.

mod log;
mod store;
