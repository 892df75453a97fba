//! The one writer.
//!
//! It drains its queue, evaluates each write against the view and the commits already accepted in this batch, appends
//! one frame with one entry per commit, syncs once for the whole batch, publishes to the view, then answers. So a
//! reader sees durable state only, and an answer means fsynced. (Writes with durability APPLIED, which must ask for it,
//! are published and answered before the sync, which follows within `applied_sync_ms`.)
//!
//! Between batches it does what is due: the sync of APPLIED writes, handing a portion to the applier, expiry, the watch
//! on the disk's free space, checkpoints and the log's retention.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use prost::Message;
use stillpoint_proto::v1::{Durability, Op, OpResult, Reason, StoreError, op, op_result::Kind};

use super::{
    applier::Applier,
    audit::{self, AuditJob},
    dedup::{Dedup, reply_for_log, without_record},
    draft::{Accepted, Changed, Draft, Pending},
    due::{Clock, Due},
    evaluate::{Caller, Rules},
    expiry, feed,
    index::{Index, Notice},
    keys,
    record::Record,
    request::{Answers, Job, WriteItem, WriterKey},
    session::{self, Session, SessionChange},
    shared::{Command, Counters, SessionJob, Shared, now_ms, stopped},
};
use crate::{
    config::DurabilityKind,
    log::{self, Appender, Change, Entry, FrameBuilder, Origin, entry::Writer as EntryWriter},
};

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
    /// Commits that watches have not been told yet.
    untold: Vec<Arc<feed::Commit>>,
    frame: FrameBuilder,
    clock: Clock,
    due: Due,
    checkpoint_at_bytes: u64,
    appended_bytes: u64,
    /// Nothing more may be written to the log.
    log_failed: bool,
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
    commits: usize,
    needs_sync: bool,
    /// Part of it was appended already, and that failed.
    failed: Option<StoreError>,
}

/// Answers that wait for the sync.
enum Waiting {
    Job {
        namespace: Arc<str>,
        results: Vec<OpResult>,
        reply: Box<dyn FnOnce(Answers) + Send>,
    },
    Session {
        result: Result<Option<Session>, StoreError>,
        reply: Box<dyn FnOnce(Result<Option<Session>, StoreError>) + Send>,
    },
    Audit {
        result: Result<(), StoreError>,
        reply: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
    },
}

/// Most writes of one batch; more wait for the next.
const BATCH_OPS_MAX: usize = 4096;

/// A frame that has more bytes is appended, and the batch goes on in another. The batch takes no more jobs then.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Most bytes that one commit may write. So no frame comes near the largest that can be read.
const COMMIT_BYTES_MAX: usize = 64 << 20;

/// A portion of this size is handed to the applier at once: large, as what is written twice meanwhile goes to the engine
/// once, and neighbours go together ...
const FREEZE_BYTES: usize = 16 << 20;

/// ... but at the latest when it fills this part of the room for such records, so that the next has room too ...
const FREEZE_PART: usize = 4;

/// ... a smaller one after this time.
const FREEZE_AFTER: Duration = Duration::from_secs(1);

/// How long records whose time is up may be kept so that they expire together.
const EXPIRE_EVERY_MS: u64 = 50;

