//! Who waits for a record that another session owns: first come, first served.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use stillpoint_proto::v1::{RecordKey, ReleaseWanted};
use tokio::{sync::Notify, time::Instant};

/// A claim that waits.
#[derive(Debug)]
pub struct Waiter {
    /// Id of the session that wants the record.
    pub session: Arc<str>,
    /// Its `service/instance`.
    pub wanted_by: String,
    /// The record's name.
    pub name: RecordKey,
    /// How long it waits.
    pub until: Instant,
    /// Whether it takes the record then.
    pub steals: bool,
    /// Tells it to try.
    pub turn: Arc<Notify>,
    /// Where the record's owner was told of it last, if it was.
    pub told: Option<Told>,
}

/// Where an owner was told of a claim that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number of the owner's Attach stream.
    pub stream: u64,
    /// The revision that made it the owner.
    pub since: u64,
}

impl Waiter {
    /// What the record's owner is told.
    pub fn wish(&self, now: Instant) -> ReleaseWanted {
        ReleaseWanted {
            key: Some(self.name.clone()),
            wanted_by: self.wanted_by.clone(),
            within_ms: self.until.saturating_duration_since(now).as_millis() as u64,
            steals: self.steals,
        }
    }
}

/// All claims that wait, by view key of the record.
#[derive(Debug, Default)]
pub struct Waiters {
    queues: HashMap<Bytes, BTreeMap<u64, Waiter>>,
    last: u64,
}

impl Waiters {
    /// Adds one at the end; gives its number, and whether it is the first.
    pub fn push(&mut self, key: &Bytes, waiter: Waiter) -> (u64, bool) {
        self.last += 1;
        let queue = self.queues.entry(key.clone()).or_default();
        queue.insert(self.last, waiter);
        (self.last, queue.len() == 1)
    }

    /// Removes one; whether it was the first.
    pub fn remove(&mut self, key: &Bytes, number: u64) -> bool {
        let Some(queue) = self.queues.get_mut(key) else {
            return false;
        };
        let was_first = queue.first_key_value().map(|(first, _)| *first) == Some(number);
        queue.remove(&number);
        if queue.is_empty() {
            self.queues.remove(key);
        }
        was_first
    }

    /// Those who wait for a record, in order.
    pub fn of(&self, key: &[u8]) -> impl Iterator<Item = &Waiter> {
        self.queues.get(key).into_iter().flat_map(BTreeMap::values)
    }

    /// The same from a number on, with their numbers, to change them.
    pub fn from(&mut self, key: &[u8], number: u64) -> impl Iterator<Item = (u64, &mut Waiter)> {
        let queue = self.queues.get_mut(key);
        let rest = queue.into_iter();
        rest.flat_map(move |queue| queue.range_mut(number..))
            .map(|(number, waiter)| (*number, waiter))
    }

    /// Tells the first who waits for a record to try.
    pub fn call_first(&self, key: &[u8]) {
        if let Some(first) = self.of(key).next() {
            first.turn.notify_one();
        }
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}
