//! The session: the identity that this process writes under, until a successor takes it over.
//!
//! - `open`: once, before the first operation.
//! - `control`: heartbeats and notices, on a connection of its own.

pub(crate) mod control;
pub(crate) mod open;

use std::time::Duration;

use bytes::Bytes;

/// What a client knows of its session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The session's id. A successor gets the same one.
    pub id: String,
    /// The service.
    pub service: String,
    /// The instance of it.
    pub instance: String,
    /// Version of this process's code, as it said.
    pub code_version: String,
    /// This process's fence: greater than that of every holder before.
    pub fence: u64,
    /// Lets a successor take the session over from this process while it lives. A secret.
    pub resume_token: Bytes,
    /// How long the session lives without a word from this process.
    pub ttl: Duration,
    /// Whether there was a session to take over.
    pub succeeded: bool,
    /// Records the session owned when it was attached last.
    pub claims: u64,
    /// How long the holder before had been silent when this process took over.
    pub gap: Duration,
    /// How it stands.
    pub state: SessionState,
}

/// How a session stands, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// This process holds it.
    Attached,
    /// The connection is lost, and is coming back.
    Detached,
    /// It has a successor, or is over: the store refuses this process's writes.
    Fenced,
    /// This process closed it.
    Closed,
}

impl SessionState {
    /// Whether it can still be attached.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, SessionState::Attached | SessionState::Detached)
    }
}
