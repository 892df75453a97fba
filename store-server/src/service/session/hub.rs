//! The hub: who is there, who waits, and what they are told.
//!
//! The state stands behind one mutex that is held shortly and never across an `await`. What the store has changed is told
//! to one task, [`Hub::run`], after it is readable; so whoever looks into the store's index while holding the mutex, and
//! finds something there, can rely on it that the news of whatever comes later will find him.
//!
//! Locks are taken in this order: the state, then the store's index or view.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    SessionKey,
    handover::identity_of,
    presence::{Link, Message, Noted, Presence, Presences},
    timers::Timers,
    waiters::Waiters,
};
use crate::store::{
    Store,
    index::{Notice, TAKEN_BY_RESTORE},
    server_time_ms,
    session::{Session, SessionChange},
};

/// Brings together those who hold sessions, those who want them or their records, and the store.
#[derive(Debug)]
pub struct Hub {
    store: Store,
    pub(super) state: Mutex<State>,
    /// Tells the task that something may be due earlier than it thought.
    wake: Notify,
    /// The server stops: holders leave because they are told to.
    stopping: AtomicBool,
}

/// What the hub knows.
#[derive(Debug)]
pub(super) struct State {
    pub presences: Presences,
    pub waiters: Waiters,
    pub timers: Timers,
    /// Timers that were due by then are among `timers`. In milliseconds since 1970.
    pub looked_ms: u64,
    /// View keys of timers whose missed firings the store did not drop when asked to.
    pub not_skipped: Vec<Bytes>,
    /// When it is asked again.
    pub skip_again_at: Option<Instant>,
    /// Attach streams there have been.
    pub attachments: u64,
    /// The number of what was asked of a holder last. Grows, also over restarts of the server.
    pub asked: u64,
}

/// How long after the end of a session's lifetime was asked of the store it is asked again: it may take no writes.
const END_AGAIN: Duration = Duration::from_secs(1);

/// A task that runs so late was held up, and with it all that holders had to say.
const HELD_UP: Duration = Duration::from_millis(500);

/// More is never asked in a millisecond: so the numbers of what is asked follow the clock, and none is given again after a
/// restart. They stay below 2^53, which every Lua can count to.
const ASKED_PER_MS: u64 = 1024;

/// News of the store that are taken in before anything else is looked at.
const NEWS_MAX: usize = 1024;

impl Hub {
    /// The hub of a store. The sessions that the store has may have holders who will come back.
    pub fn new(store: Store) -> Arc<Hub> {
        let expected = Duration::from_millis(store.config().sessions.reattach_ms);
        let mut state = State {
            presences: Presences::new(expected),
            waiters: Waiters::default(),
            timers: Timers::default(),
            looked_ms: 0,
            not_skipped: Vec::new(),
            skip_again_at: None,
            attachments: 0,
            asked: server_time_ms() * ASKED_PER_MS,
        };
        let now = Instant::now();
        for (namespace, session) in store.index().sessions() {
            let key = SessionKey {
                namespace: namespace.clone(),
                id: session.id.clone(),
            };
            state.presences.note(&key, session, now);
        }
        Arc::new(Hub {
            store,
            state: Mutex::new(state),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The server begins to stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the server stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Hears of changes and does what is due, for as long as it is polled. The first call counts.
    pub async fn run(&self) -> Infallible {
        let Some(mut notices) = self.store.take_notices() else {
            return pending().await;
        };
        let mut due: Option<Instant> = None;
        loop {
            let late = due.map_or(Duration::ZERO, |due| {
                Instant::now().saturating_duration_since(due)
            });
            if late > HELD_UP {
                tracing::warn!(
                    ?late,
                    "the server was held up: sessions live so much longer"
                );
                self.state.lock().presences.forgive(late);
            }
            due = self.work();
            let sleep = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(notice) = notices.recv() => {
                    let mut state = self.state.lock();
                    self.noticed(&mut state, notice);
                    for _ in 0..NEWS_MAX {
                        let Ok(notice) = notices.try_recv() else { break };
                        self.noticed(&mut state, notice);
                    }
                }
                () = sleep => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Does what is due; gives when to look again.
    fn work(&self) -> Option<Instant> {
        let timer = self.fire_timers();
        let mut state = self.state.lock();
        let ended = state.presences.ended(Instant::now(), END_AGAIN);
        let next = state.presences.next_check();
        drop(state);
        for (key, fence) in ended {
            tracing::info!(
                session = &*key.id,
                "a session ends: nothing was heard for its ttl"
            );
            let id = key.id;
            let change = SessionChange::End { id, fence };
            // If it is refused, it is asked again.
            self.store.change_session(&key.namespace, change, drop);
        }
        [next, timer].into_iter().flatten().min()
    }

    /// Something may be due earlier than the task thinks.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A session will be ended that was opened with this fence: its holder is told why.
    pub fn will_end(&self, key: &SessionKey, fence: u64, why: String) {
        let mut state = self.state.lock();
        let presence = state.presences.get_mut(key);
        if let Some(presence) = presence.filter(|presence| presence.session.fence == fence) {
            presence.ends_for = Some(why);
        }
    }

    /// A session was to be ended and is not.
    pub fn will_not_end(&self, key: &SessionKey) {
        if let Some(presence) = self.state.lock().presences.get_mut(key) {
            presence.ends_for = None;
        }
    }

    /// Looks at a session's holder.
    pub fn with_presence(&self, key: &SessionKey, look: impl FnOnce(&Presence)) {
        if let Some(presence) = self.state.lock().presences.get(key) {
            look(presence);
        }
    }

    fn noticed(&self, state: &mut State, notice: Notice) {
        let now = Instant::now();
        match notice {
            Notice::Session {
                namespace,
                before,
                after,
            } => match (before, after) {
                (_, Some(session)) => state.note(&namespace, &session, now),
                (Some(session), None) => {
                    let key = SessionKey {
                        namespace,
                        id: session.id.clone(),
                    };
                    state.presences.forget(&key);
                    state.timers.left(&key);
                }
                (None, None) => {}
            },
            Notice::Claim {
                key,
                before,
                after,
                is_taken,
            } => {
                let taken_by = match is_taken {
                    true => Some(TAKEN_BY_RESTORE),
                    false => after.as_deref().map(identity_of),
                };
                state.claim_moved(&key, before.as_deref(), after.as_deref(), taken_by);
            }
            Notice::Timer { key } => self.timer_changed(state, &key),
        }
    }
}

impl State {
    /// Takes in a session as it is, or was.
    pub fn note(&mut self, namespace: &Arc<str>, session: &Arc<Session>, now: Instant) {
        let key = SessionKey {
            namespace: namespace.clone(),
            id: session.id.clone(),
        };
        if self.presences.note(&key, session, now) == Noted::Left {
            self.timers.left(&key);
        }
    }

    /// Says something to a session's holder, if it is there.
    pub fn tell(&mut self, key: &SessionKey, message: Message) {
        let Some(presence) = self.presences.get(key) else {
            return;
        };
        if !presence.tell(message)
            && let Some(number) = presence.attached().map(|attached| attached.number)
        {
            tracing::warn!(
                session = &*key.id,
                "the holder of a session does not read what it is told: it is cut off"
            );
            self.detach(key, number);
        }
    }

    /// The stream to a holder has ended.
    pub fn detach(&mut self, key: &SessionKey, number: u64) {
        let presence = self.presences.get(key);
        let attached = presence.and_then(Presence::attached);
        if attached.is_some_and(|attached| attached.number == number) {
            self.presences.set_link(key, Link::Gone, Instant::now());
            self.timers.left(key);
        }
    }
}
