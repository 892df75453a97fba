//! The stream of frames to the server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use stillpoint_proto::v1;
use tokio_stream::Stream;

use crate::{shared::Shared, wire::Frame};

/// The frames of one connection: the opening, then whatever has queued up each time the connection can take more. Ends
/// when its connection is no longer the ledger's, so that the streams of a broken one take nothing.
#[derive(Debug)]
pub(crate) struct Outbound {
    shared: Arc<Shared>,
    connection: u64,
    open: Option<v1::PipelineOpen>,
}

impl Outbound {
    /// The stream of the connection with this number.
    pub fn new(shared: Arc<Shared>, connection: u64, open: v1::PipelineOpen) -> Self {
        Outbound {
            shared,
            connection,
            open: Some(open),
        }
    }
}

impl Stream for Outbound {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(open) = self.open.take() {
            return Poll::Ready(Some(Frame {
                open: Some(open),
                items: Vec::new(),
            }));
        }
        let mut ledger = self.shared.ledger.lock();
        if ledger.link().number != self.connection {
            return Poll::Ready(None);
        }
        match ledger.next_frame(Instant::now()) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => {
                ledger.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
