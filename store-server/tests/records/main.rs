//! Tests of records that an operator brings back, through the ports of a server in this process.
//!
//! - `random`: random histories, restored from the log and from backups, against a model.
//! - `names`: prefixes, collections, other names. `lifetime`: records whose time is up.
//! - `owner`: who owns a record loses it, and nothing of what he sent is applied over it.
//! - `meanwhile`: records that are written while they are restored.
//! - `migrated`: records whose schema has another version since.
//! - `refused`: moments that are not covered, and stores that are not meant.

mod lifetime;
mod meanwhile;
mod migrated;
mod names;
#[path = "../value/notation.rs"]
#[expect(dead_code, reason = "shared with the tests of values, which need more")]
mod notation;
mod operator;
mod owner;
#[path = "../session/peer.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of sessions, which need more"
)]
mod peer;
mod random;
mod refused;
#[path = "../management/server.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of management, which need more"
)]
mod server;
