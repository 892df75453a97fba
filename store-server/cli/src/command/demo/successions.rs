//! How processes were succeeded, and how long nobody answered in their place.

use std::fmt;

use rmpv::Value;

use crate::record::object;

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// By itself, leaving its session to a successor.
    Planned,
    /// With SIGKILL.
    Killed,
}

/// All successions.
#[derive(Clone, Debug, Default)]
pub struct Successions {
    planned: Kind,
    killed: Kind,
}

/// Those of one kind.
#[derive(Clone, Debug, Default)]
struct Kind {
    count: u64,
    /// From the last answer of a process to the first of its successor, in seconds.
    gaps: Vec<f64>,
}

impl Successions {
    /// A process has got the session of another.
    pub fn count(&mut self, how: How) {
        self.of(how).count += 1;
    }

    /// It has had its first answer, so many seconds after the last one of the other.
    pub fn note_gap(&mut self, how: How, seconds: f64) {
        self.of(how).gaps.push(seconds);
    }

    /// After planned restarts, and after kills.
    pub fn counts(&self) -> (u64, u64) {
        (self.planned.count, self.killed.count)
    }

    /// For programs.
    pub fn to_value(&self) -> Value {
        object([
            ("planned", self.planned.to_value()),
            ("killed", self.killed.to_value()),
        ])
    }

    fn of(&mut self, how: How) -> &mut Kind {
        match how {
            How::Planned => &mut self.planned,
            How::Killed => &mut self.killed,
        }
    }
}

/// For people: two lines.
impl fmt::Display for Successions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "succeeded {} planned restarts: {}",
            self.planned.count, self.planned
        )?;
        write!(f, "          {} kills: {}", self.killed.count, self.killed)
    }
}

impl Kind {
    /// A gap that this share of them does not exceed, in milliseconds; 0 if there is none.
    fn gap_ms(&self, quantile: f64) -> f64 {
        let mut gaps = self.gaps.clone();
        gaps.sort_by(f64::total_cmp);
        let last = gaps.len().saturating_sub(1) as f64;
        let at = (last * quantile).ceil() as usize;
        gaps.get(at).map_or(0.0, |seconds| seconds * 1e3)
    }

    fn to_value(&self) -> Value {
        object([
            ("count", self.count.into()),
            ("gaps", self.gaps.len().into()),
            ("gap_p50_ms", self.gap_ms(0.5).into()),
            ("gap_p99_ms", self.gap_ms(0.99).into()),
            ("gap_longest_ms", self.gap_ms(1.0).into()),
        ])
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "from answer to answer {:.0} ms (p50), {:.0} ms (p99), {:.0} ms (longest)",
            self.gap_ms(0.5),
            self.gap_ms(0.99),
            self.gap_ms(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_by_their_rank() {
        let mut successions = Successions::default();
        for ms in (1..=100).rev() {
            successions.note_gap(How::Planned, f64::from(ms) / 1e3);
        }
        let told = successions.planned.to_string();
        assert_eq!(
            told,
            "from answer to answer 51 ms (p50), 100 ms (p99), 100 ms (longest)"
        );
    }
}
