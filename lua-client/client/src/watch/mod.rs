//! Watches: streams of changes, each of which goes on where it was when a connection is lost.
//!
//! All of them share one connection, the third of the client, dialled at the first watch. A taker that is slow stops its own
//! stream only: the ledger's queue for it fills up, then the stream's window, and the store waits. So the connection's window
//! is as large as HTTP/2 allows, and a stream's is small.
//!
//! - `line`: the connection; `stream`: one watch's stream; `progress`: where to go on.

mod line;
mod progress;
mod stream;

use stillpoint_proto::v1::{StoreError, WatchResponse};

pub(crate) use self::{line::Line, stream::run};

/// What a watch hears: a message, or why it is over.
pub type Heard = Result<WatchResponse, StoreError>;
