//! Giving the files of a backup to a caller who stores them.

use std::sync::Arc;

use stillpoint_proto::v1::{PullBackupRequest, PullBackupResponse, Reason, StoreError};
use tokio::sync::mpsc;
use tonic::Status;

use super::turn::Backups;

type Answer = Result<PullBackupResponse, Status>;

/// Begins it; gives what is told of it.
pub fn begin(
    _backups: &Arc<Backups>,
    _request: PullBackupRequest,
    _peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    Err(StoreError::new(Reason::Internal, "not yet"))
}
