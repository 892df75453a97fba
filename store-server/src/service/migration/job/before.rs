//! What records were before they were rewritten: looked up in the log for many of them at once, since each look may read all
//! of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::Name;
use crate::{
    engine::KeyRange,
    store::{
        Store,
        record::Record,
        unmigrated::{Before, Rewritings},
    },
};

/// Bytes of what the records of one look were.
const BYTES_MAX: usize = 32 << 20;

/// What a record was, or why that is not known.
pub type Recalled = Result<Record, &'static str>;

/// What is looked up.
pub struct Sought<'a> {
    /// The collection.
    pub name: &'a Name,
    /// What its records were before they were rewritten to versions newer than this.
    pub to: u32,
    /// Those behind the record that is asked for.
    pub rest: KeyRange,
    /// So many of them at most, with that.
    pub records_max: usize,
}

/// What is known of records to come.
#[derive(Default)]
pub struct Remembered {
    /// By key in the collection, with the revision that the record had.
    before: BTreeMap<Bytes, (u64, Before)>,
    /// How long it was looked for, in all.
    looked: Duration,
}

impl Remembered {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// How long it was looked for, in all.
    pub fn looked(&self) -> Duration {
        self.looked
    }

    /// What a record was. `None`: it was given up, as `goes_on` says.
    pub fn recall(
        &mut self,
        store: &Store,
        sought: Sought<'_>,
        (key, record): (&Bytes, &Record),
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<Option<Recalled>, StoreError> {
        let is_known = |(revision, _): &(u64, Before)| *revision == record.mod_rev;
        if !self.before.get(key).is_some_and(is_known) {
            let begun = Instant::now();
            let looked = self.look(store, sought, (key, record), &mut goes_on);
            self.looked += begun.elapsed();
            looked?;
        }
        let Some((_, before)) = self.before.remove(key) else {
            return Ok(None);
        };
        Ok(Some(match before {
            Before::Was(record) => Ok(record),
            Before::WrittenSince => Err("it was written since it was migrated"),
            Before::Forgotten => Err("the log does not reach back to what it was"),
        }))
    }

    /// Looks for the record, and for those behind it.
    fn look(
        &mut self,
        store: &Store,
        sought: Sought<'_>,
        (key, record): (&Bytes, &Record),
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), StoreError> {
        let Sought { name, to, .. } = sought;
        let mut revisions = BTreeMap::from([(key.clone(), record.mod_rev)]);
        for found in store.live_records(sought.rest) {
            if revisions.len() >= sought.records_max {
                break;
            }
            let (key, record) = found?;
            if let Some(record) = record.filter(|record| record.schema > to) {
                revisions.insert(key, record.mod_rev);
            }
        }
        let of = Rewritings {
            namespace: name.namespace.clone(),
            collection: name.collection.clone(),
            to,
            keys: revisions.keys().cloned().collect::<BTreeSet<_>>(),
            bytes_max: BYTES_MAX,
        };
        let found = store.before_rewritings(&of, goes_on)?;
        let found = found.into_iter().filter_map(|(key, before)| {
            let revision = *revisions.get(&key)?;
            Some((key, (revision, before)))
        });
        self.before = found.collect();
        Ok(())
    }
}
