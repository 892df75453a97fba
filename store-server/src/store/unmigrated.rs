//! What records were like before a migration rewrote them, as the log has it: the way back where a script has none.
//!
//! The log is read from its end, segment by segment, for many records at once. A record's newest writes have to be rewritings;
//! what was written before them is what it was. Of one that somebody wrote since, nothing but what it is now is right.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
};

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::{handle::Store, history::unreadable, record::Record};
use crate::log::{Change, Entry, Origin};

/// Records that were rewritten.
#[derive(Clone, Debug)]
pub(crate) struct Rewritings {
    /// Their namespace.
    pub namespace: String,
    /// Their collection.
    pub collection: String,
    /// The version to which they are to go back: rewritings to newer ones are undone.
    pub to: u32,
    /// Their keys.
    pub keys: BTreeSet<Bytes>,
    /// Most bytes of what they were; the last by key are left out for that.
    pub bytes_max: usize,
}

/// What a record was like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Before {
    /// This, in a version that is not too new.
    Was(Record),
    /// Somebody wrote it since: it has never been what it would be.
    WrittenSince,
    /// The log does not reach back so far.
    Forgotten,
}

impl Before {
    /// Bytes of its value.
    fn bytes(&self) -> usize {
        match self {
            Before::Was(record) => record.value.len(),
            Before::WrittenSince | Before::Forgotten => 0,
        }
    }
}

/// What a segment has of a record.
#[derive(Default)]
struct Seen {
    /// The newest write that is not undone; within, none if that deleted it.
    kept: Option<Option<Record>>,
    /// Whether it was rewritten after that.
    is_rewritten: bool,
}

impl Store {
    /// What records were like before they were rewritten. Reads files, perhaps all of the log, until `goes_on` says no; what is
    /// not known then is left out, as is what does not fit into memory but for the first.
    pub(crate) fn before_rewritings(
        &self,
        of: &Rewritings,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<BTreeMap<Bytes, Before>, StoreError> {
        let synced_seq = self.feed().told_seq();
        let segments = self.segments().snapshot();
        let mut wanted = of.keys.clone();
        let mut rewritten = BTreeSet::new();
        let mut found = BTreeMap::new();
        let (mut asked, mut bytes) = (of.keys.clone(), 0);
        for segment in segments.iter().rev() {
            if wanted.is_empty() {
                break;
            }
            if !goes_on() {
                return Ok(found);
            }
            let mut seen = HashMap::<Bytes, Seen>::new();
            let read = self.read_segment(segment, synced_seq, |seq, bytes| {
                let looked = of.look(bytes, &wanted, &mut seen);
                looked.map_err(|detail| unreadable(seq, &detail))?;
                Ok(ControlFlow::Continue(()))
            })?;
            if !read {
                // It is gone, with all before it.
                break;
            }
            for (key, seen) in seen {
                let is_rewritten = seen.is_rewritten || rewritten.contains(&key);
                match seen.kept {
                    // It was left out already.
                    Some(_) if !wanted.remove(&key) => {}
                    Some(kept) => {
                        let before = of.judge(kept, is_rewritten);
                        bytes += before.bytes();
                        found.insert(key, before);
                    }
                    None => drop(rewritten.insert(key)),
                }
                while bytes > of.bytes_max && asked.len() > 1 {
                    let Some(last) = asked.pop_last() else {
                        break;
                    };
                    wanted.remove(&last);
                    bytes -= found.remove(&last).map_or(0, |before| before.bytes());
                }
            }
        }
        found.extend(wanted.into_iter().map(|key| (key, Before::Forgotten)));
        Ok(found)
    }
}

impl Rewritings {
    /// Takes note of what an entry of the log does to the records.
    fn look(
        &self,
        bytes: &[u8],
        wanted: &BTreeSet<Bytes>,
        seen: &mut HashMap<Bytes, Seen>,
    ) -> Result<(), String> {
        let (namespace, revision) = Entry::peek(bytes)?;
        if namespace != self.namespace {
            return Ok(());
        }
        let entry = Entry::decode(bytes)?;
        let changes = entry.changes.iter();
        for change in changes.filter(|change| change.collection == self.collection) {
            let Some(key) = wanted.get(change.key) else {
                continue;
            };
            let seen = seen.entry(key.clone()).or_default();
            seen.is_rewritten = entry.origin == Origin::Migration && self.undoes(change);
            if !seen.is_rewritten {
                let written = change.written.as_ref();
                seen.kept = Some(written.map(|written| Record::from_log(revision, written)));
            }
        }
        Ok(())
    }

    fn undoes(&self, change: &Change<'_>) -> bool {
        (change.written.as_ref()).is_some_and(|written| written.schema > self.to)
    }

    fn judge(&self, kept: Option<Record>, is_rewritten: bool) -> Before {
        match kept {
            Some(record) if is_rewritten && record.schema <= self.to => Before::Was(record),
            _ => Before::WrittenSince,
        }
    }
}
