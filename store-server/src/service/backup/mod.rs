//! Backups, labelled moments and the history of records: the service `BackupService`.
//!
//! - [`api`]: the service.
//! - `create`: the one backup that may be under way. `answer`: what is told of it.
//! - `history`: the commits that wrote a record.

mod answer;
pub mod api;
mod create;
mod history;
