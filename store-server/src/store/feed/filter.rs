//! What a watch wants to hear of.

use std::{ops::Bound, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use stillpoint_proto::v1::{
    Reason, RecordKey, StoreError, WatchEvent, WatchEventType, WatchRequest,
};

use super::Commit;
use crate::{
    engine::KeyRange,
    log::Origin,
    store::{keys, record::Record},
};

/// What a watch wants to hear of. Never of the store's own records.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Empty: all.
    collection: String,
    /// Empty: all.
    key: Bytes,
    /// Empty: all.
    prefix: Bytes,
    pub(super) keys_only: bool,
    /// Commits of this session are left out; empty: of none.
    skipped_session: String,
}

impl Filter {
    /// What a request asks for.
    pub fn new(request: &WatchRequest) -> Result<Filter, StoreError> {
        let invalid = |message| Err(StoreError::new(Reason::Invalid, message));
        if request.collection.is_empty() && !(request.key.is_empty() && request.prefix.is_empty()) {
            return invalid("a watch of a key or a prefix names its collection");
        }
        if !request.key.is_empty() && !request.prefix.is_empty() {
            return invalid(
                "a watch is of a key or of a prefix, not of both: leave one of them out",
            );
        }
        let context = request.context.clone().unwrap_or_default();
        Ok(Filter {
            namespace: context.namespace.into(),
            collection: request.collection.clone(),
            key: request.key.clone(),
            prefix: request.prefix.clone(),
            keys_only: request.keys_only,
            skipped_session: match request.skip_own {
                true => context.session_id,
                false => String::new(),
            },
        })
    }

    /// Whether a record is watched.
    pub fn wants(&self, collection: &str, key: &[u8]) -> bool {
        match self.collection.is_empty() {
            true => !keys::is_system(collection),
            false => {
                self.collection == collection
                    && (self.key.is_empty() || self.key == key)
                    && key.starts_with(&self.prefix)
            }
        }
    }

    /// Whether a session's commits are left out.
    pub fn skips(&self, session: &str) -> bool {
        !self.skipped_session.is_empty() && self.skipped_session == session
    }

    /// What of a commit is watched, by view key.
    pub fn events(&self, commit: &Commit) -> Vec<(Bytes, WatchEvent)> {
        let gone = match commit.origin {
            Origin::Expiry => WatchEventType::Expire,
            Origin::Client | Origin::Session | Origin::Migration => WatchEventType::Delete,
        };
        let there = match commit.origin {
            Origin::Migration => WatchEventType::Migrate,
            Origin::Client | Origin::Expiry | Origin::Session => WatchEventType::Put,
        };
        let changes = commit.changes.iter();
        changes
            .filter_map(|(view_key, record)| {
                let kind = record.as_ref().map_or(gone, |_| there);
                let event = self.event(view_key, record.as_ref(), kind)?;
                Some((view_key.clone(), event))
            })
            .collect()
    }

    /// A record as it is, as an event; `None`: it is not watched.
    pub fn state(&self, view_key: &Bytes, record: &Record) -> Option<WatchEvent> {
        self.event(view_key, Some(record), WatchEventType::Put)
    }

    fn event(
        &self,
        view_key: &Bytes,
        record: Option<&Record>,
        kind: WatchEventType,
    ) -> Option<WatchEvent> {
        let (_, collection, key) = keys::split_record(view_key)?;
        if !self.wants(collection, key) {
            return None;
        }
        let record = record.map(|record| {
            let mut record = record.to_proto();
            if self.keys_only {
                record.value = Bytes::new();
            }
            record
        });
        Some(WatchEvent {
            r#type: kind.into(),
            key: Some(RecordKey {
                collection: collection.into(),
                key: view_key.slice_ref(key),
            }),
            record,
        })
    }

    /// Where in the view the watched records are, in order.
    pub fn ranges(&self) -> Vec<KeyRange> {
        if self.collection.is_empty() {
            // All of the namespace, on either side of the store's own records.
            let (low, high) = keys::collections_after(&self.namespace, "");
            let (own_low, own_high) = keys::systems_of(&self.namespace);
            let end = |bound| match bound {
                Bound::Included(key) | Bound::Excluded(key) => key,
                Bound::Unbounded => Bytes::new(),
            };
            return vec![
                (low, Bound::Excluded(end(own_low))),
                (Bound::Included(end(own_high)), high),
            ];
        }
        let (prefix, end) = match self.key.is_empty() {
            true => (&self.prefix, Bytes::new()),
            false => {
                let mut behind = BytesMut::from(&self.key[..]);
                behind.put_u8(0);
                (&self.key, behind.freeze())
            }
        };
        vec![keys::scan_range(
            &self.namespace,
            &self.collection,
            prefix,
            b"",
            &end,
        )]
    }
}
