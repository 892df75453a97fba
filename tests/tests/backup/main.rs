//! Backups of real servers and what is restored from them, by the built program.
//!
//! - `killed`: server or command killed at random moments of a backup, a restore, a checkpoint.
//! - `bucket`: all of it in a bucket, which a stand-in from the registry plays, and a bucket that fails.
//! - `disk`: files that cannot be written.
//!
//! `bank` is what the stores have, `place` where their backups are.

mod bank;
mod bucket;
mod disk;
mod killed;
mod place;
mod wire;
