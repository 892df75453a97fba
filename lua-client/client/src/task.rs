//! How the runtime's tasks wait for the ledger.

use std::{future::poll_fn, task::Poll};

use crate::{
    driver::Shared,
    ledger::{Ledger, Want},
};

impl Shared {
    /// Waits until `ready` gives something; looks again whenever `want` is met.
    pub async fn until<T>(&self, want: Want, mut ready: impl FnMut(&mut Ledger) -> Option<T>) -> T {
        let mut waiting = Waiting {
            shared: self,
            ticket: 0,
        };
        poll_fn(|cx| {
            let mut ledger = self.ledger.lock();
            if let Some(out) = ready(&mut ledger) {
                return Poll::Ready(out);
            }
            waiting.ticket = ledger.waiters.enter(waiting.ticket, want, cx.waker());
            Poll::Pending
        })
        .await
    }
}

/// Leaves the waiters, even if the task is ended.
struct Waiting<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.ledger.lock().waiters.leave(self.ticket);
    }
}
