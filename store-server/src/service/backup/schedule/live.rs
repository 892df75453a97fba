//! What the running store was like after a commit, for whoever compares a backup with it.

use stillpoint_proto::v1::{Reason, StoreError};
use tokio::task;

use crate::{
    backup::{BackupError, hash_at},
    service::backup::answer,
    store::Store,
};

/// The state hash of the live store after a commit.
pub async fn state_hash(store: &Store, seq: u64) -> Result<String, StoreError> {
    let status = store.status().log;
    let (first, last) = (status.first_seq, status.last_seq);
    if seq > last {
        let message = format!("the store has no commit {seq} yet, its newest is {last}");
        return Err(StoreError::new(Reason::Invalid, message));
    }
    let found = find(store, seq).await;
    found.map_err(|error| answer::error(&error))?.ok_or_else(|| {
        if seq < first {
            let message = format!(
                "the log does not have commit {seq} any more, it begins with commit {first}: compare a newer backup, or keep \
                 more of the log with log.retention_secs and log.retention_bytes"
            );
            return StoreError::new(Reason::Compacted, message);
        }
        let message = format!("the log does not have a state hash for commit {seq}");
        StoreError::new(Reason::Invalid, message)
    })
}

/// The same, if the log has it.
pub async fn find(store: &Store, seq: u64) -> Result<Option<String>, BackupError> {
    let source = store.copy_source();
    let found = task::spawn_blocking(move || hash_at(&source, seq)).await;
    found.map_err(|error| BackupError::Store(error.to_string()))?
}
