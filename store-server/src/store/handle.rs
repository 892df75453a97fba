//! The store as the rest of the program sees it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    thread::JoinHandle,
};

use crossbeam_channel::unbounded;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use stillpoint_proto::v1::{
    self, Durability, Op, OpResult, Reason, StoreError, op, op_result::Kind,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    applier::Applier,
    datadir::DataDir,
    feed::{Feed, Watch},
    found::{Found, Looked},
    give_back::GiveBack,
    index::{Index, Notice},
    keys,
    open::{self, OldView, OpenError, count_state_hash},
    own_record::OwnRecord,
    read::{self, PageLimits, engine_failed},
    record::Record,
    request::{Answers, Job, WriteItem},
    schema::{Lens, Schemas, Table},
    session::{Session, SessionChange},
    shared::{Counters, Gate, Queue, SessionJob, Shared},
    state_hash::StateHash,
    thread,
    validate::{self, Validator},
    view::{Namespace, Snapshot},
    writer::{Known, Writer, item_bytes},
};
use crate::{
    config::Config,
    log::{Appender, Segments},
};

/// An open store. Cheap to clone; [`close`](Store::close) it in the end.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) shared: Arc<Shared>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    noticed: Arc<Mutex<Option<UnboundedReceiver<Notice>>>>,
}

/// What a store contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Sequence number of the newest commit.
    pub seq: u64,
    /// The hash of all records.
    pub state_hash: StateHash,
    /// The namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
}

/// How a store is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Why it takes no writes; empty if it does.
    pub read_only_reason: String,
    /// Its namespaces, by name.
    pub namespaces: Vec<v1::NamespaceStatus>,
    /// Its log.
    pub log: v1::LogStatus,
    /// Its view.
    pub view: v1::ViewStatus,
    /// Its counters; without processor time.
    pub counters: v1::CounterStatus,
    /// Writes that wait for the writer.
    pub queued: u64,
    /// Sessions that are not over.
    pub sessions: u64,
    /// Records that are owned.
    pub claims: u64,
    /// Timers that are set.
    pub timers: u64,
}

impl Store {
    /// Opens the store in `config.data_dir`, making it if there is none, and recovers it.
    pub fn open(config: Config) -> Result<Store, OpenError> {
        let dir = DataDir::open_or_create(&config.data_dir)?;
        Store::open_in(dir, config)
    }

