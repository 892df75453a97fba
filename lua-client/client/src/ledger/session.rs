//! The session as the ledger knows it.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use stillpoint_proto::v1::{self, Reason, StoreError};

use super::{Ledger, answers::Answers};
use crate::{Config, Event, SessionInfo, SessionState};

/// A heartbeat is sent so often where the server does not say.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Heartbeats are never sent more often than this.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// A session that was opened.
#[derive(Debug)]
pub(crate) struct Held {
    pub info: SessionInfo,
    pub heartbeat: Duration,
    unsaved_documents: u64,
    unsaved_since: Option<Instant>,
    /// Why it is not attached, for people.
    pub cause: String,
    pub closing: Closing,
    /// What is said of the operator's commands.
    pub answers: Answers,
    /// Wakes the control stream's task.
    pub control: Option<Waker>,
}

/// How far closing it is.
#[derive(Debug)]
pub(crate) enum Closing {
    /// Nobody asked for it.
    No,
    /// Asked for, and not sent on this control stream.
    Asked {
        request: v1::CloseSessionRequest,
        /// It was sent on one before, and may have been done.
        unknown: bool,
    },
    /// Sent, and not answered.
    Sent {
        request: v1::CloseSessionRequest,
        unknown: bool,
    },
    /// Answered.
    Done(Result<(), StoreError>),
}

impl Closing {
    /// What to send, if it is to be sent.
    pub fn send(&mut self) -> Option<v1::CloseSessionRequest> {
        let Closing::Asked { request, unknown } = self else {
            return None;
        };
        let (request, unknown) = (std::mem::take(request), *unknown);
        *self = Closing::Sent {
            request: request.clone(),
            unknown,
        };
        Some(request)
    }
}

impl Held {
    /// What every request says of the session. Of one that is lost, too: it is for the store to refuse what comes under it.
    pub fn context(&self, namespace: &str) -> v1::RequestContext {
        v1::RequestContext {
            namespace: namespace.into(),
            session_id: self.info.id.clone(),
            fence: self.info.fence,
            ..Default::default()
        }
    }

    /// The next heartbeat.
    pub fn beat(&self, now: Instant) -> v1::AttachRequest {
        let age = self.unsaved_since.map_or(Duration::ZERO, |at| now - at);
        v1::AttachRequest {
            context: None,
            unsaved_documents: self.unsaved_documents,
            oldest_unsaved_ms: millis(age),
            answer: None,
        }
    }

    /// Has the control stream's task look again.
    pub fn wake_control(&mut self) {
        if let Some(control) = self.control.take() {
            control.wake();
        }
    }
}

impl Ledger {
    /// The session is open; the control stream is to come.
    pub fn session_opened(&mut self, config: &Config, response: v1::OpenSessionResponse) {
        let Some(session) = &config.session else {
            return;
        };
        let heartbeat = match response.heartbeat_ms {
            0 => HEARTBEAT,
            ms => Duration::from_millis(ms).max(HEARTBEAT_MIN),
        };
        self.session = Some(Held {
            info: SessionInfo {
                id: response.session_id,
                service: session.service.clone(),
                instance: session.instance.clone(),
                code_version: session.code_version.clone(),
                fence: response.fence,
                resume_token: response.resume_token,
                ttl: Duration::from_millis(response.ttl_ms),
                succeeded: response.succeeded,
                claims: response.claims,
                gap: Duration::from_millis(response.gap_ms),
                state: SessionState::Detached,
            },
            heartbeat,
            unsaved_documents: 0,
            unsaved_since: None,
            cause: "its control stream is not open yet".into(),
            closing: Closing::No,
            answers: Answers::default(),
            control: None,
        });
        self.events.want();
        self.attend();
        self.wake_waiters();
    }

    /// The control stream stands.
    pub fn session_attached(&mut self, attached: &v1::Attached) {
        if let Some(held) = self.session.as_mut().filter(|s| s.info.state.is_alive()) {
            held.info.state = SessionState::Attached;
            held.info.claims = attached.claims;
            held.cause.clear();
            self.wake_waiters();
        }
    }

    /// The control stream is lost.
    pub fn session_detached(&mut self, cause: String) {
        if let Some(held) = self.session.as_mut().filter(|s| s.info.state.is_alive()) {
            held.info.state = SessionState::Detached;
            held.cause = cause;
            held.answers.clear();
            if let Closing::Sent { request, .. } = &mut held.closing {
                held.closing = Closing::Asked {
                    request: std::mem::take(request),
                    unknown: true,
                };
            }
            // Whoever asked was told that the process is gone: what was not begun is not to happen later, unasked.
            self.with_signal(|ledger| ledger.events.withdraw_commands());
            self.wake_waiters();
        }
    }

    /// The session is not this process's any more.
    pub fn session_fenced(&mut self, fenced: v1::Fenced) {
        let Some(held) = self.session.as_mut().filter(|s| s.info.state.is_alive()) else {
            return;
        };
        held.cause.clone_from(&fenced.message);
        match held.closing {
            // It is over because we closed it; the answer to that was lost.
            Closing::Asked { unknown: true, .. } | Closing::Sent { unknown: true, .. } => {
                return self.session_closed(Ok(()));
            }
            Closing::Asked { .. } | Closing::Sent { .. } => {
                held.closing = Closing::Done(Err(held.fenced()));
            }
            Closing::No | Closing::Done(_) => {}
        }
        held.info.state = SessionState::Fenced;
        held.answers.clear();
        self.with_signal(|ledger| ledger.events.withdraw_commands());
        self.tell(Event::Fenced(fenced));
        self.attend();
        self.wake_waiters();
    }

    /// Asks the control stream's task to close the session, unless it is over.
    pub fn session_close(&mut self, request: v1::CloseSessionRequest) {
        let Some(held) = &mut self.session else {
            return;
        };
        held.closing = match held.info.state {
            SessionState::Attached | SessionState::Detached => Closing::Asked {
                request,
                unknown: false,
            },
            SessionState::Fenced => Closing::Done(Err(held.fenced())),
            SessionState::Closed => Closing::Done(Ok(())),
        };
        held.wake_control();
    }

    /// The store has answered that.
    pub fn session_closed(&mut self, outcome: Result<(), StoreError>) {
        let Some(held) = &mut self.session else {
            return;
        };
        if outcome.is_ok() {
            held.info.state = SessionState::Closed;
            held.answers.clear();
        }
        held.closing = Closing::Done(outcome);
        self.attend();
        self.wake_waiters();
    }

    /// An operator's command has come.
    pub fn command_received(&mut self, command: v1::Command) {
        if let Some(held) = &mut self.session {
            held.answers.received(command.command_id);
            held.wake_control();
        }
        self.tell(Event::Command(command));
    }

    /// How a command goes on; false: nobody waits for that.
    pub fn command_answered(&mut self, command_id: u64, kind: v1::command_answer::Kind) -> bool {
        let Some(held) = &mut self.session else {
            return false;
        };
        let is_awaited = held.answers.answer(command_id, kind);
        held.wake_control();
        is_awaited
    }

    /// What the next heartbeat says.
    pub fn set_unsaved(&mut self, documents: u64, oldest: Option<Instant>) {
        if let Some(held) = &mut self.session {
            held.unsaved_documents = documents;
            held.unsaved_since = oldest;
        }
    }
}

impl Held {
    /// What a call gets that needs the session, once another has it.
    pub fn fenced(&self) -> StoreError {
        StoreError::new(
            Reason::Fenced,
            format!("the session {} was lost: {}", self.info.id, self.cause),
        )
    }
}

/// Milliseconds, as the wire has them.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
