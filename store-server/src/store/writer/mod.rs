//! The one writer.
//!
//! It drains its queue, evaluates each write against the view and the commits already accepted in this batch, appends
//! one frame with one entry per commit, syncs once for the whole batch, publishes to the view, then answers. So a
//! reader sees durable state only, and an answer means fsynced. (Writes with durability APPLIED, which must ask for it,
//! are published and answered before the sync, which follows within `applied_sync_ms`.)
//!
//! Between batches it does what is due: the sync of APPLIED writes, handing a portion to the applier, expiry, the watch
//! on the disk's free space, checkpoints and the log's retention.
//!
//! [`item`] evaluates a client's write, [`own`] what the store writes for itself, [`commit`] makes both durable and
//! readable, [`again`] gives answers again, [`waiting`] has the answers meanwhile, [`due`] is the rest.

mod again;
mod commit;
mod due;
mod item;
mod own;
mod waiting;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use prost::Message;
use stillpoint_proto::v1::{OpResult, StoreError};

use self::waiting::{Waiting, refuse};
use super::{
    applier::Applier,
    clock::now_ms,
    dedup::Dedup,
    draft::Pending,
    due::Due,
    feed,
    index::{Index, Notice},
    record::Record,
    request::{Answers, WriteItem},
    schema::Table,
    shared::{Command, Shared, stopped},
    state_hash::StateHash,
};
use crate::log::{Appender, FrameBuilder};

/// The writer's own state; it lives on the writer's thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Command>,
    appender: Appender,
    applier: Applier,
    dedup: Dedup,
    /// Ahead of the shared one by the batch that is evaluated.
    index: Index,
    /// Ahead of the shared one in the same way.
    schemas: Arc<Table>,
    /// The hash of all records, ahead of the view's in the same way.
    state_hash: StateHash,
    /// Commits that watches have not been told yet.
    untold: Vec<Arc<feed::Commit>>,
    frame: FrameBuilder,
    due: Due,
    checkpoint_at_bytes: u64,
    appended_bytes: u64,
    /// Nothing more may be written to the log.
    log_failed: bool,
}

/// What a writer knows when it begins.
#[derive(Debug)]
pub struct Known {
    /// The table of answers.
    pub dedup: Dedup,
    /// Sessions, claims and timers.
    pub index: Index,
    /// Scripts and versions of schemas.
    pub schemas: Arc<Table>,
}

/// Writes evaluated together, not yet durable.
#[derive(Debug, Default)]
struct Batch {
    pending: Pending,
    /// Keys of the view that are not records.
    own_keys: Vec<(Bytes, Option<Bytes>)>,
    /// Changes of sessions, claims and timers.
    indexed: Vec<(Bytes, Option<Record>)>,
    notices: Vec<Notice>,
    /// Scripts or versions of schemas are others.
    is_schema_changed: bool,
    commits: usize,
    needs_sync: bool,
    /// Processor time that scripts took for its writes.
    scripts: Duration,
    /// Part of it was appended already, and that failed.
    failed: Option<StoreError>,
}

/// Most writes of one batch; more wait for the next.
const BATCH_OPS_MAX: usize = 4096;

/// Scripts of one batch take about so much processor time at most, or as much as a single write may: the writes that were done
/// before are not committed until then.
const BATCH_SCRIPTS_MAX: Duration = Duration::from_millis(20);

/// What was published is handed to the applier after this time, if it was not enough for that before.
const FREEZE_AFTER: Duration = Duration::from_secs(1);

impl Batch {
    /// Whether it is to be committed before another write is done. Without scripts, no clock is looked at for this.
    fn has_taken_long(&self) -> bool {
        self.scripts >= BATCH_SCRIPTS_MAX
    }
}

impl Writer {
    /// A writer that has everything and begins with the next commit.
    pub fn new(
        shared: Arc<Shared>,
        queue: Receiver<Command>,
        appender: Appender,
        applier: Applier,
        known: Known,
    ) -> Writer {
        let checkpoint_at_bytes = shared.config.log.checkpoint_bytes;
        let checkpoint_seq = shared.checkpoint_seq.load(Ordering::Acquire);
        let segments = shared.segments.snapshot().into_iter();
        let not_covered = segments.filter(|segment| segment.last_seq > checkpoint_seq);
        let state_hash = shared.view.applied().state_hash.unwrap_or_default();
        Writer {
            shared,
            queue,
            appender,
            applier,
            dedup: known.dedup,
            index: known.index,
            schemas: known.schemas,
            state_hash,
            untold: Vec::new(),
            frame: FrameBuilder::default(),
            due: Due::at_start(),
            checkpoint_at_bytes,
            // A store that is restarted often needs checkpoints too.
            appended_bytes: not_covered.map(|segment| segment.bytes).sum(),
            log_failed: false,
        }
    }

