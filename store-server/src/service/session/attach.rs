//! An Attach stream: heartbeats up, news down.
//!
//! One [`Attach`] is polled by the task of its HTTP/2 stream; it has no task of its own. When that drops it, the connection
//! is gone, and the session is detached.

use std::sync::Arc;

use stillpoint_proto::v1::{
    AttachRequest, AttachResponse, Attached, Reason, ResponseHeader, ShuttingDown, StoreError,
    attach_response::Kind,
};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::{
    hub::{Attachment, Hub},
    presence::{Message, Unsaved},
};

/// The server's side of one Attach stream.
pub struct Attach {
    inbound: Streaming<AttachRequest>,
    attachment: Attachment,
    stopping: watch::Receiver<bool>,
    header: ResponseHeader,
    begun: bool,
    over: bool,
}

/// What an Attach stream waits for.
enum Event {
    Told(Option<Message>),
    Heard(Result<Option<AttachRequest>, Status>),
    Stopping,
}

impl Attach {
    /// Attaches the holder that the first message names.
    pub async fn begin(
        hub: &Arc<Hub>,
        mut inbound: Streaming<AttachRequest>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Attach, Status> {
        let first = inbound.message().await?.unwrap_or_default();
        let attached = || {
            let context = first.context.as_ref().ok_or_else(|| {
                StoreError::new(
                    Reason::Invalid,
                    "the first message of an Attach stream must have `context`",
                )
            })?;
            hub.store().check_context(context)?;
            hub.attach(&context.namespace, &context.session_id, context.fence)
        };
        let attachment = attached().map_err(|error| error.to_status())?;
        attachment.heard(unsaved(&first));
        Ok(Attach {
            inbound,
            attachment,
            stopping,
            header: hub.store().header(),
            begun: false,
            over: false,
        })
    }

    /// The next message to the holder; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<AttachResponse, Status>> {
        if !self.begun {
            self.begun = true;
            let claims = self.attachment.claims;
            return self.message(Kind::Attached(Attached { claims }));
        }
        while !self.over {
            match self.event().await {
                Event::Heard(Ok(Some(request))) => self.attachment.heard(unsaved(&request)),
                // The holder is gone, or another stream of it has taken this one's place.
                Event::Heard(_) | Event::Told(None) => self.over = true,
                Event::Told(Some(message)) => {
                    let kind = match message {
                        Message::ReleaseWanted(wish) => Kind::ReleaseWanted(wish),
                        Message::ClaimLost(lost) => Kind::ClaimLost(lost),
                        Message::TimerFired(fired) => Kind::TimerFired(fired),
                        Message::Fenced(fenced) => {
                            self.over = true;
                            Kind::Fenced(fenced)
                        }
                    };
                    return self.message(kind);
                }
                Event::Stopping => {
                    self.over = true;
                    let message =
                        "the server is stopping; the session goes on when it is back".into();
                    return self.message(Kind::ShuttingDown(ShuttingDown { message }));
                }
            }
        }
        None
    }

    async fn event(&mut self) -> Event {
        tokio::select! {
            // What was told last is told before the end.
            biased;
            told = self.attachment.inbox.recv() => Event::Told(told),
            heard = self.inbound.message() => Event::Heard(heard),
            _ = self.stopping.wait_for(|stopping| *stopping) => Event::Stopping,
        }
    }

    fn message(&self, kind: Kind) -> Option<Result<AttachResponse, Status>> {
        Some(Ok(AttachResponse {
            header: Some(self.header.clone()),
            kind: Some(kind),
        }))
    }
}

fn unsaved(request: &AttachRequest) -> Unsaved {
    Unsaved {
        documents: request.unsaved_documents,
        oldest_ms: request.oldest_unsaved_ms,
    }
}
