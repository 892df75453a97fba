//! Which records have expired.
//!
//! The view has one key per record and time of expiry. Such a key is written with the record and never taken back: when
//! its time has come it counts only if the record still expires then.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::{draft::Source, keys, read::engine_failed, view::View};
use crate::engine::KeyChange;

/// What is due.
#[derive(Debug, Default)]
pub struct DueRecords {
    /// View keys of the records that have expired, by namespace.
    pub by_namespace: BTreeMap<Arc<str>, Vec<Bytes>>,
    /// The expiry keys that were looked at, to be deleted.
    pub index_keys: Vec<KeyChange>,
    /// When to look again, in milliseconds since 1970.
    pub next_ms: Option<u64>,
}

/// Most records that expire in one go; the rest follow at once, behind the writes that wait.
const EXPIRE_MAX: usize = 1000;

/// Finds what is due at `now_ms`.
pub fn due(view: &View, now_ms: u64) -> Result<DueRecords, StoreError> {
    let snapshot = view.read();
    let mut due = DueRecords::default();
    for pair in snapshot.scan(keys::expiry_until(u64::MAX - 1), false) {
        let (index_key, _) = pair.map_err(engine_failed)?;
        let Some((expires_at_ms, record_key)) = keys::split_expiry(&index_key) else {
            continue;
        };
        if expires_at_ms > now_ms || due.index_keys.len() >= EXPIRE_MAX {
            due.next_ms = Some(expires_at_ms);
            break;
        }
        due.index_keys.push((index_key.clone(), None));
        let record = snapshot.record(&record_key)?;
        if record.is_some_and(|r| r.expires_at_ms == expires_at_ms)
            && let Some((namespace, ..)) = keys::split_record(&record_key)
        {
            due.by_namespace
                .entry(namespace.into())
                .or_default()
                .push(record_key.clone());
        }
    }
    Ok(due)
}
