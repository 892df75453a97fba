//! Which firing of a timer was told to whom.
//!
//! A firing that is due and was told to nobody who is still there is told to the owner of its record, or, without one, to
//! the instance of its service that has been there longest. That a firing is consumed, the store says by changing the timer.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::SessionKey;

/// Firings told, and records that are waited for to have an owner.
#[derive(Debug, Default)]
pub struct Timers {
    /// By view key of the timer.
    told: HashMap<Bytes, Told>,
    by_session: HashMap<SessionKey, HashSet<Bytes>>,
    /// View keys of records whose owner matters to a timer that is due.
    owners: HashSet<Bytes>,
}

#[derive(Debug)]
struct Told {
    due_ms: u64,
    to: SessionKey,
    owner: Option<Bytes>,
}

/// Firings that a session may have been told and not consumed.
const TOLD_MAX: usize = 256;

impl Timers {
    /// Whether this firing is somebody's business already.
    pub fn is_told(&self, timer: &Bytes, due_ms: u64) -> bool {
        self.told
            .get(timer)
            .is_some_and(|told| told.due_ms == due_ms)
    }

    /// Whether a session may be told of one more.
    pub fn has_room(&self, session: &SessionKey) -> bool {
        self.by_session
            .get(session)
            .is_none_or(|timers| timers.len() < TOLD_MAX)
    }

    /// The owner of a record matters.
    pub fn wait_for_owner(&mut self, record: &Bytes) {
        self.owners.insert(record.clone());
    }

    /// A session was told.
    pub fn tell(&mut self, timer: &Bytes, due_ms: u64, owner: Option<Bytes>, to: SessionKey) {
        self.forget(timer);
        if let Some(owner) = &owner {
            self.owners.insert(owner.clone());
        }
        self.by_session
            .entry(to.clone())
            .or_default()
            .insert(timer.clone());
        self.told.insert(timer.clone(), Told { due_ms, to, owner });
    }

    /// A timer has changed: what was told of it counts no more.
    pub fn forget(&mut self, timer: &Bytes) {
        let Some(told) = self.told.remove(timer) else {
            return;
        };
        if let Some(timers) = self.by_session.get_mut(&told.to) {
            timers.remove(timer);
            if timers.is_empty() {
                self.by_session.remove(&told.to);
            }
        }
    }

    /// A session's holder is there no more: what it was told is told to another.
    pub fn left(&mut self, session: &SessionKey) {
        for timer in self.by_session.remove(session).unwrap_or_default() {
            self.told.remove(&timer);
        }
    }

    /// A record has another owner.
    pub fn owner_moved(&mut self, record: &Bytes) {
        if !self.owners.remove(record) {
            return;
        }
        let told = self
            .told
            .iter()
            .filter(|(_, told)| told.owner.as_ref() == Some(record));
        let timers: Vec<_> = told.map(|(timer, _)| timer.clone()).collect();
        for timer in &timers {
            self.forget(timer);
        }
    }
}
