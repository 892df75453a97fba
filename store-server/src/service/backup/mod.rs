//! Backups, labelled moments and the history of records: the service `BackupService`.
//!
//! - [`api`]: the service.
//! - `create`: the one backup that may be under way. `pull`: one whose files the caller stores. `answer`: what is told of them.
//! - [`schedule`]: what the server does by itself, and what is wrong with it.
//! - `restore_store`: the whole store, back to a moment. `restore_records`: some records.
//! - `history`: the commits that wrote a record.

mod answer;
pub mod api;
mod create;
mod history;
mod pull;
mod restore_records;
mod restore_store;
pub mod schedule;

pub use create::Backups;
