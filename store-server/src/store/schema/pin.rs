//! The versions that a session speaks, decided when it is opened: what its program declared, else what the store has then.
//!
//! All of them are written into the session's record, so that they stay as they are while the store goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, RecordKey, StoreError};

use super::{Lens, Speaks, Table};
use crate::store::{keys, session::Session};

/// The versions that a session speaks which declares these.
///
/// # Errors
///
/// SCHEMA_UNSUPPORTED: the store is behind one of them, or there is no way back to it.
pub fn pin(
    table: &Table,
    namespace: &str,
    declared: &BTreeMap<String, u32>,
) -> Result<BTreeMap<String, u32>, StoreError> {
    for (collection, version) in declared {
        check(table, namespace, collection, *version)?;
    }
    let versions = table.versions(namespace).into_iter();
    let mut pinned: BTreeMap<_, _> = versions
        .map(|(collection, version)| (collection.to_owned(), version))
        .collect();
    pinned.extend(
        declared
            .iter()
            .map(|(name, version)| (name.clone(), *version)),
    );
    Ok(pinned)
}

/// Refuses a successor whose version of a collection is on the other side of a lossy script, if it would own one of its records;
/// these are the view keys of what it would own. A single record that it cannot write, since that has what its version does
/// not carry, is no reason: no script is run here. Such a write is refused, and the record can be released, or taken with
/// `steal`.
///
/// # Errors
///
/// SCHEMA_UNSUPPORTED, with one of the records and the script.
pub fn check_heir<'k>(
    table: &Arc<Table>,
    namespace: &str,
    heir: &Session,
    owned: impl Iterator<Item = &'k Bytes>,
) -> Result<(), StoreError> {
    let speaks = Speaks::Session(Arc::new(heir.clone()));
    let Some(lens) = Lens::new(table, namespace, speaks) else {
        return Ok(());
    };
    let mut checked = BTreeSet::new();
    for view_key in owned {
        if let Some((_, collection, key)) = keys::split_record(view_key)
            && checked.insert(collection)
        {
            let name = RecordKey {
                collection: collection.into(),
                key: view_key.slice_ref(key),
            };
            lens.check_ownable(&name).map_err(|mut error| {
                let identity = heir.identity();
                error.message = format!(
                    "{identity} owns records that this program could not claim: {}",
                    error.message
                );
                error
            })?;
        }
    }
    Ok(())
}

fn check(table: &Table, namespace: &str, collection: &str, version: u32) -> Result<(), StoreError> {
    let stored = table.version(namespace, collection).unwrap_or(0);
    if version == stored {
        return Ok(());
    }
    let unsupported = |message| Err(StoreError::new(Reason::SchemaUnsupported, message));
    if version > stored {
        return unsupported(format!(
            "the store has version {stored} of {namespace}/{collection}, this program needs {version}: run `stillpoint \
             migrate apply DIR`"
        ));
    }
    let lineage = table.lineage(namespace, collection);
    let why = match (lineage.first(), lineage.without_down(version, stored)) {
        (Ok(first), _) if version < first => format!("there are no scripts below version {first}"),
        (Ok(_), Ok(None)) => return Ok(()),
        (Ok(_), Ok(Some(link))) => format!("{} has no `down`", link.path),
        (Err(error), _) | (_, Err(error)) => error.to_string(),
    };
    unsupported(format!(
        "the store has version {stored} of {namespace}/{collection}, this program speaks {version}, and {why}: start newer \
         code"
    ))
}