    /// Opens the store in a directory that is locked already; it is the one that `config` names.
    pub(crate) fn open_in(mut dir: DataDir, config: Config) -> Result<Store, OpenError> {
        let opened = open::open(&dir, &config, OldView::Use)?;
        let schemas = Arc::new(Table::load(&opened.view, &config)?);
        // Not before it is open: what this program cannot recover stays as the older one knows it.
        dir.raise_format()?;
        let store_id = dir.identity().store_id.into_bytes();
        let (log, segments) = (opened.log, config.log.segment_bytes);
        let appender = Appender::create(
            &dir.log(),
            store_id,
            segments,
            log.next_seq,
            log.previous_crc,
            log.segments.clone(),
        )
        .map_err(|source| OpenError::Io {
            path: dir.log(),
            source,
        })?;
        let (sender, queue) = unbounded();
        let (notices, noticed) = unbounded_channel();
        let index = open::build_index(&opened.view)?;
        let shared = Arc::new(Shared {
            index: RwLock::new(index),
            schemas: Schemas::new(schemas.clone()),
            notices,
            feed: Feed::new(log.next_seq - 1),
            validator: Validator::new(&config),
            view: opened.view,
            segments: log.segments,
            queue: Queue::new(sender, config.limits.queue_ops, config.limits.queue_bytes),
            gate: Gate::default(),
            counters: Counters::default(),
            synced_seq: AtomicU64::new(log.next_seq - 1),
            applied_seq: AtomicU64::new(opened.applied_seq),
            checkpoint_seq: AtomicU64::new(opened.checkpoint_seq),
            checkpoint: opened.checkpoint,
            config,
            dir,
        });
        let spawn_failed = |source| OpenError::Io {
            path: shared.dir.root().to_owned(),
            source,
        };
        let applier = Applier::start_thread(shared.clone()).map_err(spawn_failed)?;
        let known = Known {
            dedup: opened.dedup,
            index: opened.index,
            schemas,
        };
        let writer = Writer::new(shared.clone(), queue, appender, applier, known);
        let thread = thread::start("writer", || writer.run()).map_err(spawn_failed)?;
        Ok(Store {
            shared,
            writer: Arc::new(Mutex::new(Some(thread))),
            noticed: Arc::new(Mutex::new(Some(noticed))),
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The store's identity: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        self.shared.dir.identity().store_id.simple().to_string()
    }

    /// Where answers come from, but for the revision.
    pub fn header(&self) -> v1::ResponseHeader {
        let identity = self.shared.dir.identity();
        v1::ResponseHeader {
            store_id: bytes::Bytes::copy_from_slice(identity.store_id.as_bytes()),
            incarnation: identity.incarnation,
            revision: 0,
        }
    }

    /// Checks a request's context.
    pub fn check_context(&self, context: &v1::RequestContext) -> Result<(), StoreError> {
        self.shared.validator.namespace(&context.namespace)?;
        let incarnation = self.shared.dir.identity().incarnation;
        if ![0, incarnation].contains(&context.expected_incarnation) {
            let message = format!(
                "the store was restored: it is incarnation {incarnation}, the caller's knowledge is from {}; read again",
                context.expected_incarnation
            );
            return Err(StoreError::new(Reason::WrongIncarnation, message));
        }
        Ok(())
    }

    /// Checks an operation before it is read or submitted.
    pub fn check(&self, namespace: &str, op: &Op) -> Result<(), StoreError> {
        self.shared.validator.op(namespace, op)
    }

    /// Checks a value that is not to be stored: one sound MessagePack value within the bounds of stored ones.
    pub fn check_value(&self, value: &[u8]) -> Result<(), StoreError> {
        crate::value::check(value, self.shared.validator.values())
    }

    /// Checks the name that a write has.
    pub fn check_once(&self, key: &v1::OnceKey) -> Result<(), StoreError> {
        validate::once(key)
    }

    /// Reads, all from one revision. Hold the answer shortly: commits wait for it.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            store: self,
            snapshot: self.shared.view.read(),
            reads: 0,
        }
    }

    /// Hands validated writes to the writer. They may be refused at once, and are then answered like that.
    pub fn submit(&self, job: Job) {
        let bytes = job.items.iter().map(item_bytes).sum();
        // Whether writes are taken is the writer's to say: one that was answered before gets its answer all the same.
        let refused = self.shared.queue.push(job, bytes);
        if let Err((job, error)) = refused {
            let result = OpResult {
                kind: Some(Kind::Error(error)),
            };
            (job.reply)(Answers {
                results: vec![result; job.items.len()],
                revision: 0,
            });
        }
    }

    /// Changes a session; `reply` gets it as it is then, none if it is over, once that is durable. It is called on the
    /// writer's thread, so it must not block.
    pub fn change_session(
        &self,
        namespace: &str,
        change: SessionChange,
        reply: impl FnOnce(Result<Option<Session>, StoreError>) + Send + 'static,
    ) {
        self.shared.queue.push_session(SessionJob {
            namespace: namespace.into(),
            change,
            reply: Box::new(reply),
        });
    }

    /// Writes a record of the store's own.
    pub(super) fn write_own(&self, record: OwnRecord) {
        self.shared.queue.push_own(record);
    }

    /// Writes records for an operator.
    pub(super) fn submit_give_back(&self, given: GiveBack) {
        self.shared.queue.push_give_back(given);
    }

