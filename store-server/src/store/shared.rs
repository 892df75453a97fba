//! What the writer, the readers and the background threads of a store have in common.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    checkpoint::Background,
    datadir::DataDir,
    feed::Feed,
    give_back::GiveBack,
    index::{Index, Notice},
    own_record::OwnRecord,
    request::Job,
    schema::{SchemaJob, Schemas},
    session::{Session, SessionChange},
    validate::Validator,
    view::View,
};
use crate::{config::Config, log::Segments};

/// What all parts of a store share.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// The data directory, locked.
    pub dir: DataDir,
    /// What operations must be like.
    pub validator: Validator,
    /// The view.
    pub view: View,
    /// Sessions, claims and timers, as durable as the view.
    pub index: RwLock<Index>,
    /// Scripts and versions of the records' schemas, published before the view.
    pub schemas: Schemas,
    /// Where changes of the index are told. Nobody need listen.
    pub notices: UnboundedSender<Notice>,
    /// Where watches hear of commits.
    pub feed: Feed,
    /// The log's segments.
    pub segments: Segments,
    /// The writes waiting for the writer.
    pub queue: Queue,
    /// Whether writes are taken.
    pub gate: Gate,
    /// Counters.
    pub counters: Counters,
    /// Sequence number of the newest commit on disk.
    pub synced_seq: AtomicU64,
    /// Sequence number of the newest commit in the engine.
    pub applied_seq: AtomicU64,
    /// Sequence number the newest checkpoint covers; 0: there is none.
    pub checkpoint_seq: AtomicU64,
    /// The checkpoint being taken.
    pub checkpoint: Background,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Read operations.
    pub reads: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
    /// Syncs of the log.
    pub syncs: AtomicU64,
    /// Operations refused because a guard failed.
    pub conflicts: AtomicU64,
    /// Writes answered from the table of answers.
    pub repeats: AtomicU64,
    /// Records that expired.
    pub expired: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// What the writer is told.
#[derive(Debug)]
pub enum Command {
    /// Do these writes, which were counted as so many bytes.
    Job {
        /// The writes.
        job: Job,
        /// Their bytes.
        bytes: usize,
    },
    /// Change a session.
    Session(SessionJob),
    /// Write a record of the store's own.
    Own(OwnRecord),
    /// Write records for an operator.
    GiveBack(GiveBack),
    /// Change scripts, versions, or the version of records.
    Schema(SchemaJob),
    /// Do what is queued, then stop.
    Stop,
}

/// A change of a session, and who waits for it.
pub struct SessionJob {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The change.
    pub change: SessionChange,
    /// Gets the session as it is after the change, none if it is over. Called on the writer's thread, so it must not
    /// block.
    pub reply: Box<dyn FnOnce(Result<Option<Session>, StoreError>) + Send>,
}

impl std::fmt::Debug for SessionJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionJob")
            .field("namespace", &self.namespace)
            .field("change", &self.change)
            .finish()
    }
}

/// The writes waiting for the writer, bounded in number and bytes.
#[derive(Debug)]
pub struct Queue {
    sender: Sender<Command>,
    ops: AtomicUsize,
    bytes: AtomicUsize,
    ops_max: usize,
    bytes_max: usize,
}

impl Queue {
    /// A queue into `sender`.
    pub fn new(sender: Sender<Command>, ops_max: usize, bytes_max: usize) -> Queue {
        Queue {
            sender,
            ops: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            ops_max,
            bytes_max,
        }
    }

