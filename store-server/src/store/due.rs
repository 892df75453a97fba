//! When the writer has something to do that nobody asks for.

use std::time::{Duration, Instant};

use super::clock::now_ms;

/// What is to be done, and when.
#[derive(Debug)]
pub struct Due {
    /// APPLIED writes are to be synced.
    pub sync: Option<Instant>,
    /// What was published is to be handed to the applier.
    pub freeze: Option<Instant>,
    /// The housekeeping is to be done.
    pub housekeeping: Instant,
    /// The next record expires, in milliseconds since 1970.
    pub expiry_ms: Option<u64>,
    /// But nothing is expired before this time, so that many lifetimes end in one commit.
    pub expire_from_ms: u64,
}

/// The wall clock may be set: look at it again after this time at the latest.
const EXPIRY_WAIT_MAX: Duration = Duration::from_secs(60);

impl Due {
    /// At the start: look after everything at once.
    pub fn at_start() -> Due {
        Due {
            sync: None,
            freeze: None,
            housekeeping: Instant::now(),
            expiry_ms: Some(0),
            expire_from_ms: 0,
        }
    }

    /// When the next record is to be expired, in milliseconds since 1970.
    pub fn expiry(&self) -> Option<u64> {
        Some(self.expiry_ms?.max(self.expire_from_ms))
    }

    /// A record expires then.
    pub fn expires(&mut self, at_ms: u64) {
        self.expiry_ms = Some(self.expiry_ms.map_or(at_ms, |due| due.min(at_ms)));
    }

    /// When the first of all is due.
    pub fn first(&self) -> Instant {
        let expiry = self.expiry().map(|due_ms| {
            let wait = Duration::from_millis(due_ms.saturating_sub(now_ms()));
            Instant::now() + wait.min(EXPIRY_WAIT_MAX)
        });
        [self.sync, self.freeze, expiry]
            .into_iter()
            .flatten()
            .fold(self.housekeeping, Instant::min)
    }
}
