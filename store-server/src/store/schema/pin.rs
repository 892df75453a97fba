//! The versions that a session speaks, decided when it is opened: what its program declared, else what the store has then.
//!
//! All of them are written into the session's record, so that they stay as they are while the store goes on.

use std::collections::BTreeMap;

use stillpoint_proto::v1::{Reason, StoreError};

use super::Table;

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