    /// Adds a job of about `bytes`, or gives it back if the queue is full.
    pub fn push(&self, job: Job, bytes: usize) -> Result<(), (Job, StoreError)> {
        let ops = job.items.len();
        let full = |what: &str, limit: usize, name: &str| {
            let message =
                format!("the writer's queue is full: {limit} {what} wait ({name}); back off");
            let mut error = StoreError::new(Reason::RateLimited, message);
            error.retry_after_ms = RETRY_AFTER_MS;
            error
        };
        if self.ops.fetch_add(ops, Ordering::Relaxed) + ops > self.ops_max {
            self.ops.fetch_sub(ops, Ordering::Relaxed);
            return Err((job, full("writes", self.ops_max, "limits.queue_ops")));
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            self.ops.fetch_sub(ops, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err((job, full("bytes", self.bytes_max, "limits.queue_bytes")));
        }
        match self.sender.send(Command::Job { job, bytes }) {
            Ok(()) => Ok(()),
            Err(refused) => match refused.into_inner() {
                Command::Job { job, .. } => Err((job, stopped())),
                _ => unreachable!("a job was sent"),
            },
        }
    }

    /// Adds a change of a session. There are few, so they are not bounded.
    pub fn push_session(&self, job: SessionJob) {
        if let Err(refused) = self.sender.send(Command::Session(job))
            && let Command::Session(job) = refused.into_inner()
        {
            (job.reply)(Err(stopped()));
        }
    }

    /// Adds a record of the store's own. There are few, too.
    pub fn push_own(&self, record: OwnRecord) {
        if let Err(refused) = self.sender.send(Command::Own(record))
            && let Command::Own(record) = refused.into_inner()
        {
            (record.reply)(Err(stopped()));
        }
    }

    /// Adds records that are written for an operator. Whoever does so waits for the answer before the next.
    pub fn push_give_back(&self, given: GiveBack) {
        if let Err(refused) = self.sender.send(Command::GiveBack(given))
            && let Command::GiveBack(given) = refused.into_inner()
        {
            (given.reply)(Err(stopped()));
        }
    }

    /// Adds a change of scripts, versions, or the version of records. Whoever does so waits, too.
    pub fn push_schema(&self, job: SchemaJob) {
        if let Err(refused) = self.sender.send(Command::Schema(job))
            && let Command::Schema(job) = refused.into_inner()
        {
            (job.reply)(Err(stopped()));
        }
    }

    /// Tells the writer to stop.
    pub fn stop(&self) {
        // A writer that is gone already has stopped.
        let _ = self.sender.send(Command::Stop);
    }

    /// Takes note that a job has left the queue.
    pub fn popped(&self, ops: usize, bytes: usize) {
        self.ops.fetch_sub(ops, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Writes waiting.
    pub fn len(&self) -> usize {
        self.ops.load(Ordering::Relaxed)
    }
}

/// How long a caller should wait before it tries again.
const RETRY_AFTER_MS: u64 = 50;

/// The error of a write that comes after the end.
pub fn stopped() -> StoreError {
    StoreError::new(
        Reason::Unavailable,
        "the server is stopping: repeat the write",
    )
}

/// Whether writes are taken, and if not, why.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    why: Mutex<Why>,
}

#[derive(Debug, Default)]
struct Why {
    /// For good: the log or the engine failed.
    failed: Option<String>,
    /// For now: the disk is nearly full.
    disk: Option<String>,
    /// For now: an operator replaces the store.
    paused: Option<String>,
}

impl Why {
    fn closes(&self) -> bool {
        self.failed.is_some() || self.disk.is_some() || self.paused.is_some()
    }
}

impl Gate {
    /// The error of a write, if none is taken. One relaxed load where they are.
    pub fn check(&self) -> Result<(), StoreError> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut error = StoreError::new(Reason::ReadOnly, self.reason());
        error.retry_after_ms = 1000;
        Err(error)
    }

    /// Why none is taken; empty if they are.
    pub fn reason(&self) -> String {
        let why = self.why.lock();
        why.failed
            .as_ref()
            .or(why.paused.as_ref())
            .or(why.disk.as_ref())
            .cloned()
            .unwrap_or_default()
    }

    /// Whether it is closed until the next start.
    pub fn has_failed(&self) -> bool {
        self.closed.load(Ordering::Acquire) && self.why.lock().failed.is_some()
    }

    /// Closes it until the next start.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "the store takes no more writes");
        self.why.lock().failed.get_or_insert(reason);
        self.closed.store(true, Ordering::Release);
    }

    /// Closes it until the disk has room again, or opens it.
    pub fn set_disk(&self, full: Option<String>) {
        let mut why = self.why.lock();
        if why.disk.is_some() != full.is_some() {
            match &full {
                Some(reason) => tracing::warn!(reason, "the store takes no writes for now"),
                None => tracing::info!("the disk has room again: the store takes writes"),
            }
        }
        why.disk = full;
        self.closed.store(why.closes(), Ordering::Release);
    }

    /// Closes it for an operator, or opens it.
    pub fn set_paused(&self, reason: Option<String>) {
        match &reason {
            Some(reason) => tracing::warn!(reason, "the store takes no writes for now"),
            None => tracing::info!("the store takes writes again"),
        }
        let mut why = self.why.lock();
        why.paused = reason;
        self.closed.store(why.closes(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{Durability, Op};

    use super::*;
    use crate::store::request::WriteItem;

    fn job(writes: usize) -> Job {
        let write = || WriteItem {
            op: Op::default(),
            writer: None,
            once: None,
            durability: Durability::Unspecified,
            deadline: None,
        };
        Job {
            namespace: "w".into(),
            session: "".into(),
            fence: 0,
            items: (0..writes).map(|_| write()).collect(),
            reply: Box::new(|_| {}),
        }
    }

    #[test]
    fn a_full_queue_refuses_by_name_and_has_room_again_once_it_is_emptied() {
        let (sender, _receiver) = crossbeam_channel::unbounded();
        let queue = Queue::new(sender, 4, 100);
        assert!(queue.push(job(3), 10).is_ok());
        let (back, error) = queue.push(job(2), 10).expect_err("too many writes");
        assert_eq!((back.items.len(), error.reason()), (2, Reason::RateLimited));
        assert!(error.message.contains("limits.queue_ops"), "{error}");
        assert!(error.retry_after_ms > 0);
        let (_, error) = queue.push(job(1), 95).expect_err("too many bytes");
        assert!(error.message.contains("limits.queue_bytes"), "{error}");
        queue.popped(3, 10);
        assert!(queue.push(job(4), 100).is_ok());
        assert_eq!(queue.len(), 4);
    }
}
