//! A value that threads and tasks share, and that a test can wait for.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

/// How long a test waits for what has to come: long enough for the slowest machine.
pub const LONG: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let out = change(&mut self.value.lock().unwrap());
        self.changed.notify_all();
        out
    }

    /// Waits until `ready` gives something.
    pub fn wait<R>(&self, what: &str, mut ready: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut out = None;
        let value = self.value.lock().unwrap();
        let waited = self.changed.wait_timeout_while(value, LONG, |value| {
            out = ready(value);
            out.is_none()
        });
        drop(waited);
        out.unwrap_or_else(|| panic!("{what} never came"))
    }
}
