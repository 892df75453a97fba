//! The records that could not be migrated.
//!
//! An entry counts while its record is as it was then, and in another version than the one that counts.

use std::ops::ControlFlow;

use bytes::Bytes;
use stillpoint_proto::v1::{
    ListQuarantineRequest, ListQuarantineResponse, QuarantinedRecord, Reason, RecordKey, StoreError,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;

use super::name::Name;
use crate::store::{
    Store,
    keys::{self, System},
    schema::state::{self, Quarantined},
};

/// Records of one message.
const RECORDS_MAX: usize = 100;

/// Messages on their way to a caller. A slow one holds up the reading, not the store.
const TOLD_MAX: usize = 4;

/// Entries that do not count any more and are removed at a time.
pub const STALE_MAX: usize = 10_000;

/// What there is in quarantine of a collection.
#[derive(Debug, Default)]
pub struct Counted {
    /// Records that count.
    pub records: u64,
    /// Names of entries that do not.
    pub stale: Vec<Bytes>,
}

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
    let is_asked = |entry: &Entry| name.is_none_or(|name| name.collection == entry.collection);
    for namespace in namespaces {
        for entry in entries(store, &namespace) {
            let entry = entry?;
            if is_asked(&entry)
                && entry.counts(store, &namespace)?
                && tell(entry.told(namespace.clone())).is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Counts what there is of a collection. Reads the view, so it may take a while.
pub fn count(store: &Store, name: &Name) -> Result<Counted, StoreError> {
    let mut counted = Counted::default();
    for entry in entries(store, &name.namespace) {
        let entry = entry?;
        if entry.collection != name.collection {
            continue;
        }
        if entry.counts(store, &name.namespace)? {
            counted.records += 1;
        } else if counted.stale.len() < STALE_MAX {
            counted.stale.push(entry.name);
        }
    }
    Ok(counted)
}

/// An entry.
struct Entry {
    /// The name of its record.
    name: Bytes,
    collection: String,
    key: Bytes,
    quarantined: Quarantined,
}

/// The entries of a namespace.
fn entries(store: &Store, namespace: &str) -> impl Iterator<Item = Result<Entry, StoreError>> {
    let broken = |detail: String| StoreError::new(Reason::Internal, detail);
    let found = store.live_records(keys::systems(namespace, System::Quarantine, b""));
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
