//! Migrations of records, apart from any store: what is done with records that somebody hands in.
//!
//! - [`dry_run`]: what a migration would make of records, and what would fail.

pub mod dry_run;
