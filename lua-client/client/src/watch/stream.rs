//! One watch's stream: opened, read while there is room, and opened anew when it breaks.

use std::{future::poll_fn, sync::Arc, task::Poll};

use stillpoint_proto::v1::{
    Reason, StoreError, WatchRequest, WatchResponse, watch_service_client::WatchServiceClient,
};
use tonic::{Code, Status, Streaming};

use super::progress::Progress;
use crate::{
    connection::{MESSAGE_BYTES_SLACK, backoff, loss},
    endpoint::Endpoint,
    ledger::Want,
    shared::Shared,
};

/// Why a stream is over.
struct Loss {
    error: StoreError,
    /// The store has said so, not the connection.
    by_store: bool,
    /// Asking again does not help, whoever said it.
    is_final: bool,
}

/// Runs until the watch is over.
pub(crate) async fn run(shared: Arc<Shared>, id: u64, request: WatchRequest) {
    let mut progress = Progress::new(request);
    let mut waits = backoff();
    loop {
        let at = shared
            .until(Want::Link, |ledger| {
                let link = ledger.link();
                link.open.then_some(link.endpoint_index)
            })
            .await;
        let loss = match open(&shared, at, &mut progress).await {
            Ok((stream, number)) => {
                let (loss, was_useful) = follow(&shared, at, id, &mut progress, stream).await;
                if was_useful {
                    waits = backoff();
                }
                if !loss.by_store {
                    shared.line.lost(number);
                }
                loss
            }
            Err(loss) => loss,
        };
        if loss.ends(progress.is_started()) {
            return shared.ledger.lock().watch_heard(id, Err(loss.error));
        }
        tracing::debug!(watch = id, cause = loss.error.message, "opened anew");
        if let Some(wait) = waits.next() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Opens a stream on the watches' connection; returns that one's number with it.
async fn open(
    shared: &Shared,
    at: usize,
    progress: &mut Progress,
) -> Result<(Streaming<WatchResponse>, u64), Loss> {
    let endpoint = &shared.endpoints[at];
    let (channel, number) = shared
        .line
        .get(shared, at)
        .await
        .map_err(Loss::of_connection)?;
    let bytes_max = shared.config.message_bytes_max + MESSAGE_BYTES_SLACK;
    let mut service = WatchServiceClient::new(channel).max_decoding_message_size(bytes_max);
    let request = WatchRequest {
        context: Some(shared.context()),
        ..progress.open()
    };
    let timeout = shared.config.connect_timeout;
    let loss = match tokio::time::timeout(timeout, service.watch(request)).await {
        Ok(Ok(stream)) => return Ok((stream.into_inner(), number)),
        Ok(Err(status)) => Loss::of(endpoint, &status),
        Err(_) => Loss::of_connection(format!("{endpoint} opened no watch within {timeout:?}")),
    };
    if !loss.by_store {
        shared.line.lost(number);
    }
    Err(loss)
}

/// Reads a stream to its end, and says whether it told anything.
async fn follow(
    shared: &Shared,
    at: usize,
    id: u64,
    progress: &mut Progress,
    mut stream: Streaming<WatchResponse>,
) -> (Loss, bool) {
    let endpoint = &shared.endpoints[at];
    let mut was_useful = false;
    loop {
        room(shared, id).await;
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => {
                let cause = format!("{endpoint} ended the watch");
                return (Loss::of_connection(cause), was_useful);
            }
            Err(status) => return (Loss::of(endpoint, &status), was_useful),
        };
        was_useful = true;
        if let Some(message) = progress.take(message) {
            shared.ledger.lock().watch_heard(id, Ok(message));
        }
    }
}

/// Waits until the watch may take another message.
async fn room(shared: &Shared, id: u64) {
    poll_fn(|cx| {
        let mut ledger = shared.ledger.lock();
        match ledger.watches.has_room(id, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

impl Loss {
    /// The connection was lost, or did not come to be.
    fn of_connection(cause: String) -> Self {
        Loss {
            error: StoreError::new(Reason::Unavailable, cause),
            by_store: false,
            is_final: false,
        }
    }

    fn of(endpoint: &Endpoint, status: &Status) -> Self {
        let error = StoreError::from_status(status);
        // Only the store puts details into a status.
        let by_store = !status.details().is_empty();
        let is_transient = matches!(
            error.reason(),
            Reason::Unavailable
                | Reason::RateLimited
                | Reason::Quota
                | Reason::ReadOnly
                | Reason::DeadlineExceeded
                | Reason::Internal
        );
        let message = match by_store {
            true => error.message,
            false => loss(endpoint, status),
        };
        Loss {
            error: StoreError { message, ..error },
            by_store,
            is_final: !is_transient || status.code() == Code::Unimplemented,
        }
    }

    /// Whether the watch is over. One that stood goes on whatever it takes; one that the store does not let begin has to be
    /// known to its caller.
    fn ends(&self, is_started: bool) -> bool {
        let is_refused = self.by_store && !is_started && self.error.reason() != Reason::Unavailable;
        self.is_final || is_refused
    }
}
