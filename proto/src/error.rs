//! How a [`StoreError`] travels as a gRPC status and back.
//!
//! A status carries three details: `google.rpc.ErrorInfo` with the stable reason for generic tools, `RetryInfo` where
//! waiting helps, and the [`StoreError`] itself for our own clients.
//!
//! It travels in the trailers, for which HTTP/2 peers have 16 KiB: one that is larger is lost with its reason, and the caller
//! would repeat what was refused. So everything here that may be long has a bound, and all together stay under 8 KiB.

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

/// Bytes of the message in the detail: what is beyond is cut off.
const DETAIL_MESSAGE_BYTES_MAX: usize = 3072;

/// Bytes of the message for generic tools, which stands in two headers, in one of them up to three times as long.
const STATUS_MESSAGE_BYTES_MAX: usize = 512;

/// What stands in the place of the end of a message.
const CUT: &str = " ...";

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

    /// Encodes the error for a unary call; a long message is cut short.
    pub fn to_status(&self) -> Status {
        let reason = self.reason();
        let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
        if self.retry_after_ms > 0 {
            details.set_retry_info(Some(Duration::from_millis(self.retry_after_ms)));
        }
        let message = shortened(&self.message, STATUS_MESSAGE_BYTES_MAX);
        let mut rpc_status = Status::with_error_details(reason.code(), &message, details)
            .rpc_status()
            .unwrap_or_default();
        let mut detail = StoreError {
            message: shortened(&self.message, DETAIL_MESSAGE_BYTES_MAX),
            ..self.clone()
        };
        if detail.encoded_len() > HEADER_BYTES_MAX {
            detail.current = None;
        }
        rpc_status.details.push(prost_types::Any {
            type_url: STORE_ERROR_TYPE_URL.into(),
            value: detail.encode_to_vec(),
        });
        Status::with_details(reason.code(), message, rpc_status.encode_to_vec().into())
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

/// A text of at most so many bytes, cut off at a character.
fn shortened(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.into(),
        false => text[..text.floor_char_boundary(bytes_max - CUT.len())].to_owned() + CUT,
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
    use crate::v1::{Record, RecordKey};

    /// The error as the caller gets it, and the bytes of the trailers.
    fn sent(error: &StoreError) -> (StoreError, usize) {
        let trailers = error.to_status().into_http::<()>();
        let fields = trailers.headers().iter();
        let bytes = fields.map(|(name, value)| name.as_str().len() + value.len() + 32);
        let status = Status::from_header_map(trailers.headers()).unwrap();
        (StoreError::from_status(&status), bytes.sum())
    }

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

    #[test]
    fn a_message_that_is_too_long_for_a_header_is_cut_and_the_reason_stays() {
        // Of two bytes each, which is six in the header that is for people.
        for text in ["Ann (version 1), ", "Zoë\n", "é"] {
            let mut error = StoreError::new(Reason::SchemaUnsupported, text.repeat(100_000));
            error.maybe_applied = true;
            error.key = Some(RecordKey {
                collection: "player".into(),
                key: vec![255; 1024].into(),
            });
            let (got, bytes) = sent(&error);
            assert!(bytes < 8 << 10, "{bytes} bytes");
            let begin = got.message.strip_suffix(" ...").expect("it is cut");
            assert!(error.message.starts_with(begin) && begin.len() > 3000);
            error.message = got.message.clone();
            assert_eq!(got, error);
        }
    }

    #[test]
    fn a_message_that_fits_is_whole() {
        let error = StoreError::new(Reason::Invalid, "x".repeat(DETAIL_MESSAGE_BYTES_MAX));
        assert_eq!(sent(&error).0, error);
    }

    #[test]
    fn a_record_that_is_too_large_for_a_header_is_left_out() {
        let mut error = StoreError::new(Reason::VersionConflict, "it was written meanwhile");
        for (bytes, fits) in [(3000, true), (5000, false)] {
            error.current = Some(Record {
                value: vec![1; bytes].into(),
                ..Record::default()
            });
            let (got, _) = sent(&error);
            assert_eq!(got.current.is_some(), fits, "{bytes} bytes");
            assert_eq!(
                (got.reason(), got.retryable),
                (Reason::VersionConflict, true)
            );
        }
    }
}
