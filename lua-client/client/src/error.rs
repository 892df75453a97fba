//! The errors the client makes itself.

use std::time::Duration;

use stillpoint_proto::v1::{Reason, StoreError};

/// The time is up; `phase` says what the operation was waiting for.
pub(crate) fn deadline_exceeded(
    deadline: Duration,
    phase: &str,
    maybe_applied: bool,
) -> StoreError {
    StoreError {
        maybe_applied,
        ..StoreError::new(
            Reason::DeadlineExceeded,
            format!("no answer within {deadline:?}: {phase}"),
        )
    }
}

/// The client was closed; `maybe_applied` as for a deadline.
pub(crate) fn closed(maybe_applied: bool) -> StoreError {
    StoreError {
        retryable: false,
        maybe_applied,
        ..StoreError::new(
            Reason::Unavailable,
            "the client is closed: connect a new one",
        )
    }
}

/// The store was restored or repaired, or is another one, since the write was sent.
pub(crate) fn other_incarnation() -> StoreError {
    StoreError {
        maybe_applied: true,
        ..StoreError::new(
            Reason::WrongIncarnation,
            "the store was restored or repaired since the write was sent, and cannot say whether it was applied: read again",
        )
    }
}

/// The queue is full.
pub(crate) fn queue_full(queue_max: usize) -> StoreError {
    StoreError::new(
        Reason::RateLimited,
        format!(
            "{queue_max} operations wait to be sent, which is the limit (`queue_max`): wait for some of them first"
        ),
    )
}

/// The watch is not open.
pub(crate) fn watch_over() -> StoreError {
    StoreError::new(
        Reason::Invalid,
        "the watch is over, or was never opened in this process: open a new one",
    )
}

/// There is no session to work on.
pub(crate) fn no_session() -> StoreError {
    StoreError::new(
        Reason::Invalid,
        "the client has no session: connect with a service and an instance",
    )
}

/// One operation is larger than a message may be.
pub(crate) fn too_large(bytes: usize, bytes_max: usize) -> StoreError {
    StoreError::new(
        Reason::TooLarge,
        format!(
            "the operation has {bytes} bytes, a message at most {bytes_max} (`max_message_bytes`): split it"
        ),
    )
}

/// The operating system refused the client something it cannot work without.
pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::new(Reason::Internal, format!("{what}: {error}"))
}
