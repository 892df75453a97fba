//! A hold on the log: what is behind its place is kept as long as it lives, within the same bounds as for a watch.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::store::shared::Shared;

/// A place behind which the log is kept.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    id: u64,
    place: Arc<AtomicU64>,
}

impl Hold {
    /// Holds what comes after `seq`.
    pub fn new(shared: Arc<Shared>, seq: u64) -> Hold {
        let (id, place) = shared.feed.hold(seq);
        Hold { shared, id, place }
    }

    /// Lets go of everything up to `seq`.
    pub fn move_to(&self, seq: u64) {
        self.place.store(seq, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.feed.release(self.id);
    }
}