    /// Sessions, claims and timers. Hold it shortly: commits of them wait for it. Who needs a [`reader`](Self::reader)
    /// too takes that first: the other way round, two callers and two writers can wait for each other in a circle.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.shared.index.read()
    }

    /// Where changes of sessions, claims and timers are told, in order; for one listener, the first that asks.
    pub fn take_notices(&self) -> Option<UnboundedReceiver<Notice>> {
        self.noticed.lock().take()
    }

    /// The log's segments.
    pub(super) fn segments(&self) -> &Segments {
        &self.shared.segments
    }

    /// Where watches hear of commits.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// A watch that stands at what is readable now; [`seek`](Watch::seek) brings it where the request says.
    pub fn watch(&self, request: &v1::WatchRequest) -> Result<Watch, StoreError> {
        let context = request.context.clone().unwrap_or_default();
        self.check_context(&context)?;
        let (collection, key) = (request.collection.clone(), request.key.clone());
        let kind = match (collection.is_empty(), key.is_empty()) {
            (true, _) => None,
            (false, true) => Some(op::Kind::Scan(v1::ScanOp {
                collection,
                ..v1::ScanOp::default()
            })),
            (false, false) => Some(op::Kind::Get(v1::GetOp {
                key: Some(v1::RecordKey { collection, key }),
                with_claim: false,
                raw: false,
            })),
        };
        if kind.is_some() {
            self.check(&context.namespace, &Op { kind })?;
        }
        Watch::new(self.shared.clone(), request)
    }

    /// Does one operation and waits for its answer. For tests and tools; a server reads and submits.
    pub fn execute(&self, namespace: &str, op: Op) -> Result<Kind, StoreError> {
        self.shared.validator.namespace(namespace)?;
        self.check(namespace, &op)?;
        // The reader must be gone before a write is waited for: the writer waits for readers.
        let lens = self.lens(namespace, "");
        let found = self.reader().read(namespace, &op, lens.as_ref());
        let answered = match (found, &lens) {
            (Some(found), Some(lens)) => self.answer(namespace, lens, vec![(&op, found)]).pop(),
            (found, _) => found.and_then(Found::as_stored),
        };
        let result = match answered {
            Some(result) => result,
            None => {
                let (sender, receiver) = crossbeam_channel::bounded(1);
                self.submit(Job {
                    namespace: namespace.into(),
                    session: "".into(),
                    fence: 0,
                    items: vec![WriteItem {
                        op,
                        writer: None,
                        once: None,
                        durability: Durability::Unspecified,
                        deadline: None,
                    }],
                    reply: Box::new(move |answers| drop(sender.send(answers))),
                });
                let answered = receiver
                    .recv()
                    .ok()
                    .and_then(|mut answers| answers.results.pop());
                answered.ok_or_else(super::shared::stopped)?
            }
        };
        match result.kind {
            Some(Kind::Error(error)) => Err(error),
            Some(kind) => Ok(kind),
            None => Err(StoreError::new(Reason::Internal, "the answer is empty")),
        }
    }

    /// What the store contains, as of the newest commit that can be read.
    pub fn state(&self) -> State {
        let applied = self.shared.view.applied();
        State {
            seq: applied.seq,
            // It is counted before the store is open.
            state_hash: applied.state_hash.unwrap_or_default(),
            namespaces: applied.namespaces,
        }
    }

    /// The same, by reading every record. Nothing is committed meanwhile, so not for a store that is in use.
    pub fn counted_state(&self) -> Result<State, StoreError> {
        let snapshot = self.shared.view.read();
        let state_hash = count_state_hash(&snapshot).map_err(engine_failed)?;
        Ok(State {
            seq: snapshot.last_seq(),
            state_hash,
            namespaces: snapshot
                .namespaces()
                .map(|(name, ns)| (name.to_owned(), ns))
                .collect(),
        })
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let segments = shared.segments.snapshot();
        // In this order: see `index`.
        let snapshot = shared.view.read();
        let index = shared.index.read();
        let mut namespaces: Vec<_> = snapshot
            .namespaces()
            .map(|(name, ns)| v1::NamespaceStatus {
                namespace: name.into(),
                revision: ns.revision,
                records: ns.records,
            })
            .collect();
        namespaces.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        Status {
            read_only_reason: shared.gate.reason(),
            namespaces,
            log: v1::LogStatus {
                segments: segments.len() as u64,
                bytes: segments.iter().map(|s| s.bytes).sum(),
                first_seq: segments.first().map_or(1, |s| s.first_seq),
                last_seq: snapshot.last_seq(),
                synced_seq: load(&shared.synced_seq),
                checkpoint_seq: load(&shared.checkpoint_seq),
            },
            view: v1::ViewStatus {
                engine: shared.view.engine().name().into(),
                applied_seq: load(&shared.applied_seq),
                overlay_records: snapshot.overlay_records() as u64,
                bytes: shared.view.engine().size_bytes(),
            },
            counters: v1::CounterStatus {
                reads: load(&shared.counters.reads),
                commits: load(&shared.counters.commits),
                syncs: load(&shared.counters.syncs),
                conflicts: load(&shared.counters.conflicts),
                repeats: load(&shared.counters.repeats),
                expired: load(&shared.counters.expired),
                cpu_us: 0,
            },
            queued: shared.queue.len() as u64,
            sessions: index.session_count() as u64,
            claims: index.claim_count() as u64,
            timers: index.timer_count() as u64,
        }
    }

    /// Does what was submitted, brings everything to disk, and stops. Blocks. The data directory is free once the last
    /// clone of the store is dropped, too.
    pub fn close(&self) {
        self.shared.queue.stop();
        if let Some(thread) = self.writer.lock().take() {
            // It cannot have panicked: that would have ended the process.
            let _ = thread.join();
        }
        self.shared.checkpoint.stop();
    }
}

