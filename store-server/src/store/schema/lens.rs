//! What one caller sees: each record in the version that the caller speaks, whatever version it is stored in.
//!
//! A session speaks what was written down when it was opened; whoever has no session, the store's version. Where the two are
//! the same and the record has it, nothing is run.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use stillpoint_migrations::{Allowance, Chain, Fault, StepError};
use stillpoint_proto::v1::{self, Reason, RecordKey, StoreError};

use super::Table;
use crate::store::{record::Record, session::Session};

/// What one caller sees of one namespace.
#[derive(Clone, Debug)]
pub struct Lens {
    pub(super) table: Arc<Table>,
    namespace: Arc<str>,
    speaks: Speaks,
    /// What scripts may use for all that is done through it; none: each call stands for itself.
    allowance: Option<Arc<Mutex<Allowance>>>,
}

/// Which versions a caller speaks.
#[derive(Clone, Debug)]
pub(in crate::store) enum Speaks {
    /// The store's.
    Newest,
    /// Those of a session.
    Session(Arc<Session>),
    /// Nobody knows, and this is why.
    Nobody(Arc<StoreError>),
}

/// From which version to which a value goes.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The caller's.
    spoken: u32,
    /// The store's.
    stored: u32,
}

impl Lens {
    /// What a caller sees; `None`: everything as it is stored, as no collection has a version.
    pub(in crate::store) fn new(
        table: &Arc<Table>,
        namespace: &str,
        speaks: Speaks,
    ) -> Option<Lens> {
        table.is_managed(namespace).then(|| Lens {
            table: table.clone(),
            namespace: namespace.into(),
            speaks,
            allowance: None,
        })
    }

    /// One for a single write: scripts may hold up the writer only for so long.
    pub(in crate::store) fn for_a_write(self) -> Lens {
        Lens {
            allowance: Some(Arc::new(Mutex::new(Allowance::of_a_write()))),
            ..self
        }
    }

    /// The way of the values of a collection, for an operation that names this version or else means the caller's. `None`:
    /// the collection has no version.
    fn way(&self, collection: &str, named: Option<u32>) -> Result<Option<Way>, StoreError> {
        let Some(stored) = self.table.version(&self.namespace, collection) else {
            return Ok(None);
        };
        let spoken = match (&self.speaks, named) {
            (Speaks::Nobody(error), _) => return Err(StoreError::clone(error)),
            (_, Some(version)) => version,
            (Speaks::Newest, None) => stored,
            (Speaks::Session(session), None) => session.speaks(collection),
        };
        Ok(Some(Way { spoken, stored }))
    }

    /// The version of a collection that the caller speaks; `None`: it has none.
    pub fn version(&self, collection: &str) -> Result<Option<u32>, StoreError> {
        Ok(self.way(collection, None)?.map(|way| way.spoken))
    }

    /// Brings a record to the caller's version.
    ///
    /// # Errors
    ///
    /// MIGRATION_FAILED, with the key and the script; the record is as it was. SESSION_EXPIRED or FENCED where nobody knows
    /// the version.
    pub fn see(
        &self,
        collection: &str,
        key: &[u8],
        record: &mut v1::Record,
    ) -> Result<(), StoreError> {
        self.see_as(None, collection, key, record)
    }

    /// The same in a version that the operation names, if it does.
    pub(super) fn see_as(
        &self,
        named: Option<u32>,
        collection: &str,
        key: &[u8],
        record: &mut v1::Record,
    ) -> Result<(), StoreError> {
        let v1::Record { value, schema, .. } = record;
        self.bring(named, collection, key, value, schema)
    }

    /// The same for a record as the view has it.
    pub(in crate::store) fn see_stored(
        &self,
        named: Option<u32>,
        name: &RecordKey,
        record: &mut Record,
    ) -> Result<(), StoreError> {
        let Record { value, schema, .. } = record;
        self.bring(named, &name.collection, &name.key, value, schema)
    }

    /// Brings a record to the caller's version where that has to be told even if it fails: then it has no value, but the
    /// reason.
    pub fn show(&self, collection: &str, key: &[u8], record: &mut v1::Record) {
        if let Err(error) = self.see(collection, key, record) {
            record.value = Bytes::new();
            record.unreadable = error.message;
        }
    }

    /// Whether a record has to be brought to another version.
    pub(in crate::store) fn is_foreign(&self, collection: &str, record: &v1::Record) -> bool {
        let way = self.way(collection, None);
        !matches!(way, Ok(None)) && !matches!(way, Ok(Some(way)) if way.spoken == record.schema)
    }

    fn bring(
        &self,
        named: Option<u32>,
        collection: &str,
        key: &[u8],
        value: &mut Bytes,
        schema: &mut u32,
    ) -> Result<(), StoreError> {
        let Some(Way { spoken, .. }) = self.way(collection, named)? else {
            return Ok(());
        };
        if *schema == spoken {
            return Ok(());
        }
        let brought = self.travel(collection, *schema, spoken, key, value);
        *value = brought.map_err(|error| unreadable(collection, key, *schema, spoken, &error))?;
        *schema = spoken;
        Ok(())
    }

    /// Brings a value to the store's version, from the one that is named, be it 0, or else from the caller's; gives it with
    /// the store's. Where the collection has none, it is as it was, with the number that is named, or 0.
    ///
    /// # Errors
    ///
    /// MIGRATION_FAILED where a script fails, SCHEMA_UNSUPPORTED where there is no way.
    pub fn to_store(
        &self,
        collection: &str,
        key: &[u8],
        value: Bytes,
        named: Option<u32>,
    ) -> Result<(Bytes, u32), StoreError> {
        let (from, to) = match self.way(collection, named)? {
            None => return Ok((value, named.unwrap_or(0))),
            Some(way) if way.spoken == way.stored => return Ok((value, way.stored)),
            Some(way) => (way.spoken, way.stored),
        };
        let brought = self.travel(collection, from, to, key, &value);
        let brought = brought.map_err(|error| unwritable(collection, key, from, to, &error))?;
        Ok((brought, to))
    }

