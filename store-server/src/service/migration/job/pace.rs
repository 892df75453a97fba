//! No faster than it may be: so many records per second, and no more than a third of one processor for a collection's scripts.

use std::time::{Duration, Instant};

/// Most records of a portion.
const RECORDS_MAX: u64 = 256;

/// Portions per second at least, so that a slow job does not move in jerks.
const PORTIONS_PER_SECOND: u64 = 8;

/// Most records whose past is looked up at once ...
const REMEMBERED_MAX: u64 = 8192;

/// ... which are those of so many seconds.
const REMEMBERED_SECONDS: u64 = 10;

/// The job rests so many times as long as it worked.
const REST_PER_WORK: u32 = 2;

/// It never rests longer for having looked into the log: reading all of it once is no reason to stand still.
const LOOK_REST_MAX: Duration = Duration::from_millis(500);

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

    /// Most records whose past is looked up at once: others wait until all of those are rewritten.
    pub fn remembered(&self) -> usize {
        let records = self.records_per_second.saturating_mul(REMEMBERED_SECONDS);
        records.clamp(1, REMEMBERED_MAX) as usize
    }

    /// When the next of those that share the pace may begin, after one of so many records.
    pub fn due(&self, records: usize) -> Instant {
        self.begun + Duration::from_secs_f64(records as f64 / self.records_per_second as f64)
    }
}

/// How long the job rests after so much work, and after it has looked into the log for so long besides.
pub fn rest(worked: Duration, looked: Duration) -> Duration {
    worked * REST_PER_WORK + (looked * REST_PER_WORK).min(LOOK_REST_MAX)
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
    fn who_is_slow_looks_up_little() {
        for (rate, records) in [(1, 10), (100, 1000), (10_000, 8192), (u64::MAX, 8192)] {
            assert_eq!(Pace::begin(rate).remembered(), records, "{rate}");
        }
    }

    #[test]
    fn a_slow_rate_is_waited_for() {
        let pace = Pace::begin(1000);
        assert_eq!(pace.due(100) - pace.begun, 100 * MS);
    }

    #[test]
    fn work_is_followed_by_twice_the_rest_however_slow_the_scripts_are() {
        assert_eq!(rest(5 * MS, Duration::ZERO), 10 * MS);
        assert_eq!(rest(900 * MS, Duration::ZERO), 1800 * MS);
        assert_eq!(rest(5 * MS, 9000 * MS), 10 * MS + LOOK_REST_MAX);
    }
}
