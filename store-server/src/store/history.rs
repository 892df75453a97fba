//! The history of one record: the commits that wrote it, as far as the log goes back.
//!
//! There is no index of it: the log is read, segment by segment, the newest first, and each from its beginning, as frames
//! can only be read in that order. So what was found in a segment is kept until its end, the newest of it if a limit says
//! how many. Nothing keeps segments from being removed meanwhile: then the log begins later, and the history ends there.

use std::{collections::VecDeque, ops::ControlFlow};

use stillpoint_proto::v1::{Reason, RecordKey, StoreError};

use super::{clock::now_ms, handle::Store, record::Record};
use crate::log::{
    Entry, Origin,
    reader::{ReadError, Reader},
    segment::SegmentInfo,
};

/// Whose history, and how much of it.
#[derive(Clone, Debug)]
pub struct HistoryOf {
    /// The record's namespace.
    pub namespace: String,
    /// The record.
    pub key: RecordKey,
    /// Only commits before this revision; `u64::MAX`: from the newest on.
    pub before_revision: u64,
    /// Only commits before the one with this sequence number; `u64::MAX`: from the newest on.
    pub before_seq: u64,
    /// Begins to read no further segment once so many bytes were read.
    pub read_bytes_max: u64,
    /// At most so many commits.
    pub limit: usize,
}

/// A commit that wrote the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its sequence number in the log.
    pub seq: u64,
    /// Its revision.
    pub revision: u64,
    /// Server time, in milliseconds since 1970.
    pub time_ms: u64,
    /// What made it.
    pub origin: Origin,
    /// The session that made it; empty for none.
    pub session: String,
    /// The operator that the store made it for; empty for none.
    pub actor: String,
    /// The record as it was written; none: it was deleted.
    pub record: Option<Record>,
    /// Records that the commit wrote, with this one.
    pub records_written: usize,
}

/// What is told of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A commit; each is older than the one before.
    Written(Written),
    /// How much of the log was read.
    Scanned {
        /// Bytes.
        bytes: u64,
        /// Bytes of the whole log.
        bytes_total: u64,
    },
}

/// How a history ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// What was not read is before the commit with this sequence number; 0: the log was read to its beginning.
    pub next_seq: u64,
    /// Sequence number of the oldest commit in the log; 0: the log is empty.
    pub log_first_seq: u64,
    /// When that was made, in milliseconds since 1970.
    pub log_first_ms: u64,
}

impl Store {
    /// Tells the commits that wrote a record, newest first, until `tell` breaks. Reads files, perhaps all of the log.
    pub fn history(
        &self,
        of: &HistoryOf,
        mut tell: impl FnMut(Told) -> ControlFlow<()>,
    ) -> Result<End, StoreError> {
        let synced_seq = self.feed().told_seq();
        let segments = self.segments().snapshot();
        let bytes_total = segments.iter().map(|segment| segment.bytes).sum();
        let mut bytes = 0;
        let mut left = of.limit;
        // What is not read yet is before this one.
        let mut next_seq = 0;
        'log: for segment in segments.iter().rev() {
            if segment.first_seq >= of.before_seq {
                continue;
            }
            if bytes >= of.read_bytes_max {
                break;
            }
            let Some(found) = self.history_in(segment, synced_seq, of, left)? else {
                // It is gone, with all before it.
                next_seq = 0;
                break;
            };
            for written in found.into_iter().rev() {
                left -= 1;
                next_seq = written.seq;
                if tell(Told::Written(written)).is_break() || left == 0 {
                    break 'log;
                }
            }
            next_seq = segment.first_seq;
            bytes += segment.bytes;
            if tell(Told::Scanned { bytes, bytes_total }).is_break() {
                break;
            }
        }
        let (log_first_seq, log_first_ms) = self.log_beginning(synced_seq)?;
        Ok(End {
            next_seq: if next_seq > log_first_seq {
                next_seq
            } else {
                0
            },
            log_first_seq,
            log_first_ms,
        })
    }

    /// The newest commits of a segment that wrote the record, in order; `None`: the segment is gone.
    fn history_in(
        &self,
        segment: &SegmentInfo,
        synced_seq: u64,
        of: &HistoryOf,
        count: usize,
    ) -> Result<Option<VecDeque<Written>>, StoreError> {
        let mut found = VecDeque::new();
        let read = self.read_segment(segment, synced_seq, |seq, bytes| {
            let written = of.written_by(seq, bytes);
            let written = written.map_err(|detail| unreadable(seq, &detail))?;
            if let Some(written) = written {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(written);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(read.then_some(found))
    }

    /// Sequence number and time of the oldest commit that the log has; zeros: it has none, and there was none. A log that
    /// begins behind a restored state begins now, until it has a commit.
    pub(super) fn log_beginning(&self, synced_seq: u64) -> Result<(u64, u64), StoreError> {
        loop {
            let Some(oldest) = self.segments().snapshot().into_iter().next() else {
                return Ok((0, 0));
            };
            let mut first = (0, 0);
            let read = self.read_segment(&oldest, synced_seq, |seq, bytes| {
                let entry = Entry::decode(bytes).map_err(|detail| unreadable(seq, &detail))?;
                first = (seq, entry.time_ms);
                Ok(ControlFlow::Break(()))
            })?;
            if read && first.0 == 0 && oldest.first_seq > 1 {
                return Ok((oldest.first_seq, now_ms()));
            }
            if read {
                return Ok(first);
            }
        }
    }

    /// Calls `each` with the entries of a segment, in order, until it breaks; `false`: the segment is gone.
    pub(super) fn read_segment(
        &self,
        segment: &SegmentInfo,
        synced_seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<bool, StoreError> {
        let last_seq = segment.last_seq.min(synced_seq);
        let mut after_seq = segment.first_seq - 1;
        let mut reader = Reader::default();
        let mut stopped = Ok(ControlFlow::Continue(()));
        while after_seq < last_seq {
            let read = reader.read(self.segments(), after_seq, last_seq, |seq, bytes| {
                after_seq = seq;
                stopped = each(seq, bytes);
                match &stopped {
                    Ok(flow) => *flow,
                    Err(_) => ControlFlow::Break(()),
                }
            });
            match read {
                Ok(()) => {}
                Err(ReadError::Removed { .. }) => return Ok(false),
                Err(error) => return Err(StoreError::new(Reason::Internal, error.to_string())),
            }
            match stopped {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl HistoryOf {
    /// The commit, if it wrote the record.
    fn written_by(&self, seq: u64, bytes: &[u8]) -> Result<Option<Written>, String> {
        let (namespace, revision) = Entry::peek(bytes)?;
        let is_late = revision >= self.before_revision || seq >= self.before_seq;
        if namespace != self.namespace || is_late {
            return Ok(None);
        }
        let entry = Entry::decode(bytes)?;
        let is_it = |collection: &str, key: &[u8]| {
            collection == self.key.collection && *key == *self.key.key
        };
        let mut changes = entry.changes.iter();
        let change = changes.find(|change| is_it(change.collection, change.key));
        Ok(change.map(|change| Written {
            seq,
            revision,
            time_ms: entry.time_ms,
            origin: entry.origin,
            session: entry.session.into(),
            actor: entry.principal.into(),
            record: (change.written.as_ref()).map(|written| Record::from_log(revision, written)),
            records_written: entry.changes.len(),
        }))
    }
}

pub(super) fn unreadable(seq: u64, detail: &str) -> StoreError {
    let message = format!("commit {seq} of the log cannot be read: {detail}");
    StoreError::new(Reason::Internal, message)
}
