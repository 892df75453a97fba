//! The hub: who is there, who waits, and what they are told.
//!
//! The state stands behind one mutex that is held shortly and never across an `await`. What the store has changed is told
//! to one task, [`Hub::run`], after it is readable; so whoever looks into the store's index while holding the mutex, and
//! finds something there, can rely on it that the news of whatever comes later will find him.
//!
//! Locks are taken in this order: the state, then the store's index or view.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use stillpoint_proto::v1::{
    ClaimLost, Durability, FinishTimerOp, Op, RecordKey, StoreError, TimerFired, op,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    SessionKey,
    presence::{Attached, Link, Message, Noted, Presence, Presences, UNREAD_MAX, Unsaved},
    timers::Timers,
    waiters::{Waiter, Waiters},
};
use crate::store::{
    Store,
    index::{Due, Index, Notice},
    keys,
    request::{Job, WriteItem},
    session::{Session, SessionChange},
    timer::{self, Timer},
    wall_clock_ms,
};

/// Brings together those who hold sessions, those who want them or their records, and the store.
#[derive(Debug)]
pub struct Hub {
    store: Store,
    state: Mutex<State>,
    /// Tells the task that something may be due earlier than it thought.
    wake: Notify,
}

#[derive(Debug)]
struct State {
    presences: Presences,
    waiters: Waiters,
    timers: Timers,
    /// Attach streams there have been.
    attachments: u64,
}

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

/// A holder's place at the hub, from attaching until it is dropped.
#[derive(Debug)]
pub struct Attachment {
    hub: Arc<Hub>,
    key: SessionKey,
    number: u64,
    /// What the holder is told. Ends when another stream of the holder has taken its place, or it has not been read.
    pub inbox: mpsc::Receiver<Message>,
    /// Records the session owns.
    pub claims: u64,
}

/// A place among those who wait for a record, until it is dropped.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Hub>,
    key: Bytes,
    number: u64,
    turn: Arc<Notify>,
}

/// How long after the end of a session's lifetime was asked of the store it is asked again: it may take no writes.
const END_AGAIN: Duration = Duration::from_secs(1);

/// A task that runs so late was held up, and with it all that holders had to say.
const HELD_UP: Duration = Duration::from_millis(500);

