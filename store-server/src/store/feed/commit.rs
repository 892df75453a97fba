//! One commit, as watches hear of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    log::{Entry, Origin},
    store::{keys, record::Record},
};

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

/// About what a commit, and each of its changes, costs beside keys and values.
const ENTRY_BYTES: usize = 160;

impl Commit {
    /// A commit as the log has it, with those of its changes that are wanted, by collection and key.
    pub fn from_log(seq: u64, entry: &Entry<'_>, wanted: impl Fn(&str, &[u8]) -> bool) -> Commit {
        let changes = entry
            .changes
            .iter()
            .filter(|change| wanted(change.collection, change.key));
        Commit {
            seq,
            namespace: entry.namespace.into(),
            revision: entry.revision,
            time_ms: entry.time_ms,
            origin: entry.origin,
            session: entry.session.into(),
            changes: changes
                .map(|change| {
                    let key = keys::record(entry.namespace, change.collection, change.key);
                    let written = change.written.as_ref();
                    (key, written.map(|w| Record::from_log(entry.revision, w)))
                })
                .collect(),
        }
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        let changes = self.changes.iter();
        let bytes = changes.map(|(key, record)| {
            ENTRY_BYTES + key.len() + record.as_ref().map_or(0, |record| record.value.len())
        });
        ENTRY_BYTES + bytes.sum::<usize>()
    }
}
