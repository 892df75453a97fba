//! How a [`StoreError`] travels as a gRPC status and back.
//!
//! A status carries three details: `google.rpc.ErrorInfo` with the stable reason for generic tools, `RetryInfo` where
//! waiting helps, and the [`StoreError`] itself for our own clients.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::v1::{Reason, StoreError};

/// Domain of `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "stillpoint";

/// Bytes of the detail beyond which the record is left out of it: on a unary call the caller reads it again. On Pipeline
/// the error is part of the message, and whole.
const HEADER_BYTES_MAX: usize = 4096;

/// Type of the detail that holds a [`StoreError`].
const STORE_ERROR_TYPE_URL: &str = "type.googleapis.com/stillpoint.v1.StoreError";

impl Reason {
    /// The stable name without its prefix, e.g. `VERSION_CONFLICT`.
    pub fn name(self) -> &'static str {
        self.as_str_name()
            .strip_prefix("REASON_")
            .unwrap_or("UNSPECIFIED")
    }

    /// The gRPC code it travels under.
    pub fn code(self) -> Code {
        match self {
            Reason::VersionConflict => Code::Aborted,
            Reason::Fenced
            | Reason::NotOwner
            | Reason::SessionExpired
            | Reason::BoundViolation
            | Reason::SchemaUnsupported
            | Reason::WrongIncarnation => Code::FailedPrecondition,
            Reason::Compacted => Code::OutOfRange,
            Reason::NotFound => Code::NotFound,
            Reason::TooLarge | Reason::TooManyOps | Reason::Invalid => Code::InvalidArgument,
            Reason::Quota | Reason::RateLimited => Code::ResourceExhausted,
            Reason::ReadOnly | Reason::Unavailable => Code::Unavailable,
            Reason::DeadlineExceeded => Code::DeadlineExceeded,
            Reason::MigrationFailed | Reason::Internal | Reason::Unspecified => Code::Internal,
        }
    }

    /// Whether the same request may succeed later without any change.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Reason::VersionConflict
                | Reason::Quota
                | Reason::RateLimited
                | Reason::ReadOnly
                | Reason::Unavailable
                | Reason::DeadlineExceeded
        )
    }
}

impl StoreError {
    /// An error of this kind; `message` names the thing and the remedy.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        StoreError {
            reason: reason.into(),
            message: message.into(),
            retryable: reason.retryable(),
            ..Default::default()
        }
    }

    /// Encodes the error for a unary call.
    pub fn to_status(&self) -> Status {
        let reason = self.reason();
        let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
        if self.retry_after_ms > 0 {
            details.set_retry_info(Some(Duration::from_millis(self.retry_after_ms)));
        }
        let mut rpc_status = Status::with_error_details(reason.code(), &self.message, details)
            .rpc_status()
            .unwrap_or_default();
        // A status travels in a header, and headers are small.
        let value = match self.encode_to_vec() {
            whole if whole.len() <= HEADER_BYTES_MAX => whole,
            _ => StoreError {
                current: None,
                ..self.clone()
            }
            .encode_to_vec(),
        };
        rpc_status.details.push(prost_types::Any {
            type_url: STORE_ERROR_TYPE_URL.into(),
            value,
        });
        Status::with_details(
            reason.code(),
            &self.message,
            rpc_status.encode_to_vec().into(),
        )
    }

    /// Decodes the error of a unary call; a status that carries none (from a proxy, a broken connection) becomes the
    /// nearest reason.
    pub fn from_status(status: &Status) -> Self {
        if let Ok(rpc_status) = pb::Status::decode(status.details()) {
            for detail in &rpc_status.details {
                if detail.type_url == STORE_ERROR_TYPE_URL
                    && let Ok(error) = StoreError::decode(detail.value.as_slice())
                {
                    return error;
                }
            }
        }
        let reason = match status.code() {
            Code::InvalidArgument => Reason::Invalid,
            Code::OutOfRange => Reason::TooLarge,
            Code::ResourceExhausted => Reason::RateLimited,
            Code::DeadlineExceeded => Reason::DeadlineExceeded,
            Code::Internal | Code::Unimplemented | Code::DataLoss => Reason::Internal,
            _ => Reason::Unavailable,
        };
        StoreError::new(reason, status.message())
    }
}

/// Gives a status's details as `google.rpc.Status`.
trait RpcStatus {
    fn rpc_status(&self) -> Option<pb::Status>;
}

impl RpcStatus for Status {
    fn rpc_status(&self) -> Option<pb::Status> {
        pb::Status::decode(self.details()).ok()
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason().name(), self.message)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_a_status() {
        let mut error = StoreError::new(Reason::ReadOnly, "the disk is full");
        error.retry_after_ms = 250;
        let status = error.to_status();
        assert_eq!(status.code(), Code::Unavailable);
        let info = status.get_error_details();
        assert_eq!(info.error_info().unwrap().reason, "READ_ONLY");
        assert!(info.retry_info().is_some());
        assert_eq!(StoreError::from_status(&status), error);
    }
}
