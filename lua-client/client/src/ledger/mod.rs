//! Every operation of a client and how far it got: the rules, without I/O.
//!
//! ```text
//!  submit ─▶ Queued ──next_frame──▶ Sent ──answered──▶ Done ──take──▶ (gone)
//!              ▲                     │
//!              └── the connection broke, or the server was busy
//!            from every phase: expire ─▶ Done(DEADLINE_EXCEEDED)
//! ```
//!
//! Ids grow with each submission, so sorting by id restores the order of submission: that is the order of sending, and of
//! sending again. The ledger lives under one mutex; nothing here blocks. Wakers are called under it, which is safe: they
//! schedule, they do not run anything.

mod answers;
mod events;
mod news;
mod numbers;
mod session;
mod slot;
#[cfg(test)]
mod tests;
mod waiters;
mod watches;

use std::{
    collections::VecDeque,
    task::Waker,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};
use stillpoint_proto::v1::{self, Reason, StoreError};

use self::{events::Events, numbers::Numbers, watches::Watches};
pub(crate) use self::{
    session::{Closing, Held, millis},
    slot::{Phase, Slot, Submission},
    waiters::{Waiters, Want},
};
use crate::{
    Config, Event, Outcome, Reply, error,
    signal::Signal,
    wire::{Frame, Item},
};

/// A frame is sent once it has this many bytes, so that the server works on it while the next is made.
const FRAME_BYTES_SOFT: usize = 256 * 1024;

/// First pause after the server refused an operation because it was busy; doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Longest pause that the server may ask for.
const PAUSE_HINT_MAX: Duration = Duration::from_secs(1);

/// Ids of taken operations that may stay in the list of the untold before it is swept.
const UNTOLD_SPARE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    slots: FxHashMap<u64, Slot>,
    /// Ids that wait to be sent, ascending. One whose slot is no longer `Queued` is skipped.
    queue: VecDeque<u64>,
    /// Operations queued or sent.
    pending: usize,
    last_id: u64,
    numbers: Numbers,

    /// Completed ids that `next` has not told, in order; those taken meanwhile are skipped.
    untold: VecDeque<u64>,
    /// How many of them are not taken.
    untold_count: usize,
    pub events: Events,
    signal: Option<Signal>,

    link: Link,
    /// Operations sent on this connection and not answered: credits used.
    in_flight: usize,
    /// Those of them that are over all the same; their answers only give a credit back.
    abandoned: FxHashSet<u64>,
    /// Nothing is sent before this, because the server was busy.
    pause_until: Option<Instant>,
    pause: Duration,

    /// When the clock has to look.
    due: Option<Instant>,
    /// It was moved forward, and the clock does not know.
    due_moved: bool,
    closed: bool,
    queue_max: usize,
    message_bytes_max: usize,

    /// The session, once it was opened.
    pub session: Option<Held>,
    pub watches: Watches,

    /// Threads that wait.
    pub waiters: Waiters,
    /// Wakes the outbound stream.
    pub writer: Option<Waker>,
    /// Wakes the clock.
    pub clock: Option<Waker>,
    /// Who drives.
    pub seat: crate::background::Seat,
}

/// What is known of the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// Which connection this is; an older one's streams are void.
    pub number: u64,
    /// Whether it stands and the server's limits are known.
    pub open: bool,
    /// The server's limits; those of the last connection if none stands.
    pub limits: v1::PipelineOpened,
    pub header: v1::ResponseHeader,
    /// The endpoint connected to, or tried last.
    pub endpoint: String,
    /// Which of the endpoints it is.
    pub endpoint_index: usize,
    /// Whether there was a connection before.
    pub was_open: bool,
    /// Why each endpoint could not be reached or was lost, in their order. Empty: not tried.
    pub causes: Vec<String>,
    /// Attempts that failed since a connection last stood.
    pub failures: usize,
    /// The last failure, if trying again cannot help.
    pub fatal: Option<StoreError>,
}

impl Link {
    /// Whether a store was known before, and it is another one than this, or an older state of it.
    fn knows_other_than(&self, header: &v1::ResponseHeader) -> bool {
        let known = (&self.header.store_id, self.header.incarnation);
        !known.0.is_empty() && known != (&header.store_id, header.incarnation)
    }

