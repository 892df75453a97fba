//! What the server does by itself: backups, their verification, the removal of old ones.

use std::sync::Arc;

use stillpoint_proto::v1::{
    BackupStatus, Reason, RunScheduledRequest, RunScheduledResponse, StoreError,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::turn::Backups;
use crate::store::Store;

type Answer = Result<RunScheduledResponse, Status>;

/// Begins it; gives what is told of it.
pub fn begin(
    _backups: &Arc<Backups>,
    _request: RunScheduledRequest,
    _peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    Err(StoreError::new(Reason::Internal, "not yet"))
}

/// How backups are.
pub fn status(_backups: &Arc<Backups>) -> BackupStatus {
    BackupStatus::default()
}

/// The state hash of the live store after a commit.
pub async fn state_hash(_store: &Store, _seq: u64) -> Result<String, StoreError> {
    Err(StoreError::new(Reason::Internal, "not yet"))
}
