//! One transaction being evaluated: the state it sees, and the changes it makes.
//!
//! A draft sees its own changes, then those of the commits accepted before it in the same batch, then the view. It is
//! dropped when an operation fails, so a transaction takes effect whole or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::{
    read::{decode, engine_failed},
    record::Record,
    view::{Namespace, Snapshot, View},
};

/// What the commits accepted in this batch changed.
#[derive(Debug, Default)]
pub struct Pending {
    /// Records by view key; none: deleted.
    pub records: HashMap<Bytes, Option<Record>>,
    /// Namespaces that were written.
    pub namespaces: HashMap<Arc<str>, Namespace>,
}

/// The state that a transaction begins from.
pub trait Source {
    /// A record by view key.
    fn record(&self, key: &Bytes) -> Result<Option<Record>, StoreError>;

    /// The newest revision of a namespace.
    fn revision(&self, namespace: &str) -> u64;
}

/// The view with the commits accepted in this batch: what the writer's transactions begin from.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// The view.
    pub view: &'a View,
    /// The commits accepted.
    pub pending: &'a Pending,
}

impl Source for Accepted<'_> {
    fn record(&self, key: &Bytes) -> Result<Option<Record>, StoreError> {
        match self.pending.records.get(key) {
            Some(record) => Ok(record.clone()),
            None => self.view.read().record(key),
        }
    }

    fn revision(&self, namespace: &str) -> u64 {
        let pending = self.pending.namespaces.get(namespace);
        pending.map_or_else(|| self.view.read().revision(namespace), |ns| ns.revision)
    }
}

impl Source for Snapshot<'_> {
    fn record(&self, key: &Bytes) -> Result<Option<Record>, StoreError> {
        let stored = self.get(key).map_err(engine_failed)?;
        stored.map(|bytes| decode(&bytes)).transpose()
    }

    fn revision(&self, namespace: &str) -> u64 {
        self.namespace(namespace).revision
    }
}

/// A transaction being evaluated.
pub struct Draft<'a> {
    source: &'a dyn Source,
    /// Revision that the commit gets if it writes anything.
    pub revision: u64,
    changes: BTreeMap<Bytes, Changed>,
}

/// A record that the transaction wrote.
#[derive(Debug)]
pub struct Changed {
    /// The record before the transaction.
    pub before: Option<Record>,
    /// The record now; none: deleted.
    pub after: Option<Record>,
}

impl<'a> Draft<'a> {
    /// An empty draft of the commit after `namespace`'s newest.
    pub fn new(source: &'a dyn Source, namespace: &str) -> Draft<'a> {
        Draft {
            source,
            revision: source.revision(namespace) + 1,
            changes: BTreeMap::new(),
        }
    }

    /// The record as the transaction sees it.
    pub fn get(&self, key: &Bytes) -> Result<Option<Record>, StoreError> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.after.clone()),
            None => self.before(key),
        }
    }

    /// Writes a value. The record's meta follows from what was there before the transaction.
    pub fn put(
        &mut self,
        key: &Bytes,
        value: Bytes,
        schema: u32,
        expires_at_ms: u64,
    ) -> Result<&Record, StoreError> {
        // Written twice in one commit, a record's version still grows by one; deleted and written, it is a new record.
        let (create_rev, version) = match self.changes.get(key) {
            Some(changed) => changed.after.as_ref().map(|r| (r.create_rev, r.version)),
            None => {
                let before = self.before(key)?;
                let grown = before.as_ref().map(|r| (r.create_rev, r.version + 1));
                let changed = Changed {
                    before,
                    after: None,
                };
                self.changes.insert(key.clone(), changed);
                grown
            }
        }
        .unwrap_or((self.revision, 1));
        let record = Record {
            create_rev,
            mod_rev: self.revision,
            version,
            schema,
            expires_at_ms,
            value,
        };
        let changed = self.changes.get_mut(key).expect("entered above");
        Ok(changed.after.insert(record))
    }

    /// Deletes a record; whether it was there.
    pub fn delete(&mut self, key: &Bytes) -> Result<bool, StoreError> {
        if let Some(changed) = self.changes.get_mut(key) {
            return Ok(changed.after.take().is_some());
        }
        let before = self.before(key)?;
        let existed = before.is_some();
        if existed {
            self.changes.insert(
                key.clone(),
                Changed {
                    before,
                    after: None,
                },
            );
        }
        Ok(existed)
    }

    /// How many records it has touched.
    pub fn touched(&self) -> usize {
        self.changes.len()
    }

    /// How many more records of a kind there are after it than before.
    pub fn gained(&self, is_counted: impl Fn(&Bytes) -> bool) -> isize {
        let counted = self.changes.iter().filter(|(key, _)| is_counted(key));
        let count = |record: &Option<Record>| isize::from(record.is_some());
        counted
            .map(|(_, c)| count(&c.after) - count(&c.before))
            .sum()
    }

    /// The changes, by view key. A record that was made and deleted again is none.
    pub fn into_changes(self) -> impl Iterator<Item = (Bytes, Changed)> {
        self.changes
            .into_iter()
            .filter(|(_, c)| c.before.is_some() || c.after.is_some())
    }

    fn before(&self, key: &Bytes) -> Result<Option<Record>, StoreError> {
        self.source.record(key)
    }
}