    /// Why there is no connection.
    pub fn cause(&self) -> String {
        let causes: Vec<_> = self.causes.iter().filter(|c| !c.is_empty()).collect();
        match causes.as_slice() {
            [] => format!("no connection to {} yet", self.endpoint),
            [cause] => cause.to_string(),
            _ => causes
                .iter()
                .map(|cause| cause.as_str())
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
}

impl Ledger {
    /// An empty ledger. Ids of operations and of watches come after `last_id`.
    pub fn new(config: &Config, last_id: u64) -> Self {
        Ledger {
            slots: FxHashMap::default(),
            queue: VecDeque::new(),
            pending: 0,
            last_id,
            numbers: Numbers::default(),
            untold: VecDeque::new(),
            untold_count: 0,
            events: Events::default(),
            signal: None,
            link: Link {
                endpoint: config.endpoints.first().cloned().unwrap_or_default(),
                causes: vec![String::new(); config.endpoints.len()],
                ..Link::default()
            },
            in_flight: 0,
            abandoned: FxHashSet::default(),
            pause_until: None,
            pause: PAUSE_MIN,
            due: None,
            due_moved: false,
            closed: false,
            queue_max: config.queue_max,
            message_bytes_max: config.message_bytes_max,
            session: None,
            watches: Watches::new(last_id, config.watch_bytes_max),
            waiters: Waiters::default(),
            writer: None,
            clock: None,
            seat: crate::background::Seat::default(),
        }
    }

    /// Queues an operation and returns its id.
    pub fn submit(&mut self, submission: Submission) -> Result<u64, StoreError> {
        if self.closed {
            return Err(error::closed(false));
        }
        if submission.frame_bytes() > self.frame_bytes_max() {
            return Err(error::too_large(
                submission.op.len(),
                self.frame_bytes_max(),
            ));
        }
        if self.queue.len() >= self.queue_max {
            return Err(error::queue_full(self.queue_max));
        }
        if submission.deadline <= submission.submitted_at {
            return Err(error::deadline_exceeded(
                Duration::ZERO,
                "the deadline had passed before the operation was sent",
                false,
            ));
        }
        self.last_id += 1;
        let mut slot = Slot {
            phase: Phase::Queued,
            op: submission.op,
            sequence: 0,
            lane: submission.lane,
            durability: submission.durability,
            once: submission.once,
            submitted_at: submission.submitted_at,
            deadline: submission.deadline,
            unknown: false,
            announce: submission.announce,
            forgotten: false,
            refusal: None,
        };
        if submission.is_write {
            slot.sequence = self.numbers.give();
            cap_deadline(&mut slot, self.link.limits.dedup_window_ms);
        }
        self.remind(slot.deadline);
        self.slots.insert(self.last_id, slot);
        self.queue.push_back(self.last_id);
        self.pending += 1;
        Ok(self.last_id)
    }

    /// Takes an operation's outcome, if it is done.
    pub fn take(&mut self, id: u64) -> Option<Outcome> {
        if !matches!(self.slots.get(&id)?.phase, Phase::Done(_)) {
            return None;
        }
        let slot = self.slots.remove(&id)?;
        if slot.announce {
            self.told();
            // Those taken without being told leave their ids behind.
            if self.untold.len() > 2 * self.untold_count + UNTOLD_SPARE {
                let slots = &self.slots;
                self.untold
                    .retain(|id| slots.get(id).is_some_and(|slot| slot.announce));
            }
        }
        match slot.phase {
            Phase::Done(outcome) => Some(outcome),
            Phase::Queued | Phase::Sent => None,
        }
    }

    /// An operation whose outcome is not taken yet.
    pub fn get(&self, id: u64) -> Option<&Slot> {
        self.slots.get(&id)
    }

    /// The next completion to tell.
    pub fn next(&mut self) -> Option<u64> {
        while let Some(id) = self.untold.pop_front() {
            if let Some(slot) = self.slots.get_mut(&id)
                && slot.announce
            {
                slot.announce = false;
                self.told();
                return Some(id);
            }
        }
        None
    }

    /// Drops the interest in an operation's outcome.
    pub fn forget(&mut self, id: u64) {
        if self.take(id).is_some() {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.forgotten = true;
            slot.announce = false;
        }
    }

    /// The next frame to send, or `None` if there is nothing that may be sent now.
    pub fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        if !self.may_send() {
            return None;
        }
        let bytes_max = self.frame_bytes_max();
        let mut bytes = 0;
        let mut items = Vec::new();
        let mut tell_first_incomplete = true;
        while self.in_flight < self.link.limits.max_in_flight as usize && bytes < FRAME_BYTES_SOFT {
            let Some(&id) = self.queue.front() else { break };
            let Some(slot) = self.slots.get_mut(&id).filter(|s| s.is_queued()) else {
                self.queue.pop_front();
                continue;
            };
            let item_bytes = slot.frame_bytes();
            if item_bytes > bytes_max {
                // The server came back with a smaller limit.
                let mut error = error::too_large(slot.op.len(), bytes_max);
                error.maybe_applied = slot.maybe_applied();
                self.queue.pop_front();
                self.finish(id, Err(error));
                self.wake_waiters();
                continue;
            }
            if bytes + item_bytes > bytes_max {
                break;
            }
            self.queue.pop_front();
            bytes += item_bytes;
            slot.phase = Phase::Sent;
            self.in_flight += 1;
            let mut item = Item {
                id,
                lane: slot.lane,
                op: slot.op.clone(),
                sequence: slot.sequence,
                first_incomplete: 0,
                durability: slot.durability,
                timeout_ms: millis_up(slot.deadline.saturating_duration_since(now)),
                once: slot.once.clone(),
            };
            if item.sequence > 0 && std::mem::take(&mut tell_first_incomplete) {
                item.first_incomplete = self.numbers.first_incomplete();
            }
            items.push(item);
        }
        (!items.is_empty()).then_some(Frame { open: None, items })
    }

    /// Takes in a frame of answers.
    pub fn answered(&mut self, frame: v1::PipelineResponse, now: Instant) {
        if let Some(header) = frame.header {
            self.link.header = header;
        }
        for result in frame.results {
            self.answer(result, now);
        }
        self.flush();
        self.wake_waiters();
    }

    fn answer(&mut self, result: v1::PipelineResult, now: Instant) {
        let id = result.id;
        let Some(slot) = self.slots.get(&id).filter(|s| s.is_sent()) else {
            // Of an operation that is over, or told twice.
            if self.abandoned.remove(&id) {
                self.in_flight -= 1;
            }
            return;
        };
        let unknown_write = slot.sequence > 0 && slot.unknown;
        self.in_flight -= 1;
        let outcome = match result.result.and_then(|result| result.kind) {
            Some(v1::op_result::Kind::Error(mut error)) => {
                if may_repeat(error.reason()) && !self.was_overtaken(id) {
                    return self.refused(id, error, now);
                }
                if !is_verdict(error.reason()) {
                    // This time it was not begun; nobody knows of the time before.
                    error.maybe_applied |= unknown_write;
                }
                Err(error)
            }
            Some(kind) => Ok(Reply {
                header: self.link.header.clone(),
                kind,
            }),
            None => Err(StoreError {
                maybe_applied: slot.sequence > 0,
                ..StoreError::new(
                    Reason::Internal,
                    "the server's answer is of a kind this client does not know: use a newer client",
                )
            }),
        };
        if outcome.is_ok() {
            self.pause = PAUSE_MIN;
        }
        self.finish(id, outcome);
    }

    /// Queues an operation again that the server was too busy for. Sending pauses as a whole: that keeps the order, and
    /// the server has said that it has too much to do.
    fn refused(&mut self, id: u64, error: StoreError, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.phase = Phase::Queued;
        slot.refusal = Some(error.to_string().into());
        let at = self.queue.partition_point(|&queued| queued < id);
        self.queue.insert(at, id);
        if self.pause_until.is_none() {
            let hint = Duration::from_millis(error.retry_after_ms).min(PAUSE_HINT_MAX);
            let until = now + self.pause.max(hint);
            self.pause_until = Some(until);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            self.remind(until);
        }
    }

    /// Whether a later operation of the same lane is under way, so that repeating this one would break the lane's order.
    fn was_overtaken(&self, id: u64) -> bool {
        let lane = self.slots.get(&id).map_or(0, |slot| slot.lane);
        lane != 0
            && self
                .slots
                .iter()
                .any(|(&other, slot)| other > id && slot.lane == lane && slot.is_sent())
    }

    /// Ends a pause and every operation whose time is up, and finds out when to look again.
    pub fn expire(&mut self, now: Instant) {
        if self.pause_until.is_some_and(|until| until <= now) {
            self.pause_until = None;
            self.wake_writer();
        }
        let expired: Vec<u64> = self
            .slots
            .iter()
            .filter(|(_, slot)| !slot.is_done() && slot.deadline <= now)
            .map(|(&id, _)| id)
            .collect();
        for &id in &expired {
            self.give_up(id);
        }
        if !expired.is_empty() {
            let slots = &self.slots;
            self.queue
                .retain(|id| slots.get(id).is_some_and(Slot::is_queued));
            self.wake_waiters();
        }
        let deadlines = self.slots.values().filter(|slot| !slot.is_done());
        self.due = deadlines
            .map(|slot| slot.deadline)
            .chain(self.pause_until)
            .min();
    }

    /// Ends an operation whose time is up.
    fn give_up(&mut self, id: u64) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let phase = match (&slot.phase, &slot.refusal) {
            (Phase::Sent, _) => format!("sent to {}, no answer", self.link.endpoint),
            _ if !self.link.open => self.link.cause(),
            (_, Some(refusal)) => {
                format!("{} refused it until then: {refusal}", self.link.endpoint)
            }
            _ if !self.has_credit() => format!(
                "waiting for credits: {} of {} operations in flight at {}",
                self.in_flight, self.link.limits.max_in_flight, self.link.endpoint
            ),
            _ => "waiting to be sent".to_string(),
        };
        let allowed = slot.deadline.duration_since(slot.submitted_at);
        let error = error::deadline_exceeded(allowed, &phase, slot.maybe_applied());
        if slot.is_sent() {
            self.abandoned.insert(id);
        }
        self.finish(id, Err(error));
    }

