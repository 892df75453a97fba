//! The server's time: one clock for all of it, which never runs backwards.
//!
//! It follows the wall clock when that is set forward. When that is set back, it runs on from where it was, until the server
//! is started anew: what is to happen after a time happens after that time.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock {
    since: Instant::now(),
    began_us: AtomicU64::new(0),
});

struct Clock {
    since: Instant,
    /// When `since` was, in microseconds since 1970.
    began_us: AtomicU64,
}

/// Server time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    // In this order: a pause in between makes `began_us` too small for once, which has no effect.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_us = wall.map_or(0, |wall| wall.as_micros() as u64);
    CLOCK.read(wall_us, CLOCK.since.elapsed().as_micros() as u64) / 1000
}

impl Clock {
    /// The time, when the wall clock shows `wall_us`, `ran_us` after `since`.
    fn read(&self, wall_us: u64, ran_us: u64) -> u64 {
        let began_us = wall_us.saturating_sub(ran_us);
        let before_us = self.began_us.fetch_max(began_us, Ordering::Relaxed);
        ran_us + began_us.max(before_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_wall_clock_forward_and_runs_on_when_that_is_set_back() {
        let clock = Clock {
            since: Instant::now(),
            began_us: AtomicU64::new(0),
        };
        for (wall_us, ran_us, time_us) in [
            (1_000, 10, 1_000),
            (1_090, 100, 1_090),
            // Set forward.
            (9_000, 200, 9_000),
            // Set back: half an hour or to before 1970.
            (3_000, 300, 9_100),
            (0, 400, 9_200),
            (3_200, 500, 9_300),
            // It has caught up.
            (9_500, 600, 9_500),
        ] {
            assert_eq!(clock.read(wall_us, ran_us), time_us, "after {ran_us}");
        }
    }
}
