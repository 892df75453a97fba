//! What there is to tell: completions and events, and the signal that says so.

use std::io;

use super::{Ledger, Want};
use crate::{Event, signal::Signal};

impl Ledger {
    /// How much there is to tell: completions for `next`, events for `event`.
    pub fn news(&self) -> usize {
        self.untold_count + self.events.len()
    }

    /// One more event to tell.
    pub fn tell(&mut self, event: Event) {
        self.with_signal(|ledger| ledger.events.push(event));
        if self.news() > 0 {
            self.waiters.wake(|want| want == Want::News);
        }
    }

    /// The next event to tell. From the first call on they are kept.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.want();
        let was_full = self.events.is_full();
        let event = self.with_signal(|ledger| ledger.events.pop())?;
        if was_full
            && !self.events.is_full()
            && let Some(held) = &mut self.session
        {
            held.wake_control();
        }
        Some(event)
    }

    /// A watch has nothing to take any more.
    pub fn untell_watch(&mut self, id: u64) {
        self.with_signal(|ledger| ledger.events.withdraw(id));
    }

    /// The signal, made at first use.
    pub fn signal(&mut self) -> io::Result<&Signal> {
        if self.signal.is_none() {
            let signal = Signal::new()?;
            if self.news() > 0 {
                signal.raise();
            }
            self.signal = Some(signal);
        }
        self.signal
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes what there is to tell, and the signal with it.
    pub fn with_signal<T>(&mut self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let before = self.news();
        let out = change(self);
        if let Some(signal) = &self.signal {
            match (before, self.news()) {
                (0, 1..) => signal.raise(),
                (1.., 0) => signal.lower(),
                _ => {}
            }
        }
        out
    }
}
