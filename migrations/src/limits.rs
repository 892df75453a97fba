//! What a script may use, and how large a document may be.

use std::time::Duration;

use crate::sandbox::processor_time;

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

/// What all calls for one piece of work may use together, be they many: somebody waits for it. Each call has its [`Limits`]
/// besides.
///
/// The store's one writer gives [`Allowance::of_a_write`] to every write, and commits what it has done before others that need
/// scripts take long together. What reads the store, and the job that rewrites records, have none: nobody waits for those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    whole: Whole,
    pub(crate) steps_left: u64,
    time_left: Duration,
}

/// How much an allowance was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Steps of work, as in [`Limits::steps`].
    pub steps: u64,
    /// Processor time of the thread, with reading and writing the documents.
    pub time: Duration,
}

impl Allowance {
    /// Steps of work, and processor time.
    pub fn new(steps: u64, time: Duration) -> Allowance {
        Allowance {
            whole: Whole { steps, time },
            steps_left: steps,
            time_left: time,
        }
    }

    /// That of one write, be it a transaction of many operations: 10 million steps of work, as much as a single call may do,
    /// and one second of processor time.
    pub fn of_a_write() -> Allowance {
        Allowance::new(10_000_000, Duration::from_secs(1))
    }

    /// Processor time that was used of it.
    pub fn used(&self) -> Duration {
        self.whole.time.saturating_sub(self.time_left)
    }

    /// Takes the processor time from it that something beside the scripts' functions takes, as loading them does. What is
    /// begun is done, be it too much.
    pub fn charge<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let begun = processor_time();
        let done = run();
        let taken = processor_time().saturating_sub(begun);
        self.time_left = self.time_left.saturating_sub(taken);
        done
    }

    /// How much it was.
    pub(crate) fn whole(&self) -> Whole {
        self.whole
    }

    /// When it is used up, by the processor time of this thread; `None`: it is.
    pub(crate) fn end(&self) -> Option<Duration> {
        let is_left = self.steps_left > 0 && !self.time_left.is_zero();
        is_left.then(|| processor_time() + self.time_left)
    }

    /// Takes note of what is left.
    pub(crate) fn leave(&mut self, steps_left: u64, end: Duration) {
        self.steps_left = steps_left;
        self.time_left = end.saturating_sub(processor_time());
    }
}
