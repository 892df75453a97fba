//! Bringing some records of the running store back to a moment.

use std::sync::Arc;

use stillpoint_proto::v1::{Reason, RestoreRecordsRequest, RestoreRecordsResponse, StoreError};
use tokio::sync::mpsc;
use tonic::Status;

use super::turn::Backups;

type Answer = Result<RestoreRecordsResponse, Status>;

/// Begins it; gives what is told of it.
pub fn begin(
    _backups: &Arc<Backups>,
    _request: RestoreRecordsRequest,
    _peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    Err(StoreError::new(Reason::Internal, "not yet"))
}
