//! The control stream: keeps the session alive from a connection of its own, brings the store's notices and the operator's
//! commands, and takes the answers to these back at once.
//!
//! It is opened anew whenever it is lost, as soon as the connection for operations stands, since that is how one knows that
//! there is a server. Only a refusal ends it: then the session has a successor, or is over.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use stillpoint_proto::v1::{
    self, Reason, StoreError, attach_response::Kind, session_service_client::SessionServiceClient,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    Event,
    connection::{MESSAGE_BYTES_SLACK, backoff, loss},
    endpoint::Endpoint,
    ledger::{Closing, Held, Ledger, Want},
    shared::Shared,
};

/// How a control stream ended.
enum End {
    /// For good.
    Over,
    /// The connection was lost; why, for people.
    Lost(String),
}

/// Runs from the opening of the session to its end.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut waits = backoff();
    loop {
        let at = shared.until(Want::Link, endpoint_of).await;
        let endpoint = &shared.endpoints[at];
        let end = match attach(&shared, endpoint).await {
            Ok(control) => {
                waits = backoff();
                control.follow(&shared, endpoint).await
            }
            Err(end) => end,
        };
        let End::Lost(cause) = end else { return };
        tracing::debug!(%endpoint, cause, "the session is detached");
        shared.ledger.lock().session_detached(cause);
        if let Some(wait) = waits.next() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Where the store is that has the session.
fn endpoint_of(ledger: &mut Ledger) -> Option<usize> {
    let link = ledger.link();
    (link.open && ledger.session.is_some()).then_some(link.endpoint_index)
}

/// A control stream that stands.
struct Control {
    service: SessionServiceClient<Channel>,
    beats: mpsc::Sender<v1::AttachRequest>,
    notices: Streaming<v1::AttachResponse>,
}

/// Connects, and attaches the session.
async fn attach(shared: &Shared, endpoint: &Endpoint) -> Result<Control, End> {
    let timeout = shared.config.connect_timeout;
    let channel = endpoint.dial(timeout).await.map_err(End::Lost)?;
    let bytes_max = shared.config.message_bytes_max + MESSAGE_BYTES_SLACK;
    let mut service = SessionServiceClient::new(channel).max_decoding_message_size(bytes_max);
    let (beats, requests) = mpsc::channel(1);
    let context = shared.context();
    if let Some(first) = beat(shared) {
        // There is room: nothing was sent yet.
        let _ = beats.try_send(v1::AttachRequest {
            context: Some(context),
            ..first
        });
    }
    let attaching = async {
        let mut notices = service.attach(ReceiverStream::new(requests)).await?;
        let first = notices.get_mut().message().await?;
        Ok((notices.into_inner(), first.and_then(|first| first.kind)))
    };
    let (notices, first) = match tokio::time::timeout(timeout, attaching).await {
        Ok(attached) => attached.map_err(|status| lost(shared, endpoint, &status))?,
        Err(_) => {
            let cause = format!("{endpoint} did not attach the session within {timeout:?}");
            return Err(End::Lost(cause));
        }
    };
    match first {
        Some(Kind::Attached(attached)) => shared.ledger.lock().session_attached(&attached),
        Some(Kind::Fenced(fenced)) => {
            shared.ledger.lock().session_fenced(fenced);
            return Err(End::Over);
        }
        _ => {
            return Err(End::Lost(format!(
                "{endpoint} did not attach the session; is it a Stillpoint server?"
            )));
        }
    }
    Ok(Control {
        service,
        beats,
        notices,
    })
}

impl Control {
    /// Sends heartbeats and takes in notices until the stream ends.
    async fn follow(mut self, shared: &Shared, endpoint: &Endpoint) -> End {
        let Some(every) = heartbeat_of(shared) else {
            return End::Over;
        };
        let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = send_answer(shared, &self.beats) => {}
                notice = next_notice(shared, &mut self.notices) => match notice {
                    Ok(Some(notice)) => if let Some(end) = take(shared, notice) {
                        return end;
                    },
                    Ok(None) => return End::Lost(format!("{endpoint} ended the control stream")),
                    Err(status) => return lost(shared, endpoint, &status),
                },
                _ = ticks.tick() => if let Some(beat) = beat(shared) {
                    // Where one before still waits to be sent, be it an answer, another is of no use.
                    let _ = self.beats.try_send(beat);
                },
                request = asked_to_close(shared, &self.beats) => {
                    if let Some(end) = self.close(shared, endpoint, request).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Closes the session; `None`: the store has refused to.
    async fn close(
        &mut self,
        shared: &Shared,
        endpoint: &Endpoint,
        request: v1::CloseSessionRequest,
    ) -> Option<End> {
        let Err(status) = self.service.close_session(request).await else {
            shared.ledger.lock().session_closed(Ok(()));
            return Some(End::Over);
        };
        let error = StoreError::from_status(&status);
        match error.reason() {
            Reason::Unavailable | Reason::Fenced | Reason::SessionExpired => {
                Some(lost(shared, endpoint, &status))
            }
            _ => {
                shared.ledger.lock().session_closed(Err(error));
                None
            }
        }
    }
}

/// Takes in a notice; some are the end.
fn take(shared: &Shared, notice: v1::AttachResponse) -> Option<End> {
    let mut ledger = shared.ledger.lock();
    let event = match notice.kind? {
        Kind::Attached(attached) => {
            ledger.session_attached(&attached);
            return None;
        }
        Kind::Fenced(fenced) => {
            ledger.session_fenced(fenced);
            return Some(End::Over);
        }
        Kind::ReleaseWanted(notice) => Event::ReleaseWanted(notice),
        Kind::ClaimLost(notice) => Event::ClaimLost(notice),
        Kind::TimerFired(notice) => Event::TimerFired(notice),
        Kind::ShuttingDown(notice) => Event::ShuttingDown(notice),
        Kind::Command(command) => {
            ledger.command_received(command);
            return None;
        }
        Kind::Notice(notice) => Event::Notice(notice),
    };
    ledger.tell(event);
    None
}

/// The next notice, once there is room for another event.
async fn next_notice(
    shared: &Shared,
    notices: &mut Streaming<v1::AttachResponse>,
) -> Result<Option<v1::AttachResponse>, Status> {
    poll_fn(|cx| {
        let mut ledger = shared.ledger.lock();
        if !ledger.events.is_full() {
            return Poll::Ready(());
        }
        if let Some(held) = &mut ledger.session {
            held.control = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
    notices.message().await
}

/// Sends an answer to a command, once there is one and room for it.
async fn send_answer(shared: &Shared, beats: &mpsc::Sender<v1::AttachRequest>) {
    with_session(shared, |held| (!held.answers.is_empty()).then_some(())).await;
    let Ok(room) = beats.reserve().await else {
        // Nobody takes it. The next notice says why.
        return pending().await;
    };
    let mut ledger = shared.ledger.lock();
    if let Some(held) = &mut ledger.session
        && let Some(answer) = held.answers.pop()
    {
        room.send(v1::AttachRequest {
            answer: Some(answer),
            ..held.beat(Instant::now())
        });
    }
}

/// What to close the session with, once somebody asks for it. What was answered to commands goes first.
async fn asked_to_close(
    shared: &Shared,
    beats: &mpsc::Sender<v1::AttachRequest>,
) -> v1::CloseSessionRequest {
    loop {
        with_session(shared, |held| {
            let is_asked = matches!(held.closing, Closing::Asked { .. });
            (is_asked && held.answers.is_empty()).then_some(())
        })
        .await;
        // Once the last of them has left the queue, it stands behind that on the wire, too. Where none is taken any more,
        // none is waited for.
        let _room = beats.reserve().await;
        let mut ledger = shared.ledger.lock();
        if let Some(held) = &mut ledger.session
            && held.answers.is_empty()
            && let Some(request) = held.closing.send()
        {
            return request;
        }
    }
}

/// Waits until `ready` gives something; looks again whenever the control stream's task is woken.
async fn with_session<T>(shared: &Shared, mut ready: impl FnMut(&mut Held) -> Option<T>) -> T {
    poll_fn(|cx| {
        let mut ledger = shared.ledger.lock();
        let Some(held) = &mut ledger.session else {
            return Poll::Pending;
        };
        match ready(held) {
            Some(out) => Poll::Ready(out),
            None => {
                held.control = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn beat(shared: &Shared) -> Option<v1::AttachRequest> {
    let ledger = shared.ledger.lock();
    let held = ledger.session.as_ref()?;
    Some(held.beat(Instant::now()))
}

fn heartbeat_of(shared: &Shared) -> Option<Duration> {
    let ledger = shared.ledger.lock();
    ledger.session.as_ref().map(|held| held.heartbeat)
}

/// What a status means for the session.
fn lost(shared: &Shared, endpoint: &Endpoint, status: &Status) -> End {
    let error = StoreError::from_status(status);
    match error.reason() {
        Reason::Fenced | Reason::SessionExpired | Reason::NotOwner => {
            shared.ledger.lock().session_fenced(v1::Fenced {
                message: error.message,
                fence: 0,
                holder: error.holder,
            });
            End::Over
        }
        _ => End::Lost(loss(endpoint, status)),
    }
}
