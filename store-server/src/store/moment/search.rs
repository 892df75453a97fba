//! The log, read from its end as far as it is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use bytes::Bytes;
use stillpoint_proto::v1::{RecordKey, StoreError};

use super::{Bounds, Room, Scanned, Selection, States, Tell, given_up};
use crate::{
    log::{Change, Entry, segment::SegmentInfo},
    store::{feed::Hold, handle::Store, history::unreadable, keys, record::Record},
};

impl Store {
    /// The selected records that were written since the commit `seq`, as they were after it. COMPACTED: the log does not
    /// reach back so far. TOO_LARGE: they are more than the bounds allow. Reads files.
    pub(crate) fn written_since(
        &self,
        of: &Selection,
        seq: u64,
        bounds: Bounds,
        tell: Tell<'_>,
    ) -> Result<States, StoreError> {
        let _hold = Hold::new(self.shared.clone(), 0);
        let segments = self.segments().snapshot();
        let mut search = Search {
            store: self,
            of,
            seq,
            last_seq: self.readable_seq(),
            room: Room::new(bounds),
            scanned: Scanned {
                bytes: 0,
                bytes_total: segments.iter().map(|s| s.bytes).sum(),
            },
            states: States::new(),
            sought: BTreeSet::new(),
            tell,
        };
        let first_seq = segments.first().map_or(1, |s| s.first_seq);
        if seq + 1 < first_seq {
            return Err(self.compacted(format!("commit {seq}")));
        }
        for segment in segments.iter().rev().take_while(|s| s.last_seq > seq) {
            search.since(segment)?;
        }
        for segment in segments.iter().rev().skip_while(|s| s.first_seq > seq) {
            if search.sought.is_empty() {
                break;
            }
            search.before(segment)?;
        }
        search.end(first_seq)
    }
}

/// The log being read.
struct Search<'a> {
    store: &'a Store,
    of: &'a Selection,
    seq: u64,
    last_seq: u64,
    room: Room,
    scanned: Scanned,
    /// What was found out.
    states: States,
    /// Written since, and not found before yet.
    sought: BTreeSet<Bytes>,
    tell: Tell<'a>,
}

impl Search<'_> {
    /// Notes what was written since the moment in a segment.
    fn since(&mut self, segment: &SegmentInfo) -> Result<(), StoreError> {
        // The first write of each since the moment says whether it was there: in this segment, as an older one comes later.
        let mut first: BTreeMap<Bytes, bool> = BTreeMap::new();
        let (seq, of, room) = (self.seq, self.of, &mut self.room);
        let (states, sought) = (&mut self.states, &mut self.sought);
        let read = self
            .store
            .read_segment(segment, self.last_seq, |at, bytes| {
                if at <= seq {
                    return Ok(ControlFlow::Continue(()));
                }
                if let Some(entry) = entry_of(of, at, bytes)? {
                    let makes = makes_new_records(&entry);
                    for change in entry.changes.iter().filter(|change| of.has(change)) {
                        if first.contains_key(change.key) {
                            continue;
                        }
                        let key = Bytes::copy_from_slice(change.key);
                        if !sought.contains(&key) && !states.contains_key(&key) {
                            room.take(key.len())?;
                        }
                        first.insert(key, makes && is_first_version(change));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        for (key, is_new) in first {
            match is_new {
                true => {
                    sought.remove(&key);
                    states.insert(key, None);
                }
                false => {
                    states.remove(&key);
                    sought.insert(key);
                }
            }
        }
        self.read(segment, read)
    }

    /// Finds the newest writes up to the moment in a segment.
    fn before(&mut self, segment: &SegmentInfo) -> Result<(), StoreError> {
        let mut newest = States::new();
        let (of, sought) = (self.of, &self.sought);
        let last_seq = self.seq.min(self.last_seq);
        let read = self.store.read_segment(segment, last_seq, |at, bytes| {
            if let Some(entry) = entry_of(of, at, bytes)? {
                for change in entry.changes.iter().filter(|change| of.has(change)) {
                    if let Some(key) = sought.get(change.key) {
                        let written = change.written.as_ref();
                        let record = written.map(|w| Record::from_log(entry.revision, w));
                        newest.insert(key.clone(), record);
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (key, record) in newest {
            self.room
                .add_bytes(record.as_ref().map_or(0, |r| r.value.len()))?;
            self.sought.remove(&key);
            self.states.insert(key, record);
        }
        self.read(segment, read)
    }

    /// A segment was read; or it is gone, which ends the search.
    fn read(&mut self, segment: &SegmentInfo, is_there: bool) -> Result<(), StoreError> {
        if !is_there {
            return Err(self
                .store
                .compacted(format!("commit {}", segment.first_seq)));
        }
        self.scanned.bytes += segment.bytes;
        self.scanned.bytes_total = self.scanned.bytes_total.max(self.scanned.bytes);
        match (self.tell)(self.scanned) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(given_up()),
        }
    }

    fn end(mut self, first_seq: u64) -> Result<States, StoreError> {
        if let Some(key) = self.sought.first()
            && first_seq > 1
        {
            let name = format!("{}/{}", self.of.collection, key.escape_ascii());
            let mut error =
                (self.store).compacted(format!("what {name} was at commit {}", self.seq));
            error.key = Some(RecordKey {
                collection: self.of.collection.clone(),
                key: key.clone(),
            });
            return Err(error);
        }
        // The log has everything, and they were not there.
        let missing = std::mem::take(&mut self.sought);
        self.states
            .extend(missing.into_iter().map(|key| (key, None)));
        Ok(self.states)
    }
}

/// An entry, if it is of the selection's namespace.
fn entry_of<'e>(
    of: &Selection,
    seq: u64,
    bytes: &'e [u8],
) -> Result<Option<Entry<'e>>, StoreError> {
    let failed = |detail: String| unreadable(seq, &detail);
    match Entry::peek(bytes).map_err(failed)? {
        (namespace, _) if namespace == of.namespace => {
            Ok(Some(Entry::decode(bytes).map_err(failed)?))
        }
        _ => Ok(None),
    }
}

fn is_first_version(change: &Change<'_>) -> bool {
    change.written.is_some_and(|written| written.version == 1)
}

/// Whether all first versions that a commit wrote are of records that were not there before it: one that it deleted and wrote
/// again has a first version, too. The commit says how many records there are more, and that tells.
fn makes_new_records(entry: &Entry<'_>) -> bool {
    let clients = entry
        .changes
        .iter()
        .filter(|change| !keys::is_system(change.collection));
    let (mut made, mut deleted) = (0, 0);
    for change in clients {
        made += i64::from(is_first_version(change));
        deleted += i64::from(change.written.is_none());
    }
    entry.records_delta == made - deleted
}
