//! Tests of watches: the store and its service, without a network in between.
//!
//! - `live`: what is told of commits as they come, and what is not.
//! - `start`: where a watch begins, also after a restart.
//! - `slow`: one that falls behind: from the commits in memory to the log to the state itself.
//! - `random`: random histories and places to go on from, against a model.

mod common;
mod live;
mod random;
mod slow;
mod start;