/// The longest time until the wall clock is looked at again while a timer is set.
const TIMER_WAIT_MAX: Duration = Duration::from_secs(60);

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
            attachments: 0,
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
        })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
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

    /// Tells of timers that are due; gives when the next one is.
    fn fire_timers(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let now_ms = wall_clock_ms();
        let index = self.store.index();
        let wait = index.next_timer_ms(now_ms).map(|due_ms| {
            // The wall clock may be set: look at it again after a while.
            Instant::now() + Duration::from_millis(due_ms - now_ms).min(TIMER_WAIT_MAX)
        });
        let told = &state.timers;
        let untold = index
            .timers_due(now_ms)
            .filter(|(key, due)| !told.is_told(key, due.due_ms));
        let untold: Vec<_> = untold
            .map(|(key, due)| (key.clone(), due.clone()))
            .collect();
        drop(index);
        for (key, due) in untold {
            self.fire(&mut state, &key, &due, now_ms);
        }
        wait
    }

    /// Tells somebody of a firing, if somebody is there for it.
    fn fire(&self, state: &mut State, key: &Bytes, due: &Due, now_ms: u64) {
        let Some((namespace, _, name)) = keys::split_system(key) else {
            return;
        };
        let Some((service, name)) = timer::split_timer_name(name) else {
            return;
        };
        let Some(to) = self.instance_for(state, namespace, service, due) else {
            return;
        };
        if !state.timers.has_room(&to) {
            return;
        }
        let record = self.store.reader().record(key);
        let Some(timer) = record
            .ok()
            .flatten()
            .and_then(|record| Timer::decode(&record).ok())
        else {
            return;
        };
        if timer.due_ms != due.due_ms {
            // It has been changed since; the news of that are on their way.
            return;
        }
        state
            .timers
            .tell(key, due.due_ms, due.owner.clone(), to.clone());
        if timer.is_skipped(now_ms) {
            return self.skip(namespace, service, name, due.due_ms);
        }
        let owner = timer.owner.as_ref();
        let fired = TimerFired {
            service: service.into(),
            name: Bytes::copy_from_slice(name),
            due_ms: timer.due_ms,
            count: timer.count(now_ms),
            owner: owner.map(|owner| RecordKey {
                collection: owner.collection.clone(),
                key: owner.key.clone().into(),
            }),
            payload: timer.payload.into(),
        };
        state.tell(&to, Message::TimerFired(fired));
    }

    /// The session that a firing is for, if its holder is there.
    fn instance_for(
        &self,
        state: &mut State,
        namespace: &str,
        service: &str,
        due: &Due,
    ) -> Option<SessionKey> {
        let Some(owner) = &due.owner else {
            return state.presences.longest_there(namespace, service).cloned();
        };
        state.timers.wait_for_owner(owner);
        let index = self.store.index();
        let claim = index.claim(owner)?;
        let session = index.session(namespace, &claim.session)?;
        let key = SessionKey {
            namespace: namespace.into(),
            id: session.id.clone(),
        };
        let is_there = state.presences.get(&key)?.attached().is_some();
        (is_there && session.service == service).then_some(key)
    }

    /// Consumes a firing that nobody is to be told of.
    fn skip(&self, namespace: &str, service: &str, name: &[u8], due_ms: u64) {
        let finish = FinishTimerOp {
            service: service.into(),
            name: Bytes::copy_from_slice(name),
            due_ms,
        };
        self.store.submit(Job {
            namespace: namespace.into(),
            session: "".into(),
            fence: 0,
            items: vec![WriteItem {
                op: Op {
                    kind: Some(op::Kind::FinishTimer(finish)),
                },
                writer: None,
                once: None,
                durability: Durability::Unspecified,
                deadline: None,
            }],
            // Done or not, the timer's change tells.
            reply: Box::new(drop),
        });
    }

    /// Looks at a session's holder.
    pub(super) fn with_presence(&self, key: &SessionKey, look: impl FnOnce(&Presence)) {
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
            Notice::Claim { key, before, after } => {
                self.claim_moved(state, &key, before.as_deref(), after.as_deref(), now);
            }
            Notice::Timer { key } => state.timers.forget(&key),
        }
    }

    fn claim_moved(
        &self,
        state: &mut State,
        key: &Bytes,
        before: Option<&str>,
        after: Option<&str>,
        now: Instant,
    ) {
        let Some((namespace, collection, name)) = keys::split_record(key) else {
            return;
        };
        let session = |id: &str| SessionKey {
            namespace: namespace.into(),
            id: id.into(),
        };
        state.timers.owner_moved(key);
        let Some(owner) = after else {
            return state.waiters.call_first(key);
        };
        if let Some(before) = before
            && before != owner
        {
            let lost = ClaimLost {
                key: Some(RecordKey {
                    collection: collection.into(),
                    key: Bytes::copy_from_slice(name),
                }),
                taken_by: identity_of(owner).into(),
            };
            state.tell(&session(before), Message::ClaimLost(lost));
        }
        let mut wishes = Vec::new();
        for waiter in state.waiters.of(key) {
            if *waiter.session == *owner {
                // It owns the record by another way: to claim it again is fine.
                waiter.turn.notify_one();
            } else {
                wishes.push(waiter.wish(now));
            }
        }
        for wish in wishes {
            state.tell(&session(owner), Message::ReleaseWanted(wish));
        }
    }

    /// How a session stands for somebody who would open it.
    pub fn seat(&self, namespace: &Arc<str>, identity: &str) -> Seat {
        let now = Instant::now();
        let mut state = self.state.lock();
        let found = self.store.index().session_of(namespace, identity).cloned();
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
        if (self.store.index().session(namespace, &session.id)).is_some() {
            state.note(namespace, session, Instant::now());
        }
        drop(state);
        self.wake.notify_one();
    }

    /// A holder attaches. One that is attached already is replaced: it may have noticed that its connection broke before
    /// this server did.
    pub fn attach(
        self: &Arc<Self>,
        namespace: &str,
        id: &str,
        fence: u64,
    ) -> Result<Attachment, StoreError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let index = self.store.index();
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
        if let Some(presence) = state.presences.get_mut(&key) {
            presence.link = Link::Attached(Attached { number, to });
            presence.heard = now;
            presence.changed.send_replace(());
        }
        state.tell_wishes(&index, &key, now);
        let claims = index.claim_count_of(id) as u64;
        drop(index);
        drop(state);
        self.wake.notify_one();
        Ok(Attachment {
            hub: self.clone(),
            key,
            number,
            inbox,
            claims,
        })
    }

    /// Takes a place among those who wait for a record. The owner is asked to release it.
    pub fn wait_for(
        self: &Arc<Self>,
        namespace: &str,
        session: &Arc<str>,
        name: &RecordKey,
        until: Instant,
        steals: bool,
    ) -> Place {
        let now = Instant::now();
        let key = keys::record(namespace, &name.collection, &name.key);
        let turn = Arc::new(Notify::new());
        let waiter = Waiter {
            session: session.clone(),
            wanted_by: identity_of(session).into(),
            name: name.clone(),
            until,
            steals,
            turn: turn.clone(),
        };
        let wish = waiter.wish(now);
        let mut state = self.state.lock();
        let (number, is_first) = state.waiters.push(&key, waiter);
        let owner = (self.store.index().claim(&key)).map(|claim| claim.session.clone());
        match owner {
            Some(owner) if owner != *session => {
                let owner = SessionKey {
                    namespace: namespace.into(),
                    id: owner,
                };
                state.tell(&owner, Message::ReleaseWanted(wish));
            }
            Some(_) => turn.notify_one(),
            // Who is before this one has been told to try.
            None if is_first => turn.notify_one(),
            None => {}
        }
        drop(state);
        Place {
            hub: self.clone(),
            key,
            number,
            turn,
        }
    }
}

