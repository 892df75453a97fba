//! No faster than it may be: so many records per second, and no more than a third of one processor.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Most records of a portion.
const RECORDS_MAX: u64 = 256;

/// Portions per second at least, so that a slow job does not move in jerks.
const PORTIONS_PER_SECOND: u64 = 8;

/// The job rests so many times as long as it worked.
const REST_PER_WORK: u32 = 2;

/// It never rests longer for that: reading all of the log once is no reason to stand still.
const REST_MAX: Duration = Duration::from_millis(500);

/// The pace of one portion.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    begun: Instant,
    records_per_second: u64,
}

impl Pace {
    /// A portion begins, of so many records per second.
    pub fn begin(records_per_second: u64) -> Pace {
        Pace {
            begun: Instant::now(),
            records_per_second: records_per_second.max(1),
        }
    }

    /// Most records of the portion.
    pub fn records(&self) -> usize {
        (self.records_per_second / PORTIONS_PER_SECOND).clamp(1, RECORDS_MAX) as usize
    }

    /// Waits until the next may begin, after one of so many records that took so much work.
    pub async fn rest(self, worked: Duration, records: usize) {
        sleep(self.rest_of(worked, records, self.begun.elapsed())).await;
    }

    fn rest_of(self, worked: Duration, records: usize, passed: Duration) -> Duration {
        let due = Duration::from_secs_f64(records as f64 / self.records_per_second as f64);
        let for_rate = due.saturating_sub(passed);
        for_rate.max((worked * REST_PER_WORK).min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_portion_has_its_share_of_a_second() {
        for (rate, records) in [(0, 1), (7, 1), (80, 10), (100_000, 256)] {
            assert_eq!(Pace::begin(rate).records(), records, "{rate}");
        }
    }

    #[test]
    fn work_is_followed_by_twice_the_rest_and_the_rate_may_ask_for_more() {
        let pace = Pace::begin(1000);
        assert_eq!(pace.rest_of(5 * MS, 1, 6 * MS), 10 * MS);
        assert_eq!(pace.rest_of(5 * MS, 100, 6 * MS), 94 * MS);
        assert_eq!(pace.rest_of(9000 * MS, 0, 9000 * MS), REST_MAX);
    }
}