    /// An attempt to reach an endpoint begins; returns the number of the connection it may become.
    pub fn dialling(&mut self, index: usize, endpoint: String) -> u64 {
        self.link.number += 1;
        self.link.endpoint = endpoint;
        self.link.endpoint_index = index;
        self.link.number
    }

    /// The connection stands.
    pub fn opened(&mut self, limits: v1::PipelineOpened, header: Option<v1::ResponseHeader>) {
        let writes = self.slots.values_mut().filter(|s| s.sequence > 0);
        let earliest = writes
            .map(|slot| cap_deadline(slot, limits.dedup_window_ms))
            .min();
        if let Some(deadline) = earliest {
            self.remind(deadline);
        }
        self.link.limits = limits;
        // A server that names no limit would otherwise get nothing at all.
        self.link.limits.max_in_flight = self.link.limits.max_in_flight.max(1);
        let header = header.unwrap_or_default();
        if self.link.knows_other_than(&header) {
            self.drop_unknown_writes();
            self.tell(Event::Restored {
                incarnation: header.incarnation,
            });
        }
        self.link.header = header;
        self.link.open = true;
        if std::mem::replace(&mut self.link.was_open, true) {
            self.tell(Event::Reconnected);
        }
        self.link.failures = 0;
        self.link.fatal = None;
        self.link.causes.iter_mut().for_each(String::clear);
        self.flush();
        self.wake_waiters();
    }