/// Reads from one revision.
pub struct Reader<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
    reads: usize,
}

impl Reader<'_> {
    /// Reads for a validated operation that only reads; `None`: it may write, so submit it. Without a lens this is the answer
    /// ([`Found::as_stored`]); with one, [`Store::answer`] makes it, once the reader is gone.
    pub fn read(&mut self, namespace: &str, op: &Op, lens: Option<&Lens>) -> Option<Found> {
        let limits = &self.store.config().limits;
        let page = PageLimits {
            records: limits.scan_page,
            bytes: limits.answer_bytes(),
        };
        let kind = op.kind.as_ref()?;
        let mut result = match kind {
            op::Kind::Txn(txn) if Self::answers(txn) => {
                self.reads += 1;
                return Some(match lens {
                    None => {
                        Found::Answer(self.store.answer_txn(namespace, &self.snapshot, op, None))
                    }
                    Some(_) => Found::Txn(Looked::new(&self.snapshot, namespace, txn, page.bytes)),
                });
            }
            kind => read::read(&self.snapshot, namespace, kind, page)?,
        };
        if let (op::Kind::Get(get), Some(Kind::Get(found))) = (kind, &mut result.kind)
            && get.with_claim
        {
            found.claim = self.claim(namespace, get.key.as_ref());
        }
        self.reads += 1;
        Some(Found::Answer(result))
    }

    /// Whether a transaction writes nothing, so that [`read`](Self::read) answers it.
    pub fn answers(txn: &v1::TxnOp) -> bool {
        let mut ops = txn.then.iter().chain(&txn.otherwise);
        ops.all(|op| matches!(op.kind, Some(op::Kind::Get(_))))
    }

    /// The newest revision of a namespace.
    pub fn revision(&self, namespace: &str) -> u64 {
        self.snapshot.namespace(namespace).revision
    }

    /// A record by its key in the view, one of the store's own, too: a timer, a cursor.
    pub fn record(&self, view_key: &[u8]) -> Result<Option<Record>, StoreError> {
        let stored = self.snapshot.get(view_key).map_err(read::engine_failed)?;
        stored.map(|bytes| read::decode(&bytes)).transpose()
    }

    /// What is read.
    pub(super) fn snapshot(&self) -> &Snapshot<'_> {
        &self.snapshot
    }

    fn claim(&self, namespace: &str, key: Option<&v1::RecordKey>) -> Option<v1::Claim> {
        let key = key.map(|key| keys::record(namespace, &key.collection, &key.key))?;
        self.store.index().owner(namespace, &key)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        Counters::add(&self.store.shared.counters.reads, self.reads);
    }
}
