//! Tests of the store and its log as a library.
//!
//! - `golden`: scripts in `scripts/`, for reading: what the log's files are like, what each operation answers.
//! - `damage`: a log cut at every byte, a bit flipped at every byte, segments missing, exchanged, of another store.
//! - `checkpoint`: what a store that has lost its view comes back from, and what is told where it cannot.
//! - `model`: random histories on each engine, against a plain map.
//! - `readers`: batches, pages and transactions that read while a writer moves gold about see one revision each.
//! - `dedup`: repeats of writes, also after a restart. `clock`: and after the wall clock was set.
//! - `sessions`, `claims`, `timers`, `once`: what restarts of logic processes rest on, in all lives of a store (`world`).
//! - `history`: labelled moments, and the commits that wrote a record.
//! - `fixture`: data directories of each format, kept in this repository, open for ever.

mod checkpoint;
mod claims;
mod clock;
mod common;
mod damage;
mod dedup;
mod fixture;
mod golden;
mod history;
mod listing;
mod model;
#[path = "../value/notation.rs"]
mod notation;
mod once;
mod readers;
mod sessions;
mod timers;
mod world;
