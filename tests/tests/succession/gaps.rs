//! Gaps in service: from the last answer of a process to the first answer of its successor, without what the system needs
//! to start a program (from the order to start it to the first line of its script).
//!
//! An answer is an acknowledged trade. Of a process that was killed before it had one, no gap is counted.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};

/// One gap.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// From answer to answer, in seconds.
    pub answers: f64,
    /// The part of it in which the program started, in seconds.
    pub start: f64,
}

/// Many of them.
#[derive(Debug)]
pub struct Gaps {
    /// In milliseconds, the shortest first.
    service: Vec<f64>,
    starts: Vec<f64>,
}

impl FromIterator<Gap> for Gaps {
    fn from_iter<I: IntoIterator<Item = Gap>>(gaps: I) -> Gaps {
        let sorted = |gaps: Vec<f64>| {
            let mut gaps = gaps;
            gaps.sort_by(f64::total_cmp);
            gaps
        };
        let (service, starts) = gaps
            .into_iter()
            .map(|gap| ((gap.answers - gap.start) * 1e3, gap.start * 1e3))
            .unzip();
        Gaps {
            service: sorted(service),
            starts: sorted(starts),
        }
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |gaps: &[f64], quantile: f64| {
            let last = gaps.len().saturating_sub(1) as f64;
            gaps.get((last * quantile) as usize).copied().unwrap_or(0.0)
        };
        write!(
            f,
            "{} gaps in service: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; and to start a program: p50 {:.1} ms, \
             p99 {:.1} ms",
            self.service.len(),
            at(&self.service, 0.5),
            at(&self.service, 0.99),
            at(&self.service, 1.0),
            at(&self.starts, 0.5),
            at(&self.starts, 0.99),
        )
    }
}

/// The clock that the traders tell the time by, in seconds.
pub fn now() -> f64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
