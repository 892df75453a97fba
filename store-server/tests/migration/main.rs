//! Tests of migrations through the ports of a server in this process.
//!
//! - `publish`: scripts get into the store, or are refused.
//! - `apply`: the version counts at once, and the records follow; pauses, restarts.
//! - `sessions`: who is waited for, and who goes on.
//! - `back`: the way back, by scripts and from the history. `finish`: no way back.
//! - `bad`: records that cannot be migrated.
//! - `dry`: what is foretold is what comes.
//! - `any`: scripts of all namespaces.

mod any;
mod apply;
mod back;
mod bad;
mod dry;
mod finish;
#[path = "../value/notation.rs"]
#[expect(dead_code, reason = "shared with the tests of values, which need more")]
mod notation;
#[path = "../session/peer.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of sessions, which need more"
)]
mod peer;
mod publish;
#[path = "../management/server.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of management, which need more"
)]
mod server;
mod sessions;
mod world;
