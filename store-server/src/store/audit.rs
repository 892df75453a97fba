//! What operators have asked, as the store keeps it: records of the reserved collection `@audit`, by number. The numbers
//! are in the order of time.
//!
//! A record's value is one MessagePack value like any other: the bytes of the contract's `ActionRecord`, to which fields
//! are only ever added.

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{ActionRecord, Reason, StoreError};

use super::{
    handle::Store,
    keys::{self, System},
    own_record::OwnRecord,
    read,
    record::Record,
};

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
        self.write_own(OwnRecord {
            namespace: namespace.into(),
            system: System::Audit,
            name: Bytes::copy_from_slice(action.action_id.as_bytes()),
            value: encode(action),
            expires_at_ms,
            is_new: false,
            reply: Box::new(|written| reply(written.map(drop))),
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