    /// The store is not the one that writes were sent to, and does not remember their answers: repeating them could apply
    /// them twice.
    fn drop_unknown_writes(&mut self) {
        let unknown = |slot: &Slot| slot.sequence > 0 && slot.unknown && !slot.is_done();
        let slots = self.slots.iter().filter(|(_, slot)| unknown(slot));
        let ids: Vec<u64> = slots.map(|(&id, _)| id).collect();
        for id in ids {
            self.finish(id, Err(error::other_incarnation()));
        }
    }

    /// The connection broke, or did not come to be. What was under way is queued again, in the order of submission.
    pub fn broke(&mut self, endpoint: usize, cause: String, fatal: Option<StoreError>) {
        self.link.open = false;
        self.link.failures += 1;
        self.link.causes[endpoint] = cause;
        self.link.fatal = fatal;
        // Void from here on, even if its streams are still polled.
        self.link.number += 1;
        self.in_flight = 0;
        self.abandoned.clear();
        self.pause_until = None;
        let mut again = Vec::new();
        for (&id, slot) in &mut self.slots {
            if slot.is_sent() {
                slot.unknown = true;
                slot.phase = Phase::Queued;
                again.push(id);
            }
        }
        if !again.is_empty() {
            again.extend(self.queue.drain(..));
            again.sort_unstable();
            self.queue = again.into();
        }
        self.wake_waiters();
    }

    /// Refuses everything from now on and ends what is pending; returns how many operations that were, and whether one of
    /// them may have been applied.
    pub fn close(&mut self) -> (usize, bool) {
        self.closed = true;
        let pending: Vec<u64> = self
            .slots
            .iter()
            .filter(|(_, slot)| !slot.is_done())
            .map(|(&id, _)| id)
            .collect();
        let mut any_applied = false;
        for &id in &pending {
            let maybe_applied = self.slots.get(&id).is_some_and(Slot::maybe_applied);
            any_applied |= maybe_applied;
            self.finish(id, Err(error::closed(maybe_applied)));
        }
        self.queue.clear();
        self.link.open = false;
        self.link.number += 1;
        for watch in self.watches.close() {
            self.watch_heard(watch, Err(error::closed(false)));
        }
        self.attend();
        self.wake_writer();
        self.wake_waiters();
        (pending.len(), any_applied)
    }

