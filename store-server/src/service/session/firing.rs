//! Timers that fire: taken from the store when they are due, and told to those who are there for them.
//!
//! What waits to be told is only the timer's key: what the firing carries is read as it leaves for its receiver, so a slow
//! one costs no memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{
    Durability, FinishTimerOp, Op, Reason, RecordKey, TimerFired, op, op_result,
};
use tokio::time::Instant;

use super::{
    ServiceKey, SessionKey,
    hub::{Hub, State},
    presence::Message,
    timers::Place,
};
use crate::store::{
    index::Due,
    keys,
    request::{Answers, Job, WriteItem},
    server_time_ms,
    timer::{self, Timer},
};

/// The longest time until the wall clock is looked at again while a timer is set.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long after the store refused to drop a missed firing it is asked again: it may take no writes.
const SKIP_AGAIN: Duration = Duration::from_secs(1);

impl Hub {
    /// Tells of what is due; gives when to look again.
    pub(super) fn fire_timers(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let now_ms = server_time_ms();
        let index = self.store().index();
        for (timer, due) in index.timers_due_after(state.looked_ms, now_ms) {
            state.timer_due(timer, due);
        }
        state.looked_ms = state.looked_ms.max(now_ms);
        let next = index.next_timer_ms(state.looked_ms).map(|due_ms| {
            // The wall clock may be set.
            Instant::now() + Duration::from_millis(due_ms.saturating_sub(now_ms)).min(WAIT_MAX)
        });
        drop(index);
        let again = state.skip_again_at;
        if again.is_some_and(|again| again <= Instant::now()) {
            state.skip_again_at = None;
            for timer in std::mem::take(&mut state.not_skipped) {
                state.timers.untell(&timer);
            }
        }
        while let Some(place) = state.timers.next_place() {
            self.fire_at(state, &place);
        }
        [next, state.skip_again_at].into_iter().flatten().min()
    }

    /// A timer was set, moved on or removed.
    pub(super) fn timer_changed(&self, state: &mut State, timer: &Bytes) {
        match self.store().index().timer(timer) {
            Some(due) if due.due_ms <= state.looked_ms => state.timer_due(timer, due),
            // One that is due later is found when its time has come.
            Some(_) | None => state.timers.forget(timer),
        }
    }

    /// Tells of what waits at a place, as far as somebody is there for it.
    fn fire_at(&self, state: &mut State, place: &Place) {
        let receivers = match place {
            Place::Service(service) => state
                .presences
                .there(service)
                .map(|session| (session.clone(), service.clone()))
                .collect(),
            Place::Record(record) => Vec::from_iter(self.owner_there(state, record)),
        };
        for (session, service) in receivers {
            if !state.timers.waits_at(place) {
                return;
            }
            for (due_ms, timer) in state.timers.tell(place, &service, &session) {
                state.tell(&session, Message::TimerDue { timer, due_ms });
            }
        }
    }

    /// The session that owns a record, and its service, if its holder is there.
    fn owner_there(&self, state: &State, record: &[u8]) -> Option<(SessionKey, ServiceKey)> {
        let (namespace, ..) = keys::split_record(record)?;
        let owner = self.store().index().claim(record)?.session.clone();
        let session = SessionKey {
            namespace: namespace.into(),
            id: owner,
        };
        let presence = state.presences.get(&session)?;
        presence.attached()?;
        let service = presence.service_key(&session);
        Some((session, service))
    }

    /// What a session is told of a firing. `None`: nothing, since the timer has changed, or the firing was missed and is
    /// dropped.
    pub(super) fn firing(
        self: &Arc<Self>,
        session: &SessionKey,
        fence: u64,
        key: &Bytes,
        due_ms: u64,
    ) -> Option<TimerFired> {
        let (_, _, name) = keys::split_system(key)?;
        let (service, name) = timer::split_timer_name(name)?;
        let record = self.store().reader().record(key).ok().flatten()?;
        let timer = Timer::decode(&record).ok()?;
        if timer.due_ms != due_ms {
            return None;
        }
        let now_ms = server_time_ms();
        if timer.is_skipped(now_ms) {
            let op = FinishTimerOp {
                service: service.into(),
                name: Bytes::copy_from_slice(name),
                due_ms,
            };
            self.skip(session, fence, key, op);
            return None;
        }
        let owner = timer.owner.as_ref();
        Some(TimerFired {
            service: service.into(),
            name: Bytes::copy_from_slice(name),
            due_ms,
            count: timer.count(now_ms),
            owner: owner.map(|owner| RecordKey {
                collection: owner.collection.clone(),
                key: owner.key.clone().into(),
            }),
            payload: timer.payload.into(),
        })
    }

    /// Consumes a firing that nobody is told of, for the session that it would have been told to: that one may own the
    /// record which it fires at.
    fn skip(self: &Arc<Self>, session: &SessionKey, fence: u64, key: &Bytes, op: FinishTimerOp) {
        let (hub, key) = (self.clone(), key.clone());
        self.store().submit(Job {
            namespace: session.namespace.clone(),
            session: session.id.clone(),
            fence,
            items: vec![WriteItem {
                op: Op {
                    kind: Some(op::Kind::FinishTimer(op)),
                },
                writer: None,
                once: None,
                durability: Durability::Unspecified,
                deadline: None,
            }],
            reply: Box::new(move |answers| {
                if must_skip_again(&answers) {
                    let mut state = hub.state.lock();
                    state.not_skipped.push(key);
                    let again = Instant::now() + SKIP_AGAIN;
                    state.skip_again_at.get_or_insert(again);
                    drop(state);
                    hub.wake();
                }
            }),
        });
    }
}

/// Whether the store did not take a write for now. Whatever else it says, it also says by changing timer, claim or session.
fn must_skip_again(answers: &Answers) -> bool {
    answers.results.iter().any(|result| match &result.kind {
        Some(op_result::Kind::Error(error)) => matches!(
            error.reason(),
            Reason::ReadOnly | Reason::RateLimited | Reason::Quota
        ),
        _ => false,
    })
}

impl State {
    fn timer_due(&mut self, key: &Bytes, due: &Due) {
        let Some((namespace, _, name)) = keys::split_system(key) else {
            return;
        };
        let Some((service, _)) = timer::split_timer_name(name) else {
            return;
        };
        let service = ServiceKey {
            namespace: namespace.into(),
            service: service.into(),
        };
        self.timers.due(key, due, service);
    }
}