/// How often the housekeeping is done.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    /// A writer that has everything and begins with the next commit.
    pub fn new(
        shared: Arc<Shared>,
        queue: Receiver<Command>,
        appender: Appender,
        applier: Applier,
        dedup: Dedup,
        index: Index,
    ) -> Writer {
        let checkpoint_at_bytes = shared.config.log.checkpoint_bytes;
        let checkpoint_seq = shared.checkpoint_seq.load(Ordering::Acquire);
        let segments = shared.segments.snapshot().into_iter();
        let not_covered = segments.filter(|segment| segment.last_seq > checkpoint_seq);
        Writer {
            shared,
            queue,
            appender,
            applier,
            dedup,
            index,
            untold: Vec::new(),
            frame: FrameBuilder::default(),
            clock: Clock::default(),
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

    /// A store that was restored or repaired may give a revision again, and so a fence: no session outlives that.
    fn end_sessions_of_other_incarnations(&mut self) {
        let now_ms = self.clock.now_ms();
        let incarnation = self.shared.dir.identity().incarnation;
        let others = self.index.sessions();
        let others = others.filter(|(_, session)| session.incarnation != incarnation);
        let jobs: Vec<_> = others
            .map(|(namespace, session)| SessionJob {
                namespace: namespace.clone(),
                change: SessionChange::End {
                    id: session.id.clone(),
                    fence: session.fence,
                },
                reply: Box::new(drop),
            })
            .collect();
        let mut batch = Batch::default();
        self.frame.begin(self.appender.next_seq());
        for job in &jobs {
            if let Err(error) = self.change_session(&mut batch, job, now_ms) {
                return self.shared.gate.fail(error.message);
            }
        }
        // A failure has closed the gate, and nobody waits for an answer.
        let _ = self.commit(batch, now_ms);
    }

    /// Does a batch that begins with this command; whether the writer was told to stop.
    fn batch(&mut self, first: Command) -> bool {
        let mut batch = Batch::default();
        let mut waiting = Vec::new();
        let mut ops = 0;
        let mut stop = false;
        let now_ms = self.clock.now_ms();
        let mut next = Some(first);
        let first_seq = self.appender.next_seq();
        self.frame.begin(first_seq);
        while let Some(command) = next.take() {
            match command {
                Command::Job { job, bytes } => {
                    self.shared.queue.popped(job.items.len(), bytes);
                    ops += job.items.len();
                    waiting.push(self.job(&mut batch, job, now_ms));
                }
                Command::Session(job) => {
                    ops += 1;
                    waiting.push(self.session(&mut batch, job, now_ms));
                }
                Command::Audit(job) => {
                    ops += 1;
                    let result = self.audit(&mut batch, &job, now_ms);
                    let reply = job.reply;
                    waiting.push(Waiting::Audit { result, reply });
                }
                Command::Stop => {
                    stop = true;
                    break;
                }
            }
            if ops >= BATCH_OPS_MAX || self.appender.next_seq() > first_seq {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        match self.commit(batch, now_ms) {
            Ok(()) => self.answer(waiting),
            Err(error) => refuse(waiting, &error),
        }
        stop
    }

    fn job(&mut self, batch: &mut Batch, job: Job, now_ms: u64) -> Waiting {
        let results = job.items.iter().map(|item| {
            self.item(batch, &job, item, now_ms)
                .unwrap_or_else(|error| {
                    if error.reason() == Reason::VersionConflict {
                        Counters::add(&self.shared.counters.conflicts, 1);
                    }
                    OpResult {
                        kind: Some(Kind::Error(error)),
                    }
                })
        });
        let results = results.collect();
        Waiting::Job {
            namespace: job.namespace,
            results,
            reply: job.reply,
        }
    }

    fn session(&mut self, batch: &mut Batch, job: SessionJob, now_ms: u64) -> Waiting {
        let taken = self.shared.gate.check();
        let result = taken.and_then(|()| self.change_session(batch, &job, now_ms));
        Waiting::Session {
            result,
            reply: job.reply,
        }
    }

    fn change_session(
        &mut self,
        batch: &mut Batch,
        job: &SessionJob,
        now_ms: u64,
    ) -> Result<Option<Session>, StoreError> {
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, &job.namespace);
        let (namespace, change) = (&job.namespace, &job.change);
        let terms = session::Terms {
            now_ms,
            incarnation: self.shared.dir.identity().incarnation,
            sessions_max: self.shared.config.limits.sessions,
        };
        let session = session::change(&mut draft, &self.index, namespace, change, &terms)?;
        let revision = draft.revision;
        let changes = draft.into_changes().collect();
        batch.needs_sync = true;
        let id: Arc<str> = match (&session, change) {
            (Some(session), _) => session.id.clone(),
            (None, SessionChange::End { id, .. }) => id.clone(),
            (None, _) => "".into(),
        };
        let origin = CommitOrigin {
            origin: Origin::Session,
            session: &id,
            writer: None,
            once: &[],
        };
        self.accept(batch, namespace, revision, changes, &origin, &[], now_ms);
        Ok(session)
    }

    /// Writes down what an operator asked.
    fn audit(&mut self, batch: &mut Batch, job: &AuditJob, now_ms: u64) -> Result<(), StoreError> {
        self.shared.gate.check()?;
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, &job.namespace);
        audit::write(&mut draft, job)?;
        let revision = draft.revision;
        let changes = draft.into_changes().collect();
        batch.needs_sync = true;
        let origin = CommitOrigin {
            origin: Origin::Client,
            session: "",
            writer: None,
            once: &[],
        };
        self.accept(
            batch,
            &job.namespace,
            revision,
            changes,
            &origin,
            &[],
            now_ms,
        );
        Ok(())
    }

    fn item(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        // The answers of a batch that could not be logged are in the table too.
        if self.shared.gate.has_failed() {
            self.shared.gate.check()?;
        }
        if let Some(writer) = &item.writer
            && let Some(answer) = self.dedup.check(writer)?
        {
            Counters::add(&self.shared.counters.repeats, 1);
            // The first time may have been answered before its sync.
            batch.needs_sync |= self.due.sync.is_some();
            return self.answer_again(batch, job, item, answer, now_ms);
        }
        self.shared.gate.check()?;
        if item
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            let message = "the caller's deadline passed while the write waited for the writer";
            return Err(StoreError::new(Reason::DeadlineExceeded, message));
        }
        let result = self.evaluate(batch, job, item, now_ms);
        if let Some(writer) = &item.writer {
            match &result {
                Ok(answer) => self.dedup.insert(writer, without_record(answer)),
                // A refusal is an answer too: a copy of the write that comes late must not be applied after it.
                Err(error) if is_final(error.reason(), &item.op) => {
                    let kind = Some(Kind::Error(error.clone()));
                    self.dedup.insert(writer, OpResult { kind });
                }
                Err(_) => {}
            }
        }
        result
    }

    /// The answer to a write that was done before. A claim's owner gets the record as it is now; whoever is not the owner
    /// any more is told so, not that he is.
    fn answer_again(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        answer: OpResult,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        let (Some(Kind::Claim(_)), Some(op::Kind::Claim(claim))) = (&answer.kind, &item.op.kind)
        else {
            return match answer.kind {
                Some(Kind::Error(error)) => Err(error),
                _ => Ok(answer),
            };
        };
        let key = claim.key.as_ref();
        let key = key.map(|key| keys::record(&job.namespace, &key.collection, &key.key));
        let owner = key.and_then(|key| self.index.claim(&key));
        if owner.is_some_and(|owner| *owner.session == *job.session) {
            return self.evaluate(batch, job, item, now_ms);
        }
        let message =
            "the claim was granted, and the record released or taken since: claim it again";
        Err(StoreError::new(Reason::NotOwner, message))
    }

    fn evaluate(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        if !job.session.is_empty() {
            self.index
                .check_fence(&job.namespace, &job.session, job.fence)?;
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, &job.namespace);
        if item.once.is_some() && matches!(item.op.kind, Some(op::Kind::Claim(_))) {
            let message = "a claim cannot be named with `once`: its repeat, by whoever, would be told that it owns the \
                           record; claim it again instead";
            return Err(StoreError::new(Reason::Invalid, message));
        }
        if let Some(once) = &item.once
            && let Some(answer) =
                (self.dedup.once).check(&job.namespace, once, draft.revision - 1)?
        {
            Counters::add(&self.shared.counters.repeats, 1);
            batch.needs_sync |= self.due.sync.is_some();
            return Ok(answer);
        }
        let rules = Rules {
            namespace: &job.namespace,
            values: self.shared.validator.values(),
            answer_bytes: self.shared.config.limits.answer_bytes(),
            now_ms,
            caller: Caller {
                session: &job.session,
            },
            index: &self.index,
            config: &self.shared.config,
        };
        let mut result = rules.evaluate(&mut draft, &item.op)?;
        let revision = draft.revision;
        let changes: Vec<_> = draft.into_changes().collect();
        // A write that has a name is a commit even if it changes nothing, since its answer has to be found again.
        if changes.is_empty() && item.once.is_none() {
            if let Some(Kind::Txn(txn)) = &mut result.kind {
                txn.revision = revision - 1;
            }
            return Ok(result);
        }
        let reply = match changes.is_empty() {
            true => result.encode_to_vec(),
            false => reply_for_log(&result),
        };
        check_size(&changes, &reply)?;
        batch.needs_sync |= self.durability(item.durability, &changes) == DurabilityKind::Synced;
        let origin = CommitOrigin {
            origin: Origin::Client,
            session: &job.session,
            writer: item.writer.as_ref(),
            once: item.once.as_ref().map_or(&[], |once| &once.name),
        };
        self.accept(
            batch,
            &job.namespace,
            revision,
            changes,
            &origin,
            &reply,
            now_ms,
        );
        if let Some(once) = &item.once {
            (self.dedup.once).insert(&job.namespace, &once.name, revision, result.clone());
        }
        Ok(result)
    }

    /// When a commit may be answered: a call may choose, else the collections decide, the most careful one for all. Who
    /// owns a record is always durable: nobody else may be told the same later.
    fn durability(&self, asked: Durability, changes: &[(Bytes, Changed)]) -> DurabilityKind {
        let config = &self.shared.config;
        let of_claim = |key: &Bytes| {
            keys::split_system(key).is_some_and(|(_, system, _)| system == keys::System::Claim)
        };
        if changes.iter().any(|(key, _)| of_claim(key)) {
            return DurabilityKind::Synced;
        }
        match asked {
            Durability::Applied => DurabilityKind::Applied,
            Durability::Unspecified if !config.collections.is_empty() => {
                let applied = !changes.is_empty()
                    && changes.iter().all(|(key, _)| {
                        let settings =
                            keys::split_record(key).and_then(|(ns, c, _)| config.collection(ns, c));
                        settings.is_some_and(|c| c.durability == DurabilityKind::Applied)
                    });
                if applied {
                    DurabilityKind::Applied
                } else {
                    DurabilityKind::Synced
                }
            }
            Durability::Unspecified | Durability::Synced => DurabilityKind::Synced,
        }
    }

    /// Adds a commit to the frame and to what later writes of the batch see.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a commit; a struct would be made and taken apart once"
    )]
    fn accept(
        &mut self,
        batch: &mut Batch,
        namespace: &Arc<str>,
        revision: u64,
        changes: Vec<(Bytes, Changed)>,
        origin: &CommitOrigin<'_>,
        reply: &[u8],
        now_ms: u64,
    ) {
        let gained = |c: &Changed| i64::from(c.after.is_some()) - i64::from(c.before.is_some());
        let clients = changes
            .iter()
            .filter(|(key, _)| keys::split_system(key).is_none());
        let records_delta = clients.map(|(_, c)| gained(c)).sum();
        let entry = Entry {
            namespace,
            revision,
            incarnation: self.shared.dir.identity().incarnation,
            time_ms: now_ms,
            origin: origin.origin,
            principal: "",
            session: origin.session,
            writer: origin.writer.map(|w| EntryWriter {
                id: &w.id,
                sequence: w.sequence,
                first_incomplete: w.first_incomplete,
            }),
            records_delta,
            changes: changes
                .iter()
                .filter_map(|(key, c)| log_change(key, c))
                .collect(),
            reply,
            once: origin.once,
        };
        self.frame.push(|out| entry.encode(out));
        if self.shared.feed.is_wanted() {
            let clients = changes
                .iter()
                .filter(|(key, _)| keys::split_system(key).is_none());
            self.untold.push(Arc::new(feed::Commit {
                seq: self.appender.next_seq() + u64::from(self.frame.count()) - 1,
                namespace: namespace.clone(),
                revision,
                time_ms: now_ms,
                origin: origin.origin,
                session: origin.session.into(),
                changes: clients
                    .map(|(key, c)| (key.clone(), c.after.as_ref().map(Record::detached)))
                    .collect(),
            }));
        }
        let known = batch.pending.namespaces.get(namespace).copied();
        let mut state = known.unwrap_or_else(|| self.shared.view.read().namespace(namespace));
        state.revision = revision;
        state.records = state.records.saturating_add_signed(records_delta);
        batch.pending.namespaces.insert(namespace.clone(), state);
        for (key, changed) in changes {
            self.schedule_expiry(batch, &key, &changed);
            match self.index.apply(&key, changed.after.as_ref()) {
                Ok(None) => {}
                Ok(Some(notice)) => {
                    batch.notices.push(notice);
                    batch.indexed.push((key.clone(), changed.after.clone()));
                }
                // It was encoded a moment ago.
                Err(error) => self.shared.gate.fail(error),
            }
            batch.pending.records.insert(key, changed.after);
        }
        batch.commits += 1;
        if self.frame.len_bytes() >= FRAME_BYTES_MAX {
            batch.failed = self.append(now_ms).err();
        }
    }

    /// Keeps the expiry keys in step with a change.
    fn schedule_expiry(&mut self, batch: &mut Batch, key: &Bytes, changed: &Changed) {
        let expires_at_ms = |r: &Option<Record>| r.as_ref().map_or(0, |r| r.expires_at_ms);
        let (before, after) = (
            expires_at_ms(&changed.before),
            expires_at_ms(&changed.after),
        );
        if before == after {
            return;
        }
        if before > 0 {
            batch.own_keys.push((keys::expiry(before, key), None));
        }
        if after > 0 {
            let key = keys::expiry(after, key);
            batch.own_keys.push((key, Some(Bytes::new())));
            self.due.expires(after);
        }
    }

    /// Appends the frame, and begins the next.
    fn append(&mut self, now_ms: u64) -> Result<(), StoreError> {
        if self.frame.count() > 0 {
            self.appended_bytes += self.frame.len_bytes() as u64;
            (self.appender.append(&mut self.frame, now_ms))
                .map_err(|e| self.failed("append to the log", &e))?;
            self.frame.begin(self.appender.next_seq());
            self.due.sync.get_or_insert_with(|| {
                Instant::now() + Duration::from_millis(self.shared.config.log.applied_sync_ms)
            });
        }
        Ok(())
    }

    /// Makes a batch durable, as far as it asks for it, and readable.
    fn commit(&mut self, batch: Batch, now_ms: u64) -> Result<(), StoreError> {
        if let Some(error) = batch.failed {
            return Err(error);
        }
        self.append(now_ms)?;
        if batch.needs_sync {
            self.sync()?;
        }
        if batch.commits > 0 || !batch.own_keys.is_empty() {
            // Encoded before readers are locked out.
            let records = batch.pending.records.into_iter();
            let mut changes: Vec<_> = records.map(|(k, r)| (k, r.map(|r| r.encode()))).collect();
            changes.extend(batch.own_keys);
            let last_seq = self.appender.next_seq() - 1;
            let namespaces = batch.pending.namespaces;
            self.shared.view.publish(changes, namespaces, last_seq);
            self.publish_index(batch.indexed, batch.notices);
            Counters::add(&self.shared.counters.commits, batch.commits);
            self.due
                .freeze
                .get_or_insert_with(|| Instant::now() + FREEZE_AFTER);
        }
        self.tell_watches();
        Ok(())
    }

    fn publish_index(&self, indexed: Vec<(Bytes, Option<Record>)>, notices: Vec<Notice>) {
        if indexed.is_empty() {
            return;
        }
        let mut index = self.shared.index.write();
        for (key, after) in indexed {
            if let Err(error) = index.apply(&key, after.as_ref()) {
                self.shared.gate.fail(error);
            }
        }
        drop(index);
        for notice in notices {
            // Without a service nobody listens.
            let _ = self.shared.notices.send(notice);
        }
    }

    /// Watches hear of commits that are durable and readable. What a failed log has is neither for certain.
    fn tell_watches(&mut self) {
        if self.log_failed {
            self.untold.clear();
        } else if self.due.sync.is_none() {
            let commits = std::mem::take(&mut self.untold);
            self.shared
                .feed
                .publish(commits, self.appender.synced_seq());
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.due.sync.take().is_some() {
            self.appender
                .sync()
                .map_err(|e| self.failed("sync the log", &e))?;
            Counters::add(&self.shared.counters.syncs, 1);
            self.shared
                .synced_seq
                .store(self.appender.synced_seq(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// After a failed write or fsync nobody knows what is on disk: stop writing for good, never try again.
    fn failed(&mut self, what: &str, error: &std::io::Error) -> StoreError {
        self.log_failed = true;
        self.shared.gate.fail(format!(
            "cannot {what}: {error}; reads go on, mend the disk and restart the server"
        ));
        let mut error = StoreError::new(Reason::ReadOnly, self.shared.gate.reason());
        error.maybe_applied = true;
        error
    }

    fn answer(&self, waiting: Vec<Waiting>) {
        let view = self.shared.view.read();
        let revision = |waiting: &Waiting| match waiting {
            Waiting::Job { namespace, .. } => view.namespace(namespace).revision,
            Waiting::Session { .. } | Waiting::Audit { .. } => 0,
        };
        let revisions: Vec<_> = waiting.iter().map(revision).collect();
        drop(view);
        for (waiting, revision) in waiting.into_iter().zip(revisions) {
            match waiting {
                Waiting::Job { results, reply, .. } => reply(Answers { results, revision }),
                Waiting::Session { result, reply } => reply(result),
                Waiting::Audit { result, reply } => reply(result),
            }
        }
    }

    fn do_due(&mut self) {
        let now = Instant::now();
        if self.log_failed {
            // A store whose log failed does nothing more to it.
            self.due.sync = None;
        } else if self.due.sync.is_some_and(|due| due <= now) {
            if self.sync().is_err() {
                return;
            }
            self.tell_watches();
        }
        if self.due.expiry().is_some_and(|due_ms| due_ms <= now_ms()) {
            self.expire();
        }
        let view = &self.shared.view;
        let active_bytes = view.read().active_bytes();
        let overlay_bytes = self.shared.config.view.overlay_bytes;
        if active_bytes >= FREEZE_BYTES.min(overlay_bytes / FREEZE_PART)
            || self.due.freeze.is_some_and(|due| due <= now)
        {
            self.hand_over();
        }
        if active_bytes > overlay_bytes {
            self.wait_for_applier();
        }
        if self.due.housekeeping <= now {
            self.due.housekeeping = now + HOUSEKEEPING_EVERY;
            self.housekeeping();
        }
    }

    /// Hands what was published to the applier, unless it is busy. What is not synced yet must be first: the engine may
    /// never be ahead of the log.
    fn hand_over(&mut self) {
        self.due.freeze = Some(Instant::now() + FREEZE_AFTER);
        if self.shared.gate.has_failed() || self.applier.is_busy() || self.sync().is_err() {
            return;
        }
        self.tell_watches();
        match self.shared.view.freeze() {
            Some(frozen) => self.applier.start(frozen),
            None => self.due.freeze = None,
        }
    }

    /// Too much waits in memory for the engine: so writes wait too.
    fn wait_for_applier(&mut self) {
        while self.shared.view.read().active_bytes() > self.shared.config.view.overlay_bytes
            && !self.shared.gate.has_failed()
        {
            self.applier.wait();
            self.hand_over();
        }
    }

    /// Deletes what has expired, as ordinary commits, one per namespace.
    fn expire(&mut self) {
        let now_ms = self.clock.now_ms();
        if self.shared.gate.check().is_err() {
            self.due.expiry_ms = Some(now_ms + 1000);
            return;
        }
        let due = match expiry::due(&self.shared.view, now_ms) {
            Ok(due) => due,
            Err(error) => return self.shared.gate.fail(error.message),
        };
        self.due.expiry_ms = due.next_ms;
        // More are due than one commit takes: go on behind the writes that wait.
        let more = due.next_ms.is_some_and(|due_ms| due_ms <= now_ms);
        self.due.expire_from_ms = now_ms + if more { 0 } else { EXPIRE_EVERY_MS };
        let mut batch = Batch {
            needs_sync: true,
            own_keys: due.index_keys,
            ..Batch::default()
        };
        self.frame.begin(self.appender.next_seq());
        for (namespace, expired) in due.by_namespace {
            let source = Accepted {
                view: &self.shared.view,
                pending: &batch.pending,
            };
            let mut draft = Draft::new(&source, &namespace);
            let deleted: Result<Vec<_>, _> = expired.iter().map(|key| draft.delete(key)).collect();
            if let Err(error) = deleted {
                return self.shared.gate.fail(error.message);
            }
            let revision = draft.revision;
            let changes: Vec<_> = draft.into_changes().collect();
            Counters::add(&self.shared.counters.expired, changes.len());
            let origin = CommitOrigin {
                origin: Origin::Expiry,
                session: "",
                writer: None,
                once: &[],
            };
            self.accept(
                &mut batch,
                &namespace,
                revision,
                changes,
                &origin,
                &[],
                now_ms,
            );
        }
        // A failure has closed the gate, and nobody waits for an answer.
        let _ = self.commit(batch, now_ms);
    }

    fn housekeeping(&mut self) {
        let now_ms = self.clock.now_ms();
        self.dedup.forget_silent();
        self.shared.gate.set_disk(disk_is_full(&self.shared));
        let checkpoint = &self.shared.checkpoint;
        let is_due = self.appended_bytes >= self.checkpoint_at_bytes || checkpoint.wants_retry();
        if is_due && checkpoint.start(&self.shared) {
            self.checkpoint_at_bytes =
                self.appended_bytes + self.shared.config.log.checkpoint_bytes;
        }
        let config = &self.shared.config.log;
        let retention = log::retention::Retention {
            bytes: config.retention_bytes,
            older_than_ms: now_ms.saturating_sub(config.retention_secs.saturating_mul(1000)),
            keep_since_ms: now_ms.saturating_sub(self.dedup.window_ms()),
            checkpoint_seq: self.shared.checkpoint_seq.load(Ordering::Acquire),
            watched_seq: self.shared.feed.read_seq(),
        };
        match log::retention::trim(self.appender.segments(), &retention) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed old log segments"),
            Err(error) => tracing::warn!(%error, "cannot remove an old log segment"),
        }
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
                Command::Audit(job) => Waiting::Audit {
                    result: Ok(()),
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
}

/// Who made a commit.
struct CommitOrigin<'a> {
    origin: Origin,
    session: &'a str,
    writer: Option<&'a WriterKey>,
    once: &'a [u8],
}

fn log_change<'a>(key: &'a Bytes, changed: &'a Changed) -> Option<Change<'a>> {
    let (_, collection, key) = keys::split_record(key)?;
    Some(Change {
        collection,
        key,
        written: changed.after.as_ref().map(|record| record.to_log()),
    })
}

fn refuse(waiting: Vec<Waiting>, error: &StoreError) {
    for waiting in waiting {
        match waiting {
            Waiting::Job { results, reply, .. } => {
                let result = OpResult {
                    kind: Some(Kind::Error(error.clone())),
                };
                reply(Answers {
                    results: vec![result; results.len()],
                    revision: 0,
                });
            }
            Waiting::Session { reply, .. } => reply(Err(error.clone())),
            Waiting::Audit { reply, .. } => reply(Err(error.clone())),
        }
    }
}

/// Whether a refusal stands: the same write sent again must be refused again. A claim that waits is sent again and again.
fn is_final(reason: Reason, op: &Op) -> bool {
    match reason {
        Reason::VersionConflict
        | Reason::BoundViolation
        | Reason::Invalid
        | Reason::TooLarge
        | Reason::Fenced
        | Reason::SessionExpired => true,
        Reason::NotOwner => !matches!(op.kind, Some(op::Kind::Claim(_))),
        _ => false,
    }
}

fn check_size(changes: &[(Bytes, Changed)], reply: &[u8]) -> Result<(), StoreError> {
    let value_bytes = |(_, c): &(Bytes, Changed)| c.after.as_ref().map_or(0, |r| r.value.len());
    let bytes = changes.iter().map(value_bytes).sum::<usize>() + reply.len();
    if bytes > COMMIT_BYTES_MAX {
        let message = format!(
            "the transaction writes {bytes} bytes: the limit is {COMMIT_BYTES_MAX}; write fewer records at once"
        );
        return Err(StoreError::new(Reason::TooLarge, message));
    }
    Ok(())
}

/// About how many bytes a write keeps in memory while it waits.
pub fn item_bytes(item: &WriteItem) -> usize {
    item.op.encoded_len()
}

/// Why no writes may be taken: the log would soon be cut off in the middle of a write.
fn disk_is_full(shared: &Shared) -> Option<String> {
    let reserve = shared.config.log.disk_reserve_bytes;
    let stat = rustix::fs::statvfs(shared.dir.root()).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    (free < reserve).then(|| {
        format!(
            "the disk of {} has {free} bytes free, less than the reserve of {reserve} (log.disk_reserve_bytes): make \
             room, and writes go on by themselves",
            shared.dir.root().display()
        )
    })
}
