//! No faster than it may be.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bounds how fast bytes are read, on the average since it was made.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    bytes_per_second: u64,
}

impl Pace {
    /// So many bytes a second; 0: no limit.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace {
            begun: Instant::now(),
            bytes_per_second,
        }
    }

    /// Waits until so many bytes, since the beginning, are not too many.
    pub async fn keep(&self, bytes: u64) {
        if self.bytes_per_second > 0 {
            let due = bytes as f64 / self.bytes_per_second as f64;
            if let Ok(due) = Duration::try_from_secs_f64(due) {
                sleep_until(self.begun + due).await;
            }
        }
    }
}
