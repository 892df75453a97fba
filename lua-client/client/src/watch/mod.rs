//! Watches: streams of changes, each of which goes on where it was when a connection is lost.

use stillpoint_proto::v1::{StoreError, WatchResponse};

/// What a watch hears: a message, or why it is over.
pub type Heard = Result<WatchResponse, StoreError>;
