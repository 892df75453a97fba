//! The operator's port, one blocking call at a time.

use std::time::Duration;

use stillpoint_proto::v1::{self, Reason, StoreError};

/// A connection to the operator's port. Blocking; not for use within an async runtime.
#[derive(Debug)]
pub struct AdminClient {}

impl AdminClient {
    /// Connects to `unix:PATH` or `http://host:port`; `deadline` bounds the connecting and each call.
    pub fn connect(_endpoint: &str, _deadline: Duration) -> Result<AdminClient, StoreError> {
        Err(StoreError::new(Reason::Internal, "not built yet"))
    }

    /// How the store is.
    pub fn status(&mut self) -> Result<v1::GetStatusResponse, StoreError> {
        Err(StoreError::new(Reason::Internal, "not built yet"))
    }
}
