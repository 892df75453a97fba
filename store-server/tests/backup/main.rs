//! Tests of backups as a library: what is restored is what was there.
//!
//! - `bank`: forty backups taken while gold is moved about; each is restored, opened, and has all of the gold.
//! - `full`: full backups of small and of large stores.
//! - `moment`: chains of backups of a random history, restored to a hundred random moments, against a model.
//! - `damage`: files that are damaged, missing, exchanged, of another store; targets that do not answer.
//! - `interrupted`: backups and restores that fail or are given up at every one of their steps.
//! - `live`: a running store is replaced while its server stops, or cannot be.
//! - `encrypted`: with a key, and without it.
//! - `pull`: pulled from a server, and cut off at any place.
//! - `checkpoint`: the one in the data directory is a backup, too.
//! - `expire`: which backups stay.
//! - `schedule`: what the server does by itself, and what it raises alarms about.

mod bank;
mod checkpoint;
#[path = "../store/common.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the store, which need more"
)]
mod common;
mod damage;
mod encrypted;
mod expire;
mod full;
mod interrupted;
mod live;
mod moment;
#[path = "../value/notation.rs"]
#[expect(dead_code, reason = "shared with the tests of values, which need more")]
mod notation;
mod pull;
mod schedule;
#[path = "../management/server.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of management, which need more"
)]
mod server;
mod world;