    /// Runs until it is told to stop. Everything accepted is durable and in the engine then.
    pub fn run(mut self) {
        self.end_sessions_of_other_incarnations();
        // A disk without room is noticed before the first write, not after it.
        self.do_due();
        loop {
            let wait = self.due.first().saturating_duration_since(Instant::now());
            match self.queue.recv_timeout(wait) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => {
                    if self.batch(command) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.do_due();
        }
        self.stop();
    }

    /// Does a batch that begins with this command; whether the writer was told to stop.
    fn batch(&mut self, first: Command) -> bool {
        let mut batch = Batch::default();
        let mut waiting = Vec::new();
        let mut ops = 0;
        let mut stop = false;
        let mut now_ms = now_ms();
        let mut next = Some(first);
        let first_seq = self.appender.next_seq();
        self.frame.begin(first_seq);
        while let Some(command) = next.take() {
            match command {
                Command::Job { job, bytes } => {
                    self.shared.queue.popped(job.items.len(), bytes);
                    ops += job.items.len();
                    self.job(&mut batch, &mut waiting, job, &mut now_ms);
                }
                Command::Session(job) => {
                    ops += 1;
                    waiting.push(self.session(&mut batch, job, now_ms));
                }
                Command::Own(record) => {
                    ops += 1;
                    let result = self.own_record(&mut batch, &record, now_ms);
                    let reply = record.reply;
                    waiting.push(Waiting::Own { result, reply });
                }
                Command::GiveBack(given) => {
                    ops += given.records.len();
                    let result = self.give_back(&mut batch, &given, now_ms);
                    let reply = given.reply;
                    waiting.push(Waiting::GivenBack { result, reply });
                }
                Command::Schema(job) => {
                    ops += job.commit.records.len() + 1;
                    waiting.push(self.schema(&mut batch, job, now_ms));
                }
                Command::Stop => {
                    stop = true;
                    break;
                }
            }
            let is_full = ops >= BATCH_OPS_MAX || self.appender.next_seq() > first_seq;
            if is_full || batch.has_taken_long() {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        // Whoever waits has been told of a failure, and the gate is closed.
        let _ = self.end(batch, waiting, now_ms);
        stop
    }

    /// Commits a batch, and answers who waits for it.
    fn end(&mut self, batch: Batch, waiting: Vec<Waiting>, now_ms: u64) -> Result<(), StoreError> {
        let committed = self.commit(batch, now_ms);
        match &committed {
            Ok(()) => self.answer(waiting),
            Err(error) => refuse(waiting, error),
        }
        committed
    }

    fn stop(mut self) {
        // Jobs that came after the stop were not begun.
        while let Ok(command) = self.queue.try_recv() {
            let waiting = match command {
                Command::Job { job, .. } => Waiting::Job {
                    namespace: job.namespace,
                    results: vec![OpResult::default(); job.items.len()],
                    reply: job.reply,
                },
                Command::Session(job) => Waiting::Session {
                    result: Ok(None),
                    reply: job.reply,
                },
                Command::Own(record) => Waiting::Own {
                    result: Err(stopped()),
                    reply: record.reply,
                },
                Command::GiveBack(given) => Waiting::GivenBack {
                    result: Err(stopped()),
                    reply: given.reply,
                },
                Command::Schema(job) => Waiting::Schema {
                    result: Err(stopped()),
                    reply: job.reply,
                },
                Command::Stop => continue,
            };
            refuse(vec![waiting], &stopped());
        }
        let sound = !self.log_failed && self.sync().is_ok();
        if sound {
            self.applier.wait();
            self.hand_over();
        }
        self.applier.stop();
        if sound && let Err(error) = self.appender.close() {
            tracing::error!(%error, "cannot seal the log; the next start will do it");
        }
    }

    fn answer(&self, waiting: Vec<Waiting>) {
        let view = self.shared.view.read();
        let revision = |waiting: &Waiting| match waiting {
            Waiting::Job { namespace, .. } => view.namespace(namespace).revision,
            _ => 0,
        };
        let revisions: Vec<_> = waiting.iter().map(revision).collect();
        drop(view);
        for (waiting, revision) in waiting.into_iter().zip(revisions) {
            match waiting {
                Waiting::Job { results, reply, .. } => reply(Answers { results, revision }),
                Waiting::Session { result, reply } => reply(result),
                Waiting::Own { result, reply } => reply(result),
                Waiting::GivenBack { result, reply } => reply(result),
                Waiting::Schema { result, reply } => reply(result),
            }
        }
    }
}

/// About how many bytes a write keeps in memory while it waits.
pub fn item_bytes(item: &WriteItem) -> usize {
    item.op.encoded_len()
}
