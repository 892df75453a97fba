//! The services: decode a request, call the store, encode the answer. Only here is tonic known.
//!
//! - [`connection`]: a connection on the data port, and the bound on their number.
//! - [`state`]: the service `StateService`.
//! - [`pipeline`]: its `Pipeline` method, the hot path.
//! - [`history`]: the commits that wrote a record.
//! - [`session`]: the service `SessionService`, and who is there.
//! - [`watch`]: the service `WatchService`.
//! - [`admin`]: the service `AdminService`.
//! - [`management`]: the service `ManagementService`.
//! - [`backup`]: the service `BackupService`.
//! - [`migration`]: the service `MigrationService`.

pub mod admin;
pub mod backup;
pub mod connection;
pub mod history;
pub mod management;
pub mod migration;
pub mod pipeline;
pub mod session;
pub mod state;
pub mod watch;

use std::sync::atomic::{AtomicU64, Ordering};

use tonic::{Request, transport::server::UdsConnectInfo};

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

/// Who is at the other end, as the system says.
fn peer<T>(request: &Request<T>) -> String {
    let credentials =
        (request.extensions().get::<UdsConnectInfo>()).and_then(|info| info.peer_cred);
    match credentials.map(|peer| (peer.uid(), peer.pid())) {
        Some((uid, Some(pid))) => format!("uid {uid}, pid {pid}"),
        Some((uid, None)) => format!("uid {uid}"),
        None => "unknown".into(),
    }
}
