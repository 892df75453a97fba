//! What callers of an older version may write and own: nothing by which something would be lost.

use bytes::Bytes;
use stillpoint_migrations::Fault;
use stillpoint_proto::v1::{Reason, RecordKey, StoreError};

use super::{
    Lens,
    lens::{Way, at, unwritable},
};
use crate::store::record::Record;

impl Lens {
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
    /// SCHEMA_UNSUPPORTED, with the place in the document and the script; MIGRATION_FAILED where a script fails, so that nobody
    /// knows.
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
        let (reason, why) = match lost {
            Ok(None) => return Ok(()),
            Ok(Some(lost)) => (
                Reason::SchemaUnsupported,
                format!("version {spoken} cannot carry {lost}"),
            ),
            Err(error) => match error.fault {
                Fault::UsedUp { .. } => {
                    return Err(unwritable(collection, key, spoken, newer, &error));
                }
                Fault::NoWay { .. } | Fault::NoDown { .. } => (
                    Reason::SchemaUnsupported,
                    format!("version {spoken} cannot carry it: {error}"),
                ),
                _ => (
                    Reason::MigrationFailed,
                    format!("nobody knows whether version {spoken} can carry it: {error}"),
                ),
            },
        };
        let message = format!(
            "{collection}/{}: it has version {newer}, and {why}; nothing was written: write it with a program of version \
             {newer}, and end those of version {spoken}, or let them release it",
            key.escape_ascii()
        );
        Err(at(collection, key, StoreError::new(reason, message)))
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
