//! The records that could not be migrated.
//!
//! An entry counts while its record is as it was then, and in another version than the one that counts.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use stillpoint_proto::v1::{
    ListQuarantineRequest, ListQuarantineResponse, QuarantinedRecord, Reason, RecordKey, StoreError,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;

use super::name::Name;
use crate::{
    engine::KeyRange,
    store::{
        Store,
        keys::{self, System},
        schema::state::{self, Quarantined},
    },
};

/// Records of one message.
const RECORDS_MAX: usize = 100;

/// Messages on their way to a caller. A slow one holds up the reading, not the store.
const TOLD_MAX: usize = 4;

/// Entries that are looked at, or removed, at a time.
pub const PORTION: usize = 256;

/// Begins to list; gives what is told.
pub fn begin(
    store: &Store,
    request: ListQuarantineRequest,
) -> Result<mpsc::Receiver<Result<ListQuarantineResponse, Status>>, StoreError> {
    let name = request.collection.map(|name| Name::asked(Some(name)));
    let name = name.transpose()?;
    let (sender, told) = mpsc::channel(TOLD_MAX);
    let store = store.clone();
    spawn_blocking(move || {
        let mut records = Vec::new();
        let message = |records| {
            Ok(ListQuarantineResponse {
                header: Some(store.header()),
                records,
            })
        };
        let listed = list(&store, name.as_ref(), |record| {
            records.push(record);
            if records.len() < RECORDS_MAX {
                return ControlFlow::Continue(());
            }
            match sender.blocking_send(message(std::mem::take(&mut records))) {
                Ok(()) => ControlFlow::Continue(()),
                // The caller has left.
                Err(_) => ControlFlow::Break(()),
            }
        });
        let last = match listed {
            Ok(()) if records.is_empty() => return,
            Ok(()) => message(records),
            Err(error) => Err(error.to_status()),
        };
        drop(sender.blocking_send(last));
    });
    Ok(told)
}

/// Calls `tell` with all records that count, until it breaks.
fn list(
    store: &Store,
    name: Option<&Name>,
    mut tell: impl FnMut(QuarantinedRecord) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let namespaces = match name {
        Some(name) if !name.is_any() => vec![name.namespace.clone()],
        _ => store.state().namespaces.into_keys().collect(),
    };
    for namespace in namespaces {
        let range = match name {
            Some(name) => range(&name.within(&namespace), b""),
            None => keys::systems(&namespace, System::Quarantine, b""),
        };
        for entry in entries(store, range) {
            let entry = entry?;
            if entry.counts(store, &namespace)? && tell(entry.told(namespace.clone())).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Records of a collection in quarantine that count. Reads the view, so it may take a while.
pub fn count(store: &Store, name: &Name) -> Result<u64, StoreError> {
    let mut records = 0;
    for entry in entries(store, range(name, b"")) {
        records += u64::from(entry?.counts(store, &name.namespace)?);
    }
    Ok(records)
}

/// The next entries of a collection that do not count any more, behind one (empty: from the first on): their names.
pub fn stale(store: &Store, name: &Name, after: &[u8]) -> Result<Vec<Bytes>, StoreError> {
    let mut stale = Vec::new();
    for entry in entries(store, range(name, after)) {
        let entry = entry?;
        if !entry.counts(store, &name.namespace)? {
            stale.push(entry.name);
        }
        if stale.len() >= PORTION {
            break;
        }
    }
    Ok(stale)
}

/// The entries of a collection behind one; empty: all of them.
fn range(name: &Name, after: &[u8]) -> KeyRange {
    let first = state::quarantine_name(&name.collection, b"");
    // The \0 behind the collection's name becomes \1: the first name behind all of its entries.
    let end = [name.collection.as_bytes(), &[1]].concat();
    let own = |entry: &[u8]| keys::system(&name.namespace, System::Quarantine, entry);
    let low = match after {
        [] => Bound::Included(own(&first)),
        after => Bound::Excluded(own(after)),
    };
    (low, Bound::Excluded(own(&end)))
}

/// An entry.
struct Entry {
    /// The name of its record.
    name: Bytes,
    collection: String,
    key: Bytes,
    quarantined: Quarantined,
}

/// The entries of a range.
fn entries(store: &Store, range: KeyRange) -> impl Iterator<Item = Result<Entry, StoreError>> {
    let broken = |detail: String| StoreError::new(Reason::Internal, detail);
    let found = store.live_records(range);
    found.filter_map(move |found| {
        let (name, record) = match found {
            Ok((name, record)) => (name, record?),
            Err(error) => return Some(Err(error)),
        };
        let (collection, key) = state::split_quarantine_name(&name)?;
        let entry = state::decode("a record in quarantine", &record).map(|quarantined| Entry {
            collection: collection.into(),
            key: name.slice_ref(key),
            quarantined,
            name: name.clone(),
        });
        Some(entry.map_err(broken))
    })
}

impl Entry {
    fn counts(&self, store: &Store, namespace: &str) -> Result<bool, StoreError> {
        let version = store.schemas().version(namespace, &self.collection);
        let key = keys::record(namespace, &self.collection, &self.key);
        let record = store.reader().record(&key)?;
        Ok(record.is_some_and(|record| {
            record.mod_rev == self.quarantined.mod_rev && Some(record.schema) != version
        }))
    }

    fn told(self, namespace: String) -> QuarantinedRecord {
        QuarantinedRecord {
            namespace,
            key: Some(RecordKey {
                collection: self.collection,
                key: self.key,
            }),
            schema: self.quarantined.schema,
            mod_rev: self.quarantined.mod_rev,
            error: self.quarantined.error,
            time_ms: self.quarantined.time_ms,
        }
    }
}
