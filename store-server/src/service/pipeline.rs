//! `Pipeline`: batched items in, answers out of order. The hot path of the server.
//!
//! One [`Pipeline`] is polled by the task of its HTTP/2 stream; it has no task of its own. A frame's reads are answered
//! from one snapshot, in the same poll; its writes go to the writer as one job, whose answers come back through a
//! channel as one message.
//!
//! A slow reader holds up only itself: an operation keeps its credit until its answer has left, and while many bytes of
//! answers wait, what the client sent waits too.
//!
//! A claim that has to wait for its record's owner waits in a task of its own, and so does a history, which is read from
//! files. They end with the Pipeline.
//!
//! Items of one lane keep their order: the writer keeps that of writes by itself, so only a read, what comes behind one,
//! and what comes behind a claim that may wait is held back here, until the lane's writes before it are answered.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{
    Durability, HistoryOp, Op, OpResult, PipelineItem, PipelineOpen, PipelineOpened,
    PipelineRequest, PipelineResponse, PipelineResult, Reason, ResponseHeader, StoreError, op,
    op_result,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::{Status, Streaming};

use super::{
    Gauges,
    history::Histories,
    session::{
        claim::{Claimant, WaitingClaim},
        hub::Hub,
    },
    state::StateApi,
};
use crate::store::{
    Found, Reader, Store,
    request::{Answers, Job, WriteItem, WriterKey},
    schema::Lens,
};

/// The server's side of one Pipeline.
pub struct Pipeline {
    store: Store,
    inbound: Option<Streaming<PipelineRequest>>,
    stopping: watch::Receiver<bool>,
    gauges: Arc<Gauges>,
    hub: Arc<Hub>,
    histories: Arc<Histories>,
    /// Claims that wait, and histories.
    waits: JoinSet<()>,
    caller: Option<Caller>,
    header: ResponseHeader,
    /// Credits in use.
    in_flight: usize,
    lanes: HashMap<u64, Lane>,
    answers: (
        mpsc::UnboundedSender<Answered>,
        mpsc::UnboundedReceiver<Answered>,
    ),
    /// Items that have their credit and are not begun.
    backlog: VecDeque<Admitted>,
    outbox: VecDeque<Outgoing>,
    outbox_bytes: usize,
    opened: Option<PipelineOpened>,
    end: Option<Status>,
}

/// Who is at the other end.
struct Caller {
    namespace: Arc<str>,
    session: Arc<str>,
    fence: u64,
    durability: i32,
    writer_id: Bytes,
    first_incomplete: u64,
}

/// A lane with writes on their way.
#[derive(Default)]
struct Lane {
    writes: usize,
    /// One of the writes is a claim that may have to wait, and what comes later in the lane waits with it.
    may_wait: bool,
    held: Vec<Admitted>,
}

/// An item that has its credit.
struct Admitted {
    item: PipelineItem,
    deadline: Option<Instant>,
}

/// An answer on its way out.
struct Outgoing {
    result: PipelineResult,
    bytes: usize,
    /// It gives a credit back when it leaves.
    has_credit: bool,
}

/// Which item an answer of a job belongs to.
struct Tag {
    id: u64,
    lane: u64,
    /// What to do if it is a claim that has to wait.
    wait: Option<Box<WaitingClaim>>,
}

/// What the writer answers to one job.
struct Answered {
    tags: Vec<Tag>,
    answers: Answers,
}

/// What a Pipeline waits for.
enum Event {
    Answered(Answered),
    Received(Result<Option<PipelineRequest>, Status>),
    Stopping,
}

/// The reads of one frame.
#[derive(Default)]
struct Reads<'s> {
    reader: Option<Reader<'s>>,
    /// What the caller sees; none: everything as it is stored.
    lens: Option<Lens>,
    /// With a lens: what was read, and the item's id, to be answered in the caller's version once the reader is gone.
    seen: Vec<(u64, Op, Found)>,
    /// Bytes of that.
    bytes: usize,
}