    /// Wakes the writer and the clock if they have something to do that they do not know of.
    pub fn flush(&mut self) {
        if !self.queue.is_empty() && self.may_send() && self.has_credit() {
            self.wake_writer();
        }
        if std::mem::take(&mut self.due_moved)
            && let Some(clock) = self.clock.take()
        {
            clock.wake();
        }
    }

    /// When the clock has to look; `None`: nothing is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Operations that have no outcome yet.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether there is something to send or to wait for, so that somebody has to drive soon.
    pub fn has_work(&self) -> bool {
        let is_unsaid = |held: &Held| !held.answers.is_empty();
        self.pending > 0 || self.session.as_ref().is_some_and(is_unsaid)
    }

    /// Whether something waits to be sent and may be.
    pub fn has_unsent(&self) -> bool {
        !self.queue.is_empty() && self.may_send() && self.has_credit()
    }

    /// What is known of the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the connection needs somebody to drive even where nothing is pending: a session has to be kept alive, a
    /// watch has to be read.
    pub fn attend(&mut self) {
        let is_held = |held: &Held| held.info.state.is_alive();
        let is_needed = self.session.as_ref().is_some_and(is_held) || !self.watches.is_empty();
        self.seat.attended = is_needed && !self.closed;
    }

    /// Whether the client was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn may_send(&self) -> bool {
        self.link.open && self.pause_until.is_none()
    }

    fn has_credit(&self) -> bool {
        self.in_flight < self.link.limits.max_in_flight as usize
    }

    /// Bytes of one message: the smaller of the server's limit, once known, and our own.
    pub fn frame_bytes_max(&self) -> usize {
        match self.link.limits.max_message_bytes as usize {
            0 => self.message_bytes_max,
            server => server.min(self.message_bytes_max),
        }
    }

    /// The clock has to look at this time at the latest.
    fn remind(&mut self, at: Instant) {
        if self.due.is_none_or(|due| at < due) {
            self.due = Some(at);
            // The clock is woken by `flush`, mostly from within the runtime, where that is cheap.
            self.due_moved = true;
        }
    }

    /// Gives an operation its outcome. Its credit is the caller's business.
    fn finish(&mut self, id: u64, outcome: Outcome) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        self.pending -= 1;
        if slot.sequence > 0 {
            self.numbers.finish(slot.sequence);
        }
        if slot.forgotten {
            self.slots.remove(&id);
            return;
        }
        slot.phase = Phase::Done(outcome);
        slot.op.clear();
        if slot.announce {
            self.untold.push_back(id);
            self.with_signal(|ledger| ledger.untold_count += 1);
        }
    }

    /// One completion fewer to tell.
    fn told(&mut self) {
        self.with_signal(|ledger| ledger.untold_count -= 1);
        if self.untold_count == 0 {
            self.untold.clear();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wake_waiters(&self) {
        self.waiters.wake(|want| match want {
            Want::Operation(id) => self.slots.get(&id).is_none_or(Slot::is_done),
            Want::News => self.news() > 0,
            Want::Idle => self.pending == 0,
            Want::Link => true,
            Want::Watch(id) => self.watches.is_ready(id),
        });
    }
}

/// Refusals that come from looking at the operation after the table of answers, or from that table: they say that it was
/// not applied, this time or before. All others say so only of this time.
fn is_verdict(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::VersionConflict
            | Reason::BoundViolation
            | Reason::NotOwner
            | Reason::Fenced
            | Reason::SessionExpired
            | Reason::Compacted
    )
}

/// Refusals of an operation that was not begun, which end by themselves.
fn may_repeat(reason: Reason) -> bool {
    matches!(reason, Reason::RateLimited | Reason::Unavailable)
}

/// A write may not be repeated once the store has forgotten it; half the time is for the way.
fn cap_deadline(slot: &mut Slot, dedup_window_ms: u64) -> Instant {
    if dedup_window_ms > 0 {
        let cap = slot.submitted_at + Duration::from_millis(dedup_window_ms / 2);
        slot.deadline = slot.deadline.min(cap);
    }
    slot.deadline
}

/// Milliseconds, rounded up, so that what is left is never told as "no limit".
fn millis_up(left: Duration) -> u32 {
    let millis = left.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(millis).unwrap_or(u32::MAX)
}
