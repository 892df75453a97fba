//! Records that the store writes for an operator, as they once were: one commit, on the condition that nobody has written
//! them since they were compared.
//!
//! Whoever owns one of them loses it in the same commit. The claim's record stays, and says from whom the record was taken:
//! so nobody owns it, and still nothing that the owner sent before he heard of it is applied over what was brought back.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_proto::v1::{self, Reason, RecordKey, StoreError};

use super::{
    claimed::Claimed, draft::Draft, handle::Store, index::Index, keys, own_record::Committed,
    record::Record, schema::Table,
};

/// Records to be written together, and who waits for it.
pub struct GiveBack {
    /// Their namespace.
    pub namespace: Arc<str>,
    /// Who asks for it, as the record's history tells; may be empty.
    pub actor: String,
    /// The records.
    pub records: Vec<Given>,
    /// Gets the commit once it is durable; VERSION_CONFLICT if a record is not as it was seen, or the store has another version
    /// of its schema than what it is to become. Called on the writer's thread,
    /// so it must not block.
    pub reply: Box<dyn FnOnce(Result<GivenBack, StoreError>) + Send>,
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its key in the view.
    pub key: Bytes,
    /// The revision that wrote it last when it was compared; 0: there was none.
    pub seen_rev: u64,
    /// What it becomes: value, schema and expiry, in the version that the store has; none: it is deleted.
    pub then: Option<Record>,
}

/// Records that were written together.
#[derive(Debug)]
pub struct GivenBack {
    /// The commit.
    pub committed: Committed,
    /// Who owned each of them, and does not any more.
    pub owners: Vec<Option<v1::Claim>>,
}

impl std::fmt::Debug for GiveBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GiveBack")
            .field("namespace", &self.namespace)
            .field("records", &self.records.len())
            .finish()
    }
}

impl Store {
    /// Writes records as one commit and waits for it. Blocks. VERSION_CONFLICT: one was written since it was seen,
    /// or brought to a version that the store has no more, and nothing was done: compare anew.
    pub(crate) fn give_back(
        &self,
        namespace: &str,
        actor: &str,
        records: Vec<Given>,
    ) -> Result<GivenBack, StoreError> {
        let (told, given) = crossbeam_channel::bounded(1);
        self.submit_give_back(GiveBack {
            namespace: namespace.into(),
            actor: actor.into(),
            records,
            reply: Box::new(move |given| drop(told.send(given))),
        });
        given.recv().unwrap_or_else(|_| {
            let message = "the server stopped before it said whether the records were written";
            let mut error = StoreError::new(Reason::Unavailable, message);
            error.maybe_applied = true;
            Err(error)
        })
    }
}

/// Writes the records in a draft; gives who loses each of them.
pub fn write(
    draft: &mut Draft<'_>,
    index: &Index,
    namespace: &str,
    records: &[Given],
    table: &Table,
) -> Result<Vec<Option<v1::Claim>>, StoreError> {
    records
        .iter()
        .map(|given| {
            is_as_seen(draft, given)?;
            match &given.then {
                Some(then) => {
                    has_the_store_s_version(table, &given.key, then)?;
                    let (value, schema) = (then.value.clone(), then.schema);
                    draft.put(&given.key, value, schema, then.expires_at_ms)?;
                }
                None => drop(draft.delete(&given.key)?),
            }
            take_away(draft, index, namespace, &given.key)
        })
        .collect()
}

/// Refuses a record whose schema has got another version since it was compared: no script holds the writer up here.
fn has_the_store_s_version(
    table: &Table,
    view_key: &Bytes,
    then: &Record,
) -> Result<(), StoreError> {
    let (namespace, collection, key) = keys::split_record(view_key).unwrap_or_default();
    match table.version(namespace, collection) {
        Some(version) if version != then.schema => {
            let message = format!(
                "{collection}/{}: it was compared in version {}, and the store has {version}",
                key.escape_ascii(),
                then.schema
            );
            let mut error = StoreError::new(Reason::VersionConflict, message);
            error.key = Some(record_key(collection, key));
            Err(error)
        }
        _ => Ok(()),
    }
}

fn record_key(collection: &str, key: &[u8]) -> RecordKey {
    RecordKey {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key),
    }
}

fn is_as_seen(draft: &Draft<'_>, given: &Given) -> Result<(), StoreError> {
    let current = draft.get(&given.key)?;
    let rev = current.as_ref().map_or(0, |record| record.mod_rev);
    if rev == given.seen_rev {
        return Ok(());
    }
    let (_, collection, key) = keys::split_record(&given.key).unwrap_or_default();
    let message = format!(
        "{collection}/{}: it is at revision {rev}, and was at {} when it was compared",
        key.escape_ascii(),
        given.seen_rev
    );
    let mut error = StoreError::new(Reason::VersionConflict, message);
    error.key = Some(record_key(collection, key));
    error.current = current.map(|record| record.to_proto());
    Err(error)
}

/// Takes a record from its owner, if it has one.
fn take_away(
    draft: &mut Draft<'_>,
    index: &Index,
    namespace: &str,
    key: &Bytes,
) -> Result<Option<v1::Claim>, StoreError> {
    let (Some(claim), Some(claim_key)) = (index.claim(key), keys::claim(key)) else {
        return Ok(None);
    };
    let session = index.session(namespace, &claim.session);
    let fence = session.map_or(0, |session| session.fence);
    let claimed = Claimed::now(index, namespace, key);
    claimed.taken_away(fence).write(draft, &claim_key)?;
    Ok(index.owner(namespace, key))
}
