//! Backups, labelled moments and the history of records: the service `BackupService`.
//!
//! - [`api`]: the service.
//! - `turn`: the one job that may be under way.
//! - `create`: a backup that the server writes. `pull`: one whose files the caller stores. `answer`: what is told of them.
//! - `asked`: what requests leave to the settings.
//! - [`schedule`]: what the server does by itself, and what is wrong with it.
//! - `restore_store`: the whole store, back to a moment. `restore_records`: some records. `restoring`: what both have.
//! - `history`: the commits that wrote a record.
//! - [`audit`]: who asked for a job, and how it ended.

mod answer;
pub mod api;
mod asked;
pub mod audit;
mod create;
mod history;
mod pull;
mod restore_records;
mod restore_store;
mod restoring;
pub mod schedule;
mod turn;

pub use restore_store::Replacement;
pub use turn::Backups;
