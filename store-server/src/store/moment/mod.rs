//! What records were like at an earlier moment, as far as the log tells it.
//!
//! A record that was not written since is as it is now. Of the others the log has the newest write at or before the moment, or
//! it does not reach back so far. The log is read from its end: first what was committed since the moment, which says what
//! records it is about, then what was before, until all of them were found.
//!
//! ```text
//!    ◀── 2. the newest write of each ──│── 1. what was written since ──│
//!  log begins                        moment                          now
//! ```
//!
//! A record that was made since then was not there, so it is not looked for.

//!
//! # Layout
//!
//! - `search`: the log, read so. `live`: the records as they are now.

mod live;
mod search;

pub(crate) use live::own_key;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};

use super::{handle::Store, history::unreadable, keys, record::Record};
use crate::{
    engine::KeyRange,
    log::{Change, Entry, reader::ReadError},
};

/// Which records of a collection.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Their namespace.
    pub namespace: String,
    /// Their collection.
    pub collection: String,
    /// Which of it.
    pub which: Which,
}

/// Which records of a collection.
#[derive(Clone, Debug)]
pub enum Which {
    /// These.
    Keys(BTreeSet<Bytes>),
    /// Those whose keys begin so; empty: all.
    Prefix(Bytes),
}

/// Records by key; none: there is none.
pub type States = BTreeMap<Bytes, Option<Record>>;

/// How much may be kept in memory of the records that were written since the moment.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records.
    pub records: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

/// How much of the log was read.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// Bytes.
    pub bytes: u64,
    /// Bytes that there are at most.
    pub bytes_total: u64,
}

/// Told from time to time how much was read; what it breaks off fails with UNAVAILABLE.
pub type Tell<'a> = &'a mut dyn FnMut(Scanned) -> ControlFlow<()>;

impl Selection {
    /// Whether it has a record.
    fn has(&self, change: &Change<'_>) -> bool {
        change.collection == self.collection
            && match &self.which {
                Which::Keys(keys) => keys.contains(change.key),
                Which::Prefix(prefix) => change.key.starts_with(prefix),
            }
    }

    /// The keys in the view of records whose keys begin like its own.
    pub fn range(&self) -> KeyRange {
        let prefix: &[u8] = match &self.which {
            Which::Keys(_) => b"",
            Which::Prefix(prefix) => prefix,
        };
        keys::scan_range(&self.namespace, &self.collection, prefix, b"", b"")
    }
}

impl Store {
    /// The commit that is a revision of a namespace; `None`: the log does not have it.
    pub(crate) fn seq_of(&self, namespace: &str, revision: u64) -> Result<Option<u64>, StoreError> {
        let found = (self.feed()).seq_of(self.segments(), self.readable_seq(), namespace, revision);
        match found {
            Err(ReadError::Removed { .. }) => Ok(None),
            found => found.map_err(|error| StoreError::new(Reason::Internal, error.to_string())),
        }
    }

    /// The newest commit before the first one after a time, in milliseconds since 1970; 0: there is none. `None`: the log does
    /// not reach back so far.
    pub(crate) fn seq_at(&self, time_ms: u64) -> Result<Option<u64>, StoreError> {
        let last_seq = self.readable_seq();
        let segments = self.segments().snapshot();
        let Some(segment) = segments.iter().find(|s| s.newest_ms > time_ms) else {
            // A log that has no commit yet, as after a restore, knows nothing of the time before it.
            let has_some = segments.iter().any(|s| s.last_seq >= s.first_seq);
            return Ok((has_some || last_seq == 0).then_some(last_seq));
        };
        let mut later = None;
        self.read_segment(segment, last_seq, |seq, bytes| {
            let entry = Entry::decode(bytes).map_err(|detail| unreadable(seq, &detail))?;
            if entry.time_ms > time_ms {
                later = Some(seq);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // Its newest commit may be one that cannot be read yet.
        let before = later.map_or(last_seq, |seq| seq - 1);
        let first_seq = segments.first().map_or(1, |s| s.first_seq);
        // That the commit before the log is not later is known only of the empty store.
        Ok((before >= first_seq || first_seq == 1).then_some(before))
    }

    /// The newest commit that can be read. The log has it, though perhaps not durably.
    fn readable_seq(&self) -> u64 {
        self.reader().snapshot().last_seq()
    }

    /// The error of a moment that the log does not reach back to.
    pub(crate) fn compacted(&self, what: String) -> StoreError {
        let begins = match self.log_beginning(self.feed().told_seq()) {
            Ok((0, _)) | Err(_) => String::new(),
            Ok((seq, time_ms)) => {
                let time = UNIX_EPOCH + Duration::from_millis(time_ms);
                let time = humantime::format_rfc3339_seconds(time);
                format!(", which begins with commit {seq} of {time}")
            }
        };
        let message = format!(
            "{what} is no longer in the log{begins}: restore from backups, with --from URL"
        );
        StoreError::new(Reason::Compacted, message)
    }
}

/// The error of what nobody waits for any more.
pub(crate) fn given_up() -> StoreError {
    let message = "the restore was given up: its caller left, or the server stops";
    StoreError::new(Reason::Unavailable, message)
}

/// What is left of the bounds.
struct Room {
    bounds: Bounds,
    records: usize,
    bytes: usize,
}

impl Room {
    fn new(bounds: Bounds) -> Room {
        Room {
            bounds,
            records: 0,
            bytes: 0,
        }
    }

    /// Takes room for one more record of so many bytes.
    fn take(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.records += 1;
        if self.records > self.bounds.records {
            return Err(too_large(format!("{} records", self.bounds.records)));
        }
        self.add_bytes(bytes)
    }

    fn add_bytes(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.bytes += bytes;
        match self.bytes > self.bounds.bytes {
            true => Err(too_large(format!("{} bytes", self.bounds.bytes))),
            false => Ok(()),
        }
    }
}

fn too_large(limit: String) -> StoreError {
    let message = format!(
        "more than {limit} would have to be kept in memory, which is the limit: select fewer records, or restore from \
         backups, with --from URL"
    );
    StoreError::new(Reason::TooLarge, message)
}