    fn travel(
        &self,
        collection: &str,
        from: u32,
        to: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<Bytes, StepError> {
        self.run(collection, |chain| match from <= to {
            true => chain.up(from, to, key, value),
            false => chain.down(from, to, key, value),
        })
    }

    /// Runs scripts of a collection, with what is left of the allowance.
    fn run<T>(
        &self,
        collection: &str,
        run: impl FnOnce(&mut Chain) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let lineage = self.table.lineage(&self.namespace, collection);
        lineage.with(|chain| match &self.allowance {
            Some(left) => chain.within(&mut left.lock(), run),
            None => run(chain),
        })?
    }

    /// Whether an operation that names this version, or else means the caller's, means an older one than the store's.
    pub(in crate::store) fn is_behind(
        &self,
        collection: &str,
        named: Option<u32>,
    ) -> Result<bool, StoreError> {
        let way = self.way(collection, named)?;
        Ok(way.is_some_and(|way| way.spoken < way.stored))
    }

    /// Refuses that a record is written, or owned, by a caller of an older version, if something would be lost by that which
    /// only the newer version has. `below` is what the caller sees, where that is known already.
    ///
    /// # Errors
    ///
    /// SCHEMA_UNSUPPORTED, with the place in the document and the script.
    pub(in crate::store) fn check_kept(
        &self,
        named: Option<u32>,
        name: &RecordKey,
        record: &Record,
        below: Option<&Bytes>,
    ) -> Result<(), StoreError> {
        let RecordKey { collection, key } = name;
        let Some(Way { spoken, stored }) = self.way(collection, named)? else {
            return Ok(());
        };
        // What a rollback takes away is no loss: that is what it is for.
        let newer = stored.min(record.schema);
        if spoken >= newer {
            return Ok(());
        }
        let lost = self.run(collection, |chain| {
            let value = match record.schema == newer {
                true => record.value.clone(),
                false => chain.down(record.schema, newer, key, &record.value)?,
            };
            chain.lost_below(newer, spoken, key, &value, below)
        });
        let lost = match lost {
            Ok(None) => return Ok(()),
            Ok(Some(lost)) => lost.to_string(),
            Err(error) if matches!(error.fault, Fault::UsedUp { .. }) => {
                return Err(unwritable(collection, key, spoken, newer, &error));
            }
            Err(error) => format!("it: {error}"),
        };
        let message = format!(
            "{collection}/{}: it has version {newer}, and version {spoken} cannot carry {lost}; nothing was written: write it \
             with a program of version {newer}, and end those of version {spoken}",
            key.escape_ascii()
        );
        Err(at(
            collection,
            key,
            StoreError::new(Reason::SchemaUnsupported, message),
        ))
    }

    /// Refuses that the caller owns a record whose document would not stay the same in its hands: its version is older than
    /// the store's, and something may be lost on the way there and back.
    ///
    /// # Errors
    ///
    /// SCHEMA_UNSUPPORTED, with the script.
    pub(in crate::store) fn check_ownable(&self, name: &RecordKey) -> Result<(), StoreError> {
        let collection = &name.collection;
        let Some(Way { spoken, stored }) = self.way(collection, None)? else {
            return Ok(());
        };
        if spoken == stored {
            return Ok(());
        }
        let lineage = self.table.lineage(&self.namespace, collection);
        let lossy = lineage.lossy(spoken.min(stored), spoken.max(stored));
        let why = match lossy {
            Ok(None) => return Ok(()),
            Ok(Some(link)) => format!("{} is lossy", link.path),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "{collection}/{}: the store has version {stored}, this session speaks {spoken}, and {why}: only code of \
             version {stored} can own it, since a document of version {spoken} would not stay the same; start newer code",
            name.key.escape_ascii()
        );
        Err(at(
            collection,
            &name.key,
            StoreError::new(Reason::SchemaUnsupported, message),
        ))
    }
}

/// The error of a record that cannot be given in a version.
fn unreadable(collection: &str, key: &[u8], from: u32, to: u32, error: &StepError) -> StoreError {
    let message = format!(
        "{collection}/{}: it has version {from} and cannot be brought to {to}: {error}; it stays as it is (`stillpoint \
         migrate quarantine` lists such records, a read with `raw` gives this one)",
        key.escape_ascii()
    );
    at(
        collection,
        key,
        StoreError::new(Reason::MigrationFailed, message),
    )
}

/// The error of a value that cannot be stored.
fn unwritable(collection: &str, key: &[u8], from: u32, to: u32, error: &StepError) -> StoreError {
    let (reason, remedy) = match error.fault {
        Fault::NoWay { .. } => (
            Reason::SchemaUnsupported,
            "; `stillpoint migrate status` tells the version that the store has, `stillpoint migrate apply DIR` takes it \
             to a newer one",
        ),
        Fault::NoDown { .. } => (
            Reason::SchemaUnsupported,
            "; write it in a version that the store has",
        ),
        _ => (Reason::MigrationFailed, "; nothing was written"),
    };
    let message = format!(
        "{collection}/{}: the value has version {from} and cannot be brought to {to}, which the store has: {error}{remedy}",
        key.escape_ascii()
    );
    at(collection, key, StoreError::new(reason, message))
}

fn at(collection: &str, key: &[u8], mut error: StoreError) -> StoreError {
    error.key = Some(RecordKey {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key),
    });
    error
}
