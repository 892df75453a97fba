//! The services: decode a request, call the store, encode the answer. Only here is tonic known.
//!
//! - [`connection`]: a connection on the data port, and the bound on their number.
//! - [`state`]: the service `StateService`.
//! - [`pipeline`]: its `Pipeline` method, the hot path.
//! - [`session`]: the service `SessionService`, and who is there.
//! - [`watch`]: the service `WatchService`.
//! - [`admin`]: the service `AdminService`.
//! - [`management`]: the service `ManagementService`.

pub mod admin;
pub mod connection;
pub mod management;
pub mod pipeline;
pub mod session;
pub mod state;
pub mod watch;

use std::sync::atomic::{AtomicU64, Ordering};

/// What is going on now.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Open connections on the data port.
    pub connections: AtomicU64,
    /// Operations begun and not yet answered, on Pipelines.
    pub in_flight: AtomicU64,
    /// Open watches.
    pub watches: AtomicU64,
}

impl Gauges {
    /// The value of one of them.
    pub fn load(gauge: &AtomicU64) -> u64 {
        gauge.load(Ordering::Relaxed)
    }
}
