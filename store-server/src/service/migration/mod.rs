//! Migrations: the service `MigrationService`, and the job that rewrites records.
//!
//! - [`api`]: the service.
//! - `name`: a collection of a namespace. `migrations`: what the parts have in common.
//! - `publish`: scripts get into the store.
//! - `course`: from which version to which, and who could not go on. `targets`: which collections a request means.
//! - `moving`: applying and rolling back: sessions are waited for, a label is set, the version counts.
//! - [`job`]: the records are rewritten in the background.
//! - `control`: pause, resume, finish.
//! - `status`: how it goes, and `follow`: as it goes. `quarantine`: what could not be migrated.
//! - `dry_run`: what a migration would do.

pub mod api;
mod control;
mod course;
mod dry_run;
mod follow;
pub mod job;
mod migrations;
mod moving;
mod name;
mod publish;
mod quarantine;
mod status;
mod targets;

pub use migrations::Migrations;
