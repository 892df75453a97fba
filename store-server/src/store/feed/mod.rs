//! What was committed, for watches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::record::Record;
use crate::log::Origin;

/// A place in the history of a namespace, where a watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The store's incarnation.
    pub incarnation: u64,
    /// The namespace's revision.
    pub revision: u64,
    /// Sequence number in the log up to which nothing is left to tell.
    pub seq: u64,
}

/// What the bytes of a position begin with.
const POSITION_VERSION: u8 = 1;

impl Position {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(25);
        out.put_u8(POSITION_VERSION);
        for number in [self.incarnation, self.revision, self.seq] {
            out.put_u64(number);
        }
        out.freeze()
    }

    /// Reads its bytes; `None`: they are none.
    pub fn decode(mut bytes: &[u8]) -> Option<Position> {
        if bytes.len() != 25 || bytes.get_u8() != POSITION_VERSION {
            return None;
        }
        Some(Position {
            incarnation: bytes.get_u64(),
            revision: bytes.get_u64(),
            seq: bytes.get_u64(),
        })
    }
}

/// One commit.
#[derive(Debug)]
pub struct Commit {
    /// Its sequence number in the log.
    pub seq: u64,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its revision.
    pub revision: u64,
    /// Server time, in milliseconds since 1970.
    pub time_ms: u64,
    /// What made it.
    pub origin: Origin,
    /// The session that made it; empty for none.
    pub session: Arc<str>,
    /// The clients' records that it wrote, by view key; none: deleted.
    pub changes: Vec<(Bytes, Option<Record>)>,
}

/// Where watches hear of commits. Only those that are durable and readable are told.
#[derive(Debug, Default)]
pub struct Feed {
    watches: AtomicUsize,
    told_seq: AtomicU64,
}

impl Feed {
    /// A feed of a log that ends with `last_seq`.
    pub fn new(last_seq: u64) -> Feed {
        Feed {
            watches: AtomicUsize::new(0),
            told_seq: AtomicU64::new(last_seq),
        }
    }

    /// Whether anybody listens, so that commits are worth keeping.
    pub fn is_wanted(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }

    /// Tells of commits, in order; all up to `seq` are durable and readable.
    pub fn publish(&self, commits: Vec<Arc<Commit>>, seq: u64) {
        drop(commits);
        self.told_seq.store(seq, Ordering::Release);
    }
}
