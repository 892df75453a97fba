//! What was committed, for watches.
//!
//! A watch is a [`Position`]; it reads on from there at its own pace, and costs the writer nothing. Where it reads depends
//! on how far behind it is:
//!
//! ```text
//!     removed │ the log's segments on disk      │ the ring: recent commits, in memory
//!  ───────────┼─────────────────────────────────┼──────────────────────────────────────▶ told_seq
//!    resync   │ `Watch::read_log`, in portions  │ `Watch::read_recent`
//! ```
//!
//! Nothing is told before it is durable and readable. The ring is filled only while there are watches, and is bounded; what
//! is not in it is read from the log, so it need not be whole. A watch whose place was removed from the log gets the
//! state anew ([`Pages`]).
//!
//! # Layout
//!
//! - `position`: places in the history, as clients keep them. `commit`: one commit.
//! - `ring`: recent commits in memory. `revisions`: where in the log a revision is.
//! - `filter`: what a watch wants to hear of.
//! - `watch`: one watch, as it reads. `start`: where it begins. `pages`: the state, page by page.
//! - `hold`: the log is kept for a backup that reads it.

mod commit;
mod filter;
mod hold;
mod pages;
mod position;
mod revisions;
mod ring;
mod start;
mod watch;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch as bell};

pub use self::{
    commit::Commit,
    hold::Hold,
    pages::{Page, Pages},
    position::Position,
    watch::{Gap, Recent, Tell, Watch},
};
use self::{revisions::Revisions, ring::Ring};
use crate::log::{Segments, reader::ReadError};

/// Where watches hear of commits. Only those that are durable and readable are told.
#[derive(Debug)]
pub struct Feed {
    watches: AtomicUsize,
    told_seq: AtomicU64,
    ring: RwLock<Ring>,
    /// Tells the herald that there is something new.
    news: Notify,
    bell: bell::Sender<()>,
    /// How far each watch and each hold has read.
    places: Mutex<HashMap<u64, Arc<AtomicU64>>>,
    next_place: AtomicU64,
    revisions: Revisions,
}

impl Feed {
    /// A feed of a log that ends with `last_seq`.
    pub fn new(last_seq: u64) -> Feed {
        Feed {
            watches: AtomicUsize::new(0),
            told_seq: AtomicU64::new(last_seq),
            ring: RwLock::default(),
            news: Notify::new(),
            bell: bell::Sender::new(()),
            places: Mutex::default(),
            next_place: AtomicU64::new(0),
            revisions: Revisions::default(),
        }
    }

    /// Whether anybody listens, so that commits are worth keeping.
    pub fn is_wanted(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }

    /// Tells of commits, in order; all up to `seq` are durable and readable. Wakes one task only, however many watches
    /// there are.
    pub fn publish(&self, commits: Vec<Arc<Commit>>, seq: u64) {
        if !commits.is_empty() {
            self.ring.write().extend(commits);
        }
        self.told_seq.store(seq, Ordering::Release);
        if self.is_wanted() {
            self.news.notify_one();
        }
    }

    /// Wakes the watches whenever there is something new, until it is dropped. Without it they are not woken.
    pub async fn herald(&self) {
        loop {
            self.news.notified().await;
            self.bell.send_replace(());
        }
    }

    /// Rings when there may be something new. Mark it as seen before looking.
    pub fn bell(&self) -> bell::Receiver<()> {
        self.bell.subscribe()
    }

    /// Sequence number up to which everything may be told.
    pub fn told_seq(&self) -> u64 {
        self.told_seq.load(Ordering::Acquire)
    }

    /// Sequence number up to which every watch and hold has read; `u64::MAX`: there is none.
    pub fn read_seq(&self) -> u64 {
        let places = self.places.lock();
        let seqs = places.values().map(|place| place.load(Ordering::Relaxed));
        seqs.min().unwrap_or(u64::MAX)
    }

    /// The sequence number of a revision, at most `last_seq`; `None`: the log does not have it. Reads files.
    pub fn seq_of(
        &self,
        segments: &Segments,
        last_seq: u64,
        namespace: &str,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        self.revisions.find(segments, last_seq, namespace, revision)
    }

    /// The log is kept from one place more on.
    fn hold(&self, seq: u64) -> (u64, Arc<AtomicU64>) {
        let id = self.next_place.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(AtomicU64::new(seq));
        self.places.lock().insert(id, place.clone());
        (id, place)
    }

    /// The log need not be kept for a place any more.
    fn release(&self, id: u64) {
        self.places.lock().remove(&id);
    }

    /// Commits are kept for one watch more.
    fn enter(&self, seq: u64) -> (u64, Arc<AtomicU64>) {
        let held = self.hold(seq);
        self.watches.fetch_add(1, Ordering::Relaxed);
        held
    }

    /// A watch is over.
    fn leave(&self, id: u64) {
        self.release(id);
        if self.watches.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.ring.write().clear();
        }
    }
}
