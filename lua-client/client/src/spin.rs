//! Whether a waiting thread should spin for a moment before it sleeps.
//!
//! Measured over a Unix socket, a sleep and a wake-up on either side cost more than the store's answer: with client and
//! server on different processors, spinning nearly doubles the calls per second. Where the scheduler has put both on one
//! processor, or others want it, spinning costs a third instead. So it is tried: of every thousand waits of a kind a few
//! dozen sleep and a few dozen spin, and the rest do what was faster.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// Waits after which both ways are tried again.
const CYCLE: u32 = 1024;

/// Waits that each way is tried for. The scheduler takes a few to settle.
const TRIAL: u32 = 48;

/// A longer wait counts as this long, so that one stall does not decide.
const WAIT_MAX: Duration = Duration::from_millis(1);

/// What a thread waits for, as far as the length of the wait goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Read,
    Write,
    Poll,
    /// Never short.
    Long,
}

impl Wait {
    /// The wait for one operation.
    pub fn of(is_write: bool) -> Self {
        match is_write {
            true => Wait::Write,
            false => Wait::Read,
        }
    }
}

/// The length of recent waits of each kind but the long one.
#[derive(Debug)]
pub(crate) struct Waits {
    recent: [Recent; 3],
    spin_max: Duration,
}

/// Moving averages, in nanoseconds.
#[derive(Debug, Default)]
struct Recent {
    slept_ns: AtomicU32,
    spun_ns: AtomicU32,
    count: AtomicU32,
}

impl Waits {
    /// `spin_max` is the longest time to spin; zero: never.
    pub fn new(spin_max: Duration) -> Self {
        // With a single processor the server cannot run while we spin.
        let has_processors = thread::available_parallelism().is_ok_and(|n| n.get() > 1);
        Waits {
            recent: Default::default(),
            spin_max: match has_processors {
                true => spin_max,
                false => Duration::ZERO,
            },
        }
    }

    /// How long the wait that begins now should spin, if at all.
    pub fn spin(&self, wait: Wait) -> Option<Duration> {
        let recent = self.recent.get(wait as usize)?;
        let nth = recent.count.fetch_add(1, Ordering::Relaxed) % CYCLE;
        let slept_ns = recent.slept_ns.load(Ordering::Relaxed);
        if Duration::from_nanos(slept_ns.into()) >= self.spin_max {
            return None;
        }
        let spins = match nth / TRIAL {
            0 => false,
            1 => true,
            _ => recent.spun_ns.load(Ordering::Relaxed) < slept_ns,
        };
        spins.then_some(self.spin_max)
    }

    /// A wait is over.
    pub fn record(&self, wait: Wait, spun: bool, took: Duration) {
        let Some(recent) = self.recent.get(wait as usize) else {
            return;
        };
        let average = match spun {
            true => &recent.spun_ns,
            false => &recent.slept_ns,
        };
        let took_ns = took.min(WAIT_MAX).as_nanos() as u32;
        let before = average.load(Ordering::Relaxed);
        let after = match before {
            0 => took_ns,
            _ => (before * 7 + took_ns) / 8,
        };
        average.store(after, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(80);

    /// How many of a cycle's waits spin, where waits take so long.
    fn spins(slept_us: u64, spun_us: u64) -> u32 {
        let waits = Waits {
            recent: Default::default(),
            spin_max: MAX,
        };
        (0..CYCLE)
            .map(|_| {
                let spun = waits.spin(Wait::Read).is_some();
                let took_us = if spun { spun_us } else { slept_us };
                waits.record(Wait::Read, spun, Duration::from_micros(took_us));
                u32::from(spun)
            })
            .sum()
    }

    #[test]
    fn the_faster_way_is_taken_after_a_trial_of_both() {
        assert_eq!(spins(60, 30), CYCLE - TRIAL);
        assert_eq!(spins(20, 30), TRIAL);
    }

    #[test]
    fn long_waits_never_spin() {
        assert_eq!(spins(300, 30), 0);
        let waits = Waits::new(MAX);
        assert_eq!(waits.spin(Wait::Long), None);
    }

    #[test]
    fn zero_switches_spinning_off() {
        let waits = Waits::new(Duration::ZERO);
        assert!((0..CYCLE).all(|_| waits.spin(Wait::Read).is_none()));
    }
}
