//! What operators have asked, as the store keeps it: records of the reserved collection `@audit`, by number. The numbers
//! are in the order of time.
//!
//! A record's value is one MessagePack value like any other: the bytes of the contract's `ActionRecord`, to which fields
//! are only ever added.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{ActionRecord, Reason, StoreError};

use super::{
    draft::Draft,
    handle::Store,
    keys::{self, System},
    read,
    record::Record,
};

/// An action to be written down, and who waits for it.
pub struct AuditJob {
    /// The namespace of its processes.
    pub namespace: Arc<str>,
    /// View key of its record.
    key: Bytes,
    /// Value of its record.
    value: Bytes,
    /// When its record expires, in milliseconds since 1970.
    expires_at_ms: u64,
    /// Is told when it is durable. Called on the writer's thread, so it must not block.
    pub reply: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

impl std::fmt::Debug for AuditJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditJob")
            .field("namespace", &self.namespace)
            .field("key", &self.key)
            .finish()
    }
}

/// Writes the record in a draft.
pub fn write(draft: &mut Draft<'_>, job: &AuditJob) -> Result<(), StoreError> {
    let written = draft.put(&job.key, job.value.clone(), 0, job.expires_at_ms);
    written.map(drop)
}

impl Store {
    /// Writes an action down, or how it ended, under its number; `reply` is told once that is durable. It is called on the
    /// writer's thread, so it must not block.
    pub fn write_action(
        &self,
        namespace: &str,
        action: &ActionRecord,
        expires_at_ms: u64,
        reply: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        self.push_audit(AuditJob {
            namespace: namespace.into(),
            key: keys::system(namespace, System::Audit, action.action_id.as_bytes()),
            value: encode(action),
            expires_at_ms,
            reply: Box::new(reply),
        });
    }

    /// The newest actions of a namespace, newest first: at most `count`, and no more than fit into one answer, but at least
    /// one; only those before this number, if it is not empty.
    pub fn actions(
        &self,
        namespace: &str,
        before: &str,
        count: usize,
    ) -> Result<Vec<ActionRecord>, StoreError> {
        let bytes_max = self.config().limits.answer_bytes();
        let range = keys::systems(namespace, System::Audit, before.as_bytes());
        let reader = self.reader();
        let mut stored = Vec::new();
        let mut bytes = 0;
        for pair in reader.snapshot().scan(range, true).take(count) {
            let (_, record) = pair.map_err(read::engine_failed)?;
            bytes += record.len();
            if bytes > bytes_max && !stored.is_empty() {
                break;
            }
            stored.push(record);
        }
        drop(reader);
        let actions = stored.iter().map(|record| decode(&read::decode(record)?));
        actions.collect()
    }
}

fn encode(action: &ActionRecord) -> Bytes {
    let bytes = action.encode_to_vec();
    rmp_serde::to_vec(serde_bytes::Bytes::new(&bytes))
        .expect("bytes are always encodable")
        .into()
}

fn decode(record: &Record) -> Result<ActionRecord, StoreError> {
    let unreadable =
        |detail: String| StoreError::new(Reason::Internal, format!("an action's record: {detail}"));
    let bytes: &serde_bytes::Bytes =
        rmp_serde::from_slice(&record.value).map_err(|e| unreadable(e.to_string()))?;
    ActionRecord::decode(&bytes[..]).map_err(|e| unreadable(e.to_string()))
}
