//! Ctrl-C and SIGTERM, for commands that have processes to end before they end themselves.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::failure::Failure;

/// How often a wait looks around.
const TICK: Duration = Duration::from_millis(10);

/// Whether this program was told to stop. The default is never told.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first signal is only noted here; the second one ends the program at once.
    pub fn listen() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, or the first signal would already end the program.
            flag::register_conditional_shutdown(signal, 1, Arc::clone(&told))?;
            flag::register(signal, Arc::clone(&told))?;
        }
        Ok(Interrupt(told))
    }

    /// Whether the signal has come.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits; fails when the signal comes.
    pub fn pause(&self, time: Duration) -> Result<(), Failure> {
        self.wait_for(time, || Ok(None::<()>)).map(|_| ())
    }

    /// Waits until `look` finds something; `None`: it has not within `timeout`. Fails when the signal comes.
    pub fn wait_for<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let ends = Instant::now() + timeout;
        loop {
            if self.is_told() {
                return Err(Failure::operation("interrupted"));
            }
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(TICK));
        }
    }
}