/// The writes of one frame.
#[derive(Default)]
struct Writes {
    tags: Vec<Tag>,
    items: Vec<WriteItem>,
}

/// A frame with more than this many items for each credit breaks the Pipeline: refusing them one by one would cost more
/// than they do.
const FRAME_ITEMS_PER_CREDIT: usize = 2;

impl Pipeline {
    /// A Pipeline that has not been opened yet.
    pub fn new(api: &StateApi, inbound: Streaming<PipelineRequest>) -> Pipeline {
        Pipeline {
            store: api.store.clone(),
            inbound: Some(inbound),
            stopping: api.stopping.clone(),
            gauges: api.gauges.clone(),
            hub: api.hub.clone(),
            histories: api.histories.clone(),
            waits: JoinSet::new(),
            caller: None,
            header: api.store.header(),
            in_flight: 0,
            lanes: HashMap::new(),
            answers: mpsc::unbounded_channel(),
            backlog: VecDeque::new(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            opened: None,
            end: None,
        }
    }

    /// The next frame for the client; `None` at the end.
    pub async fn next_frame(&mut self) -> Option<Result<PipelineResponse, Status>> {
        loop {
            if !self.outbox.is_empty() || self.opened.is_some() {
                return Some(Ok(self.frame()));
            }
            if !self.backlog.is_empty() {
                self.work();
                continue;
            }
            if self.in_flight == 0 && self.inbound.is_none() {
                return self.end.take().map(Err);
            }
            match self.event().await {
                Event::Answered(answered) => {
                    self.answered(answered);
                    while let Ok(answered) = self.answers.1.try_recv() {
                        self.answered(answered);
                    }
                }
                Event::Received(Ok(Some(request))) => {
                    if let Err(error) = self.received(request) {
                        self.finish(Some(error.to_status()));
                    }
                }
                Event::Received(Ok(None)) => self.finish(None),
                // The client is gone, or sent what cannot be decoded; what it had begun is done all the same.
                Event::Received(Err(status)) => self.finish(Some(status)),
                Event::Stopping => {
                    let error = StoreError::new(
                        Reason::Unavailable,
                        "the server is stopping: connect again",
                    );
                    self.finish(Some(error.to_status()));
                }
            }
        }
    }

    /// What happens next.
    async fn event(&mut self) -> Event {
        let reading = self.inbound.is_some();
        tokio::select! {
            Some(answered) = self.answers.1.recv() => Event::Answered(answered),
            received = receive(self.inbound.as_mut()) => Event::Received(received),
            _ = self.stopping.wait_for(|stopping| *stopping), if reading => Event::Stopping,
        }
    }

    /// Takes no more items; what was begun is answered first.
    fn finish(&mut self, end: Option<Status>) {
        self.inbound = None;
        self.end = end;
    }

    fn frame(&mut self) -> PipelineResponse {
        let bytes_max = self.store.config().limits.answer_bytes();
        let mut results = Vec::with_capacity(self.outbox.len());
        let (mut bytes, mut credits) = (0, 0);
        while let Some(next) = self.outbox.front()
            && (bytes + next.bytes <= bytes_max || results.is_empty())
            && let Some(outgoing) = self.outbox.pop_front()
        {
            bytes += outgoing.bytes;
            credits += usize::from(outgoing.has_credit);
            results.push(outgoing.result);
        }
        self.outbox_bytes -= bytes;
        self.in_flight -= credits;
        let in_flight = &self.gauges.in_flight;
        in_flight.fetch_sub(credits as u64, Ordering::Relaxed);
        PipelineResponse {
            opened: self.opened.take(),
            header: Some(self.header.clone()),
            results,
        }
    }

    /// Admits the items of a frame, as far as there are credits.
    fn received(&mut self, request: PipelineRequest) -> Result<(), StoreError> {
        if let Some(open) = request.open {
            self.open(open)?;
        }
        let Some(caller) = &self.caller else {
            return Err(StoreError::new(
                Reason::Invalid,
                "the first frame of a Pipeline must have `open`",
            ));
        };
        let namespace = caller.namespace.clone();
        let limit = self.store.config().limits.in_flight;
        if request.items.len() > FRAME_ITEMS_PER_CREDIT * limit {
            return Err(over_credit(limit));
        }
        let now = Instant::now();
        for item in request.items {
            let checked = match &item.op {
                _ if self.in_flight >= limit => Err(over_credit(limit)),
                Some(op) => (self.store.check(&namespace, op)).and_then(|()| {
                    item.once
                        .as_ref()
                        .map_or(Ok(()), |once| self.store.check_once(once))
                }),
                None => Err(no_op()),
            };
            if let Err(error) = checked {
                let kind = Some(op_result::Kind::Error(error));
                self.push(item.id, OpResult { kind }, false);
                continue;
            }
            self.in_flight += 1;
            self.gauges.in_flight.fetch_add(1, Ordering::Relaxed);
            let timeout = Duration::from_millis(item.timeout_ms.into());
            let deadline = (item.timeout_ms > 0).then(|| now + timeout);
            self.backlog.push_back(Admitted { item, deadline });
        }
        Ok(())
    }

    /// Begins what was admitted, until many bytes of answers wait.
    fn work(&mut self) {
        let store = self.store.clone();
        let outbox_bytes_max = store.config().limits.answer_bytes();
        let mut reads = Reads::default();
        let mut writes = Writes::default();
        while self.outbox_bytes + reads.bytes < outbox_bytes_max
            && let Some(admitted) = self.backlog.pop_front()
        {
            self.begin(admitted, &store, &mut reads, &mut writes);
        }
        let Reads {
            reader, lens, seen, ..
        } = reads;
        drop(reader);
        self.submit(writes);
        if let (Some(lens), Some(caller)) = (lens, &self.caller) {
            let ids: Vec<_> = seen.iter().map(|(id, ..)| *id).collect();
            let (ops, found): (Vec<_>, Vec<_>) =
                seen.into_iter().map(|(_, op, found)| (op, found)).unzip();
            let reads = ops.iter().zip(found).collect();
            let answers = store.answer(&caller.namespace, &lens, reads);
            for (id, answer) in ids.into_iter().zip(answers) {
                self.push(id, answer, true);
            }
        }
    }

    fn open(&mut self, open: PipelineOpen) -> Result<(), StoreError> {
        let context = open.context.unwrap_or_default();
        if self.caller.is_some() {
            return Err(StoreError::new(
                Reason::Invalid,
                "only the first frame of a Pipeline may have `open`",
            ));
        }
        self.store.check_context(&context)?;
        tracing::debug!(
            client = open.client_name,
            namespace = context.namespace,
            "a pipeline was opened"
        );
        let key = context.idempotency_key.unwrap_or_default();
        self.caller = Some(Caller {
            namespace: context.namespace.into(),
            session: context.session_id.into(),
            fence: context.fence,
            durability: context.durability,
            writer_id: key.writer_id,
            first_incomplete: key.first_incomplete,
        });
        let config = self.store.config();
        let limits = &config.limits;
        self.opened = Some(PipelineOpened {
            server_version: env!("CARGO_PKG_VERSION").into(),
            max_in_flight: limits.in_flight as u32,
            max_message_bytes: limits.message_bytes as u64,
            max_value_bytes: limits.value_bytes as u64,
            max_nesting: limits.nesting as u32,
            max_batch_ops: limits.batch_ops as u32,
            max_scan_page: limits.scan_page as u32,
            dedup_window_ms: config.log.dedup_window_secs.saturating_mul(1000),
            max_claims: limits.claims as u32,
        });
        Ok(())
    }

    /// Begins an item: answers a read, adds a write to `writes`, or holds it back in its lane.
    fn begin<'s>(
        &mut self,
        admitted: Admitted,
        store: &'s Store,
        reads: &mut Reads<'s>,
        writes: &mut Writes,
    ) {
        let is_read = is_read(&admitted.item);
        if admitted.item.lane != 0
            && let Some(lane) = self.lanes.get_mut(&admitted.item.lane)
            && (is_read || lane.may_wait || !lane.held.is_empty())
        {
            lane.held.push(admitted);
            return;
        }
        let Admitted { item, deadline } = admitted;
        if is_read {
            if reads.reader.is_none() {
                reads.reader = Some(store.reader());
                let caller = self.caller.as_ref();
                reads.lens = caller.and_then(|c| store.lens_at(&c.namespace, &c.session, c.fence));
            }
            match item.op.as_ref().and_then(|op| op.kind.as_ref()) {
                Some(op::Kind::History(history)) => {
                    let history = history.clone();
                    self.history(item.id, history, deadline, reads);
                }
                _ => self.read(item, deadline, reads),
            }
        } else {
            self.write(item, deadline, writes);
        }
    }