impl State {
    fn note(&mut self, namespace: &Arc<str>, session: &Arc<Session>, now: Instant) {
        let key = SessionKey {
            namespace: namespace.clone(),
            id: session.id.clone(),
        };
        if self.presences.note(&key, session, now) == Noted::Left {
            self.timers.left(&key);
        }
    }

    /// Says something to a session's holder, if it is there.
    fn tell(&mut self, key: &SessionKey, message: Message) {
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
    fn detach(&mut self, key: &SessionKey, number: u64) {
        if let Some(presence) = self.presences.get_mut(key)
            && presence
                .attached()
                .is_some_and(|attached| attached.number == number)
        {
            presence.link = Link::Gone;
            presence.heard = Instant::now();
            presence.changed.send_replace(());
            self.timers.left(key);
        }
    }

    /// Tells a holder that has come back who waits for its records.
    fn tell_wishes(&mut self, index: &Index, key: &SessionKey, now: Instant) {
        if self.waiters.is_empty() {
            return;
        }
        let claims = index.claims_of(&key.id);
        let waiters = claims.flat_map(|claim| self.waiters.of(claim));
        let others = waiters.filter(|waiter| waiter.session != key.id);
        let wishes: Vec<_> = others.map(|waiter| waiter.wish(now)).collect();
        for wish in wishes {
            self.tell(key, Message::ReleaseWanted(wish));
        }
    }
}

/// `service/instance` of the session with this id.
fn identity_of(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(identity, _)| identity)
}

impl Attachment {
    /// The holder was heard.
    pub fn heard(&self, unsaved: Unsaved) {
        let mut state = self.hub.state.lock();
        if let Some(presence) = state.presences.get_mut(&self.key)
            && (presence.attached()).is_some_and(|attached| attached.number == self.number)
        {
            presence.heard = Instant::now();
            presence.unsaved = unsaved;
        }
    }

    /// The namespace of the session.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.hub.state.lock().detach(&self.key, self.number);
        self.hub.wake.notify_one();
    }
}

impl Place {
    /// Waits until there is a chance.
    pub async fn turn(&self) {
        self.turn.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        // The turn may have been this one's: then it is the next one's.
        if state.waiters.remove(&self.key, self.number)
            && self.hub.store.index().claim(&self.key).is_none()
        {
            state.waiters.call_first(&self.key);
        }
    }
}
