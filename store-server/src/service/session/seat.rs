//! How a session stands for somebody who would open it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{SessionKey, hub::Hub, presence::Link};
use crate::store::session::Session;

/// How a session stands for somebody who would open it.
#[derive(Debug)]
pub enum Seat {
    /// There is no session.
    Vacant,
    /// Nobody holds it: it can be taken over at once.
    Free {
        /// Its fence.
        fence: u64,
        /// How long nothing has been heard of its holder.
        silent: Duration,
    },
    /// Its holder is there, or may come back.
    Held(Held),
}

/// A session whose holder is there, or may come back.
#[derive(Debug)]
pub struct Held {
    /// The session.
    pub session: Arc<Session>,
    /// The holder has not attached yet; it may do so until then.
    pub expected_until: Option<Instant>,
    /// Tells that it has changed; closed when the session is over.
    pub changed: watch::Receiver<()>,
}

impl Hub {
    /// How a session stands for somebody who would open it.
    pub fn seat(&self, namespace: &Arc<str>, identity: &str) -> Seat {
        let now = Instant::now();
        let mut state = self.state.lock();
        let found = self
            .store()
            .index()
            .session_of(namespace, identity)
            .cloned();
        let Some(session) = found else {
            return Seat::Vacant;
        };
        state.note(namespace, &session, now);
        let key = SessionKey {
            namespace: namespace.clone(),
            id: session.id.clone(),
        };
        let Some(presence) = state.presences.get(&key) else {
            return Seat::Vacant;
        };
        if !presence.is_held(now) {
            return Seat::Free {
                fence: session.fence,
                silent: now.saturating_duration_since(presence.heard),
            };
        }
        Seat::Held(Held {
            session,
            expected_until: match presence.link {
                Link::Expected(until) => Some(until),
                Link::Attached(_) | Link::Gone => None,
            },
            changed: presence.changed.subscribe(),
        })
    }

    /// A session was opened: takes it in before the news of it come.
    pub fn opened(&self, namespace: &Arc<str>, session: &Arc<Session>) {
        let mut state = self.state.lock();
        // It may be over already.
        if (self.store().index().session(namespace, &session.id)).is_some() {
            state.note(namespace, session, Instant::now());
        }
        drop(state);
        self.wake();
    }
}