    fn read(&mut self, item: PipelineItem, deadline: Option<Instant>, reads: &mut Reads<'_>) {
        let Reads {
            reader: Some(reader),
            lens,
            seen,
            bytes,
        } = reads
        else {
            return;
        };
        let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        let namespace = self.caller.as_ref().map_or("", |c| &c.namespace);
        let op = item.op.unwrap_or_default();
        let found = match late {
            true => None,
            false => reader.read(namespace, &op, lens.as_ref()),
        };
        self.header.revision = self.header.revision.max(reader.revision(namespace));
        let found = found.unwrap_or_else(|| Found::error(too_late()));
        match (lens, found) {
            (None, Found::Answer(result)) => self.push(item.id, result, true),
            (_, found) => {
                *bytes += found.bytes();
                seen.push((item.id, op, found));
            }
        }
    }

    /// Has a history read, as it is now. It keeps its credit meanwhile; nothing waits for it.
    fn history(
        &mut self,
        id: u64,
        mut op: HistoryOp,
        deadline: Option<Instant>,
        reads: &Reads<'_>,
    ) {
        let (Some(caller), Some(reader)) = (&self.caller, &reads.reader) else {
            return;
        };
        let (histories, namespace) = (self.histories.clone(), caller.namespace.clone());
        let revision = reader.revision(&namespace);
        if op.before_revision == 0 {
            op.before_revision = revision + 1;
        }
        let sender = self.answers.0.clone();
        self.waits.spawn(async move {
            let page = histories.page(&namespace, op, deadline).await;
            let kind = page.map_or_else(op_result::Kind::Error, op_result::Kind::History);
            let tag = Tag {
                id,
                lane: 0,
                wait: None,
            };
            // A connection that is gone wants no answers.
            let _ = sender.send(Answered {
                tags: vec![tag],
                answers: Answers {
                    results: vec![OpResult { kind: Some(kind) }],
                    revision,
                },
            });
        });
    }

