//! The store: its rules, its one writer, its view.
//!
//! # Layout, in the order a write meets it
//!
//! - `request`: what comes in and goes out.
//! - `validate`: what an operation must be like.
//! - `shared`: the queue to the writer, the gate, counters.
//! - `writer`: the one writer; `due`: what it does by itself.
//! - `dedup`: the table of answers, for writes that are sent again.
//! - `evaluate`: what each operation does, to a `draft` of the state.
//! - `view`: what is readable; `applier` brings it into the engine, in front of which is a `cache`.
//! - `read`: how reads are answered.
//! - `expiry`, `checkpoint`: what is done in between.
//! - `datadir`, `open`, `repair`: the way from a directory to a store.
//! - `thread`: the store's own threads.
//! - `keys`, `record`: what the view's bytes mean.

mod applier;
mod cache;
mod checkpoint;
mod datadir;
mod dedup;
mod draft;
mod due;
mod evaluate;
mod expiry;
mod handle;
mod keys;
mod open;
mod read;
mod record;
pub mod repair;
pub mod request;
mod shared;
mod thread;
mod validate;
mod view;
mod writer;

pub use datadir::DataDirError;
pub use handle::{Reader, Status, Store};
pub use open::OpenError;
