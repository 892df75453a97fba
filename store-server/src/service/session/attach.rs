//! An Attach stream: heartbeats up, news down.
//!
//! One [`Attach`] is polled by the task of its HTTP/2 stream; it has no task of its own. When that drops it, the connection
//! is gone, and the session is detached.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use stillpoint_proto::v1::{
    AttachRequest, AttachResponse, Attached, ClaimLost, CommandAnswer, Reason, ReleaseWanted,
    ResponseHeader, ShuttingDown, StoreError, TimerFired, attach_response::Kind, command_answer,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tonic::{Status, Streaming};

use super::{
    SessionKey,
    asked::{Asked, Open},
    handover::claim_lost,
    hub::Hub,
    presence::{self, Link, Message, UNREAD_MAX, Unsaved},
    wishes::Wishes,
};
use crate::store::index::TAKEN_BY_RESTORE;

/// A holder's place at the hub, from attaching until it is dropped.
#[derive(Debug)]
struct Attachment {
    hub: Arc<Hub>,
    key: SessionKey,
    fence: u64,
    number: u64,
    /// What the holder is told. Ends when another stream of the holder has taken its place, or it has not been read.
    inbox: mpsc::Receiver<Message>,
    /// Tells that there are wishes to tell it.
    wishes: Arc<Notify>,
    /// Records the session owns.
    claims: u64,
    /// Records that the store took from it, perhaps while nobody was there to be told. Not among what is in the inbox: there
    /// may be more of them than fit.
    lost: VecDeque<ClaimLost>,
}

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
    Wanted(ReleaseWanted),
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
        if let Some(lost) = self.attachment.lost.pop_front() {
            return self.message(Kind::ClaimLost(lost));
        }
        while !self.over {
            match self.event().await {
                Event::Heard(heard) => self.hear(heard),
                // Another stream of the holder has taken this one's place.
                Event::Told(None) => self.over = true,
                Event::Wanted(wish) => return self.message(Kind::ReleaseWanted(wish)),
                Event::Told(Some(message)) => {
                    let kind = match message {
                        Message::ClaimLost(lost) => Kind::ClaimLost(lost),
                        Message::TimerDue { timer, due_ms } => {
                            match self.attachment.firing(&timer, due_ms) {
                                Some(fired) => Kind::TimerFired(fired),
                                None => continue,
                            }
                        }
                        Message::Asked { id, what, .. } => match what {
                            Asked::Command(command) => Kind::Command(command),
                            Asked::Notice(notice) => {
                                self.attachment.handed_over(id);
                                Kind::Notice(notice)
                            }
                        },
                        Message::HearOut(done) => {
                            while !self.over
                                && let Some(heard) = self.inbound.message().now_or_never()
                            {
                                self.hear(heard);
                            }
                            // Whoever has waited too long does not any more.
                            let _ = done.send(());
                            continue;
                        }
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
            wish = (self.attachment.hub).wish(
                &self.attachment.key,
                self.attachment.number,
                &self.attachment.wishes,
            ) => Event::Wanted(wish),
            heard = self.inbound.message() => Event::Heard(heard),
            _ = self.stopping.wait_for(|stopping| *stopping) => Event::Stopping,
        }
    }

    /// Takes in what the holder says.
    fn hear(&mut self, heard: Result<Option<AttachRequest>, Status>) {
        let Ok(Some(request)) = heard else {
            // It is gone.
            self.over = true;
            return;
        };
        self.attachment.heard(unsaved(&request));
        if let Some(answer) = request.answer {
            self.attachment.answered(answer);
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

impl Hub {
    /// A holder attaches. One that is attached already is replaced: it may have noticed that its connection broke before
    /// this server did.
    fn attach(
        self: &Arc<Self>,
        namespace: &str,
        id: &str,
        fence: u64,
    ) -> Result<Attachment, StoreError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let index = self.store().index();
        let session = index.check_fence(namespace, id, fence)?;
        let key = SessionKey {
            namespace: namespace.into(),
            id: session.id.clone(),
        };
        state.note(&key.namespace, session, now);
        // Another stream of the same holder may have been told what it did not hear.
        state.timers.left(&key);
        state.attachments += 1;
        let number = state.attachments;
        let (to, inbox) = mpsc::channel(UNREAD_MAX);
        let open = Open::new(self.store().config().limits.commands);
        let wishes = Wishes::default();
        let news = wishes.news.clone();
        let link = Link::Attached(presence::Attached {
            number,
            to,
            open,
            wishes,
        });
        state.presences.set_link(&key, link, now);
        if let Some(service) = state.presences.get(&key).map(|p| p.service_key(&key)) {
            state.timers.came(service, index.claims_of(id));
        }
        state.tell_wishes(&index, &key);
        let claims = index.claim_count_of(id) as u64;
        // Who is told twice, as the news comes later, asks who owns it.
        let taken = index.taken_from(id);
        let lost = taken
            .filter(|record| index.is_taken_from(namespace, id, record))
            .filter_map(|record| claim_lost(record, TAKEN_BY_RESTORE))
            .collect();
        drop(index);
        drop(state);
        self.wake();
        Ok(Attachment {
            hub: self.clone(),
            key,
            fence,
            number,
            inbox,
            wishes: news,
            claims,
            lost,
        })
    }
}

impl Attachment {
    /// The holder was heard.
    fn heard(&self, unsaved: Unsaved) {
        let mut state = self.hub.state.lock();
        if let Some(presence) = state.presences.get_mut(&self.key)
            && (presence.attached()).is_some_and(|attached| attached.number == self.number)
        {
            presence.heard = Instant::now();
            presence.unsaved = unsaved;
        }
    }

    /// The holder says how something goes that was asked of it.
    fn answered(&self, answer: CommandAnswer) {
        self.hub.answered(&self.key, self.number, answer);
    }

    /// The holder has been told what needs no answer.
    fn handed_over(&self, id: u64) {
        self.answered(CommandAnswer {
            command_id: id,
            kind: Some(command_answer::Kind::Value(Bytes::new())),
        });
    }

    /// What the holder is told of a firing.
    fn firing(&self, timer: &Bytes, due_ms: u64) -> Option<TimerFired> {
        (self.hub).firing(&self.key, self.fence, timer, due_ms)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.hub.state.lock().detach(&self.key, self.number);
        self.hub.wake();
    }
}