    fn write(&mut self, item: PipelineItem, deadline: Option<Instant>, writes: &mut Writes) {
        let Some(caller) = &mut self.caller else {
            return;
        };
        caller.first_incomplete = caller.first_incomplete.max(item.first_incomplete);
        let asked = if item.durability == 0 {
            caller.durability
        } else {
            item.durability
        };
        let mut write = WriteItem {
            op: item.op.unwrap_or_default(),
            writer: (item.sequence > 0).then(|| WriterKey {
                id: caller.writer_id.clone(),
                sequence: item.sequence,
                first_incomplete: caller.first_incomplete,
            }),
            once: item.once,
            durability: Durability::try_from(asked).unwrap_or_default(),
            deadline,
        };
        let wait = WaitingClaim::of(&mut write).map(Box::new);
        if item.lane != 0 {
            let lane = self.lanes.entry(item.lane).or_default();
            lane.writes += 1;
            lane.may_wait |= wait.is_some();
        }
        writes.tags.push(Tag {
            id: item.id,
            lane: item.lane,
            wait,
        });
        writes.items.push(write);
    }

    fn submit(&mut self, writes: Writes) {
        let Some(caller) = self.caller.as_ref().filter(|_| !writes.items.is_empty()) else {
            return;
        };
        let (answers, tags) = (self.answers.0.clone(), writes.tags);
        self.store.submit(Job {
            namespace: caller.namespace.clone(),
            session: caller.session.clone(),
            fence: caller.fence,
            items: writes.items,
            // A connection that is gone wants no answers.
            reply: Box::new(move |results| {
                drop(answers.send(Answered {
                    tags,
                    answers: results,
                }))
            }),
        });
    }

