//! Who waits for what.

use std::task::Waker;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The outcome of one operation.
    Operation(u64),
    /// Any completion or event.
    News,
    /// The end of every operation.
    Idle,
    /// News of the connection or of the session: it opened, or an attempt failed.
    Link,
    /// Something to take from a watch, or its end.
    Watch(u64),
}

/// The threads and tasks that wait. Mostly one, so a list is the fastest.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Vec<Waiter>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    want: Want,
    waker: Waker,
}

impl Waiters {
    /// Enters a waiter, or renews its waker. `ticket` is 0 the first time, then what was returned.
    pub fn enter(&mut self, ticket: u64, want: Want, waker: &Waker) -> u64 {
        if let Some(waiter) = self.list.iter_mut().find(|w| w.ticket == ticket) {
            waiter.waker.clone_from(waker);
            return ticket;
        }
        self.last_ticket += 1;
        self.list.push(Waiter {
            ticket: self.last_ticket,
            want,
            waker: waker.clone(),
        });
        self.last_ticket
    }

    /// Takes a waiter out.
    pub fn leave(&mut self, ticket: u64) {
        self.list.retain(|w| w.ticket != ticket);
    }

    /// Wakes those whose want is met; they stay until they leave.
    pub fn wake(&self, mut is_met: impl FnMut(Want) -> bool) {
        for waiter in &self.list {
            if is_met(waiter.want) {
                waiter.waker.wake_by_ref();
            }
        }
    }
}
