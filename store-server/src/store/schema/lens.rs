//! What one caller sees: each record in the version that the caller speaks, whatever version it is stored in.
//!
//! A session speaks what was written down when it was opened; whoever has no session, the store's version. Where the two are
//! the same and the record has it, nothing is run.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use stillpoint_migrations::{Allowance, Chain, Fault, StepError};
use stillpoint_proto::v1::{self, Reason, RecordKey, StoreError};

use super::Table;
use crate::store::{record::Record, session::Session};

/// What one caller sees of one namespace.
#[derive(Debug)]
pub struct Lens {
    pub(super) table: Arc<Table>,
    pub(super) namespace: Arc<str>,
    speaks: Speaks,
    /// What scripts may use for all that is done through it; none: each call stands for itself.
    allowance: Option<Mutex<Allowance>>,
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
pub(super) struct Way {
    /// The caller's.
    pub(super) spoken: u32,
    /// The store's.
    pub(super) stored: u32,
}

impl Lens {
    /// What a caller sees; `None`: everything as it is stored, as no collection has a version.
    pub(in crate::store) fn new(
        table: &Arc<Table>,
        namespace: impl AsRef<str> + Into<Arc<str>>,
        speaks: Speaks,
    ) -> Option<Lens> {
        table.is_managed(namespace.as_ref()).then(|| Lens {
            table: table.clone(),
            namespace: namespace.into(),
            speaks,
            allowance: None,
        })
    }

    /// One for a single write: scripts may hold up the writer only for so long.
    pub(in crate::store) fn for_a_write(self) -> Lens {
        Lens {
            allowance: Some(Mutex::new(Allowance::of_a_write())),
            ..self
        }
    }

    /// Processor time that scripts took of its allowance; zero where none was run, or it has none.
    pub(in crate::store) fn used(&self) -> Duration {
        let allowance = self.allowance.as_ref();
        allowance.map_or(Duration::ZERO, |left| left.lock().used())
    }

    /// The way of the values of a collection, for an operation that names this version or else means the caller's. `None`:
    /// the collection has no version.
    pub(super) fn way(
        &self,
        collection: &str,
        named: Option<u32>,
    ) -> Result<Option<Way>, StoreError> {
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
        let Some(Way { spoken, stored }) = self.way(collection, named)? else {
            return Ok(());
        };
        if *schema == spoken {
            return Ok(());
        }
        let brought = self.travel(collection, *schema, spoken, key, value);
        *value = brought.map_err(|error| match error.fault {
            // Not the record is at fault, but who asks for that version.
            Fault::NoWay { .. } | Fault::NoDown { .. } if named.is_some() && spoken != stored => {
                unsupported(collection, key, *schema, spoken, &error)
            }
            _ => unreadable(collection, key, *schema, spoken, &error),
        })?;
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
    pub(super) fn run<T>(
        &self,
        collection: &str,
        run: impl FnOnce(&mut Chain) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let lineage = self.table.lineage(&self.namespace, collection);
        match &self.allowance {
            Some(left) => lineage.within(&mut left.lock(), run),
            None => lineage.with(run)?,
        }
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

/// The error of a record that has no form of a version that an operation names.
fn unsupported(
    collection: &str,
    key: &[u8],
    from: u32,
    named: u32,
    error: &StepError,
) -> StoreError {
    let message = format!(
        "{collection}/{}: it has version {from} and cannot be brought to {named}, which the operation names: {error}; name a \
         version that the store has (`stillpoint migrate status`)",
        key.escape_ascii()
    );
    at(
        collection,
        key,
        StoreError::new(Reason::SchemaUnsupported, message),
    )
}

/// The error of a value that cannot be stored.
pub(super) fn unwritable(
    collection: &str,
    key: &[u8],
    from: u32,
    to: u32,
    error: &StepError,
) -> StoreError {
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

pub(super) fn at(collection: &str, key: &[u8], mut error: StoreError) -> StoreError {
    error.key = Some(RecordKey {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key),
    });
    error
}