    /// Takes in the answers of a job, and begins what was held back behind its writes.
    fn answered(&mut self, answered: Answered) {
        self.header.revision = self.header.revision.max(answered.answers.revision);
        while self.waits.try_join_next().is_some() {}
        for (tag, result) in answered.tags.into_iter().zip(answered.answers.results) {
            let Tag { id, lane, wait } = tag;
            if let Some(wait) = wait
                && WaitingClaim::has_to_wait(&result)
            {
                self.wait(id, lane, *wait);
                continue;
            }
            self.push(id, result, true);
            if let Entry::Occupied(mut entry) = self.lanes.entry(lane) {
                entry.get_mut().writes -= 1;
                if entry.get().writes == 0 {
                    // Before what came later in this lane.
                    for admitted in entry.remove().held.into_iter().rev() {
                        self.backlog.push_front(admitted);
                    }
                }
            }
        }
    }

    /// Has a claim wait. It keeps its credit meanwhile, and its lane waits behind it.
    fn wait(&mut self, id: u64, lane: u64, claim: WaitingClaim) {
        let Some(caller) = &self.caller else {
            return;
        };
        let who = Claimant {
            namespace: caller.namespace.clone(),
            session: caller.session.clone(),
            fence: caller.fence,
        };
        let (hub, stopping) = (self.hub.clone(), self.stopping.clone());
        let sender = self.answers.0.clone();
        self.waits.spawn(async move {
            let answers = claim.wait(hub, who, stopping).await;
            let tag = Tag {
                id,
                lane,
                wait: None,
            };
            // A connection that is gone wants no answers.
            let _ = sender.send(Answered {
                tags: vec![tag],
                answers,
            });
        });
    }

    fn push(&mut self, id: u64, result: OpResult, has_credit: bool) {
        let result = PipelineResult {
            id,
            result: Some(result),
        };
        let bytes = result.encoded_len();
        self.outbox_bytes += bytes;
        self.outbox.push_back(Outgoing {
            result,
            bytes,
            has_credit,
        });
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.gauges
            .in_flight
            .fetch_sub(self.in_flight as u64, Ordering::Relaxed);
    }
}

async fn receive(
    inbound: Option<&mut Streaming<PipelineRequest>>,
) -> Result<Option<PipelineRequest>, Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}

/// Whether an item changes nothing.
fn is_read(item: &PipelineItem) -> bool {
    match item.op.as_ref().and_then(|op| op.kind.as_ref()) {
        Some(
            op::Kind::Get(_)
            | op::Kind::BatchGet(_)
            | op::Kind::Scan(_)
            | op::Kind::ListCollections(_)
            | op::Kind::History(_),
        ) => true,
        Some(op::Kind::Txn(txn)) => Reader::answers(txn),
        _ => false,
    }
}

fn over_credit(limit: usize) -> StoreError {
    let message = format!(
        "{limit} operations are in flight on this connection, which is the limit (limits.in_flight): wait for answers"
    );
    StoreError::new(Reason::RateLimited, message)
}

fn no_op() -> StoreError {
    StoreError::new(Reason::Invalid, "the item has no operation")
}

fn too_late() -> StoreError {
    StoreError::new(
        Reason::DeadlineExceeded,
        "the caller's deadline passed before the read was begun",
    )
}
