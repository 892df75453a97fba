//! What a script may use, and how large a document may be.

use std::time::Duration;

/// The bounds on one call of a script's function, and on what it makes. What happens at each bound is a [`Fault`](crate::Fault)
/// of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of work: an instruction of Lua is one, and what is done in C is counted by its size. (`Loop`)
    pub steps: u64,
    /// Processor time of the thread. It is only there for work that hides within single instructions. (`Slow`)
    pub time: Duration,
    /// Memory of the Lua state, with everything that is loaded. (`Memory`)
    pub memory_bytes: usize,
    /// Bytes of a document: the store's `limits.value_bytes`. (`TooLarge`)
    pub value_bytes: usize,
    /// Levels of nesting of a document: the store's `limits.nesting`. (`TooLarge`)
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            steps: 10_000_000,
            time: Duration::from_secs(2),
            memory_bytes: 128 << 20,
            value_bytes: 1 << 20,
            nesting: stillpoint_value::NESTING_DEFAULT,
        }
    }
}

impl Limits {
    /// Those of a document, for whoever writes it.
    pub(crate) fn of_values(&self) -> stillpoint_value::Limits {
        stillpoint_value::Limits {
            bytes: self.value_bytes,
            nesting: self.nesting.min(stillpoint_value::NESTING_MAX),
        }
    }
}
