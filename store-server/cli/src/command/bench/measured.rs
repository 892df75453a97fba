//! What a cell came to.

use std::time::Duration;

use hdrhistogram::Histogram;
use stillpoint_client::AdminClient;

use crate::failure::Failure;

/// Latencies, in nanoseconds.
pub type Latencies = Histogram<u64>;

/// Longest latency told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// No latencies yet.
pub fn latencies() -> Latencies {
    let mut latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("valid bounds");
    latencies.auto(true);
    latencies
}

/// One round of a cell.
#[derive(Debug)]
pub struct Measured {
    /// Of each operation; so their number, too.
    pub latencies: Latencies,
    /// How long they took together.
    pub elapsed: Duration,
    /// What the server counted meanwhile.
    pub server: Counters,
}

impl Measured {
    /// Operations per second.
    pub fn ops_per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency that this share of the operations keeps, in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Syncs of the log per commit; `None`: nothing was committed.
    pub fn syncs_per_commit(&self) -> Option<f64> {
        let Counters { syncs, commits, .. } = self.server;
        (commits > 0).then(|| syncs as f64 / commits as f64)
    }

    /// Processor time of the server per operation, in microseconds.
    pub fn server_cpu_us_per_op(&self) -> f64 {
        self.server.cpu_us as f64 / self.latencies.len().max(1) as f64
    }
}

/// What a server counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Commits.
    pub commits: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Processor time, in microseconds.
    pub cpu_us: u64,
}

impl Counters {
    /// As they are now.
    pub fn read(admin: &mut AdminClient) -> Result<Counters, Failure> {
        let counters = admin.status()?.counters.unwrap_or_default();
        Ok(Counters {
            commits: counters.commits,
            syncs: counters.syncs,
            cpu_us: counters.cpu_us,
        })
    }

    /// What came since `before`.
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            commits: self.commits.saturating_sub(before.commits),
            syncs: self.syncs.saturating_sub(before.syncs),
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
        }
    }
}
