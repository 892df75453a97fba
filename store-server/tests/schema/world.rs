//! A store with its services in this process, and callers that speak different versions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use stillpoint_migrations::Source;
use stillpoint_proto::v1::{
    BatchGetOp, ClaimOp, GetOp, Op, PatchOp, PatchStep, Path, PathSegment, PipelineItem,
    PipelineOpen, PipelineRequest, PipelineResponse, PutOp, Reason, Record, RecordKey, ReleaseOp,
    RequestContext, ScanOp, SetStep, StoreError, TxnOp, WatchRequest, op, op_result::Kind as Done,
    patch_step, path_segment::Segment, state_service_client::StateServiceClient,
    state_service_server::StateServiceServer, watch_response,
};
use stillpoint_store_server::{
    config::{Config, EngineKind, LogConfig, ViewConfig},
    service::{
        Gauges,
        history::Histories,
        session::hub::Hub,
        state::StateApi,
        watch::{WatchApi, stream::WatchStream},
    },
    store::{
        Store,
        keys::System,
        schema::{
            SchemaCommit, SchemaCommitted,
            state::{self, Phase, SchemaState, StoredScript},
        },
        session::{Open, Session, SessionChange},
    },
};
use tempfile::TempDir;
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Server},
};

/// The namespace of most tests.
pub const NAMESPACE: &str = "game";

/// The collection of all tests.
pub const COLLECTION: &str = "player";

/// A test that waits longer for anything has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A document: fields with numbers.
pub type Doc = BTreeMap<String, i64>;

/// A store with its services.
pub struct World {
    pub store: Store,
    pub config: Config,
    watches: WatchApi,
    channel: Channel,
    stop: watch::Sender<bool>,
    dir: Arc<TempDir>,
    socket: u64,
}

impl World {
    /// A new store.
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> World {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config {
            data_dir: dir.path().join("data"),
            log: LogConfig {
                disk_reserve_bytes: 0,
                ..LogConfig::default()
            },
            view: ViewConfig {
                engine: EngineKind::Sled,
                cache_bytes: 4 << 20,
                ..ViewConfig::default()
            },
            ..Config::default()
        };
        change(&mut config);
        World::open(config, dir, 0).await
    }

    async fn open(config: Config, dir: Arc<TempDir>, socket: u64) -> World {
        let store = Store::open(config.clone()).unwrap();
        let gauges = Arc::new(Gauges::default());
        let (stop, stopping) = watch::channel(false);
        let api = StateApi {
            store: store.clone(),
            stopping: stopping.clone(),
            gauges: gauges.clone(),
            hub: Hub::new(store.clone()),
            histories: Histories::new(store.clone()),
        };
        let path = dir.path().join(format!("{socket}.sock"));
        let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let mut stopped = stopping.clone();
        tokio::spawn(async move {
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            let services = Server::builder().add_service(StateServiceServer::new(api));
            let served = services.serve_with_incoming_shutdown(listener, until).await;
            served.unwrap();
        });
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
        World {
            watches: WatchApi::new(store.clone(), stopping, gauges),
            channel: endpoint.connect().await.unwrap(),
            store,
            config,
            stop,
            dir,
            socket,
        }
    }

    /// Stops it, does something to the data directory, and opens it again.
    pub async fn reopen(self, between: impl FnOnce(&std::path::Path)) -> World {
        let World {
            store,
            config,
            watches,
            channel,
            stop,
            dir,
            socket,
        } = self;
        stop.send_replace(true);
        drop((watches, channel));
        store.close();
        // The services let go of it one by one, and of the directory's lock with it.
        let is_free = async {
            drop(store);
            while std::fs::File::open(config.data_dir.join("lock"))
                .is_ok_and(|lock| lock.try_lock().is_err())
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, is_free).await.expect("it is let go of");
        between(&config.data_dir);
        World::open(config, dir, socket + 1).await
    }

    /// Publishes scripts: each with its namespace, number and text.
    pub fn publish(&self, scripts: impl IntoIterator<Item = (&'static str, u32, String)>) {
        for (namespace, number, text) in scripts {
            let source = Source::new(namespace, COLLECTION, number, "step", text);
            let script = state::encode(&StoredScript::new(&source, 1, "the tests"));
            let name = state::script_name(COLLECTION, number);
            self.commit(SchemaCommit {
                namespace: namespace.into(),
                own: vec![(System::Script, name, Some(script))],
                ..SchemaCommit::default()
            })
            .unwrap();
        }
    }

    /// Takes the collection to a version.
    pub fn apply(&self, namespace: &str, version: u32) -> SchemaCommitted {
        let before = self.revision_of_state(namespace);
        self.commit(setting(namespace, version, before)).unwrap()
    }

    /// The revision of the state of a namespace; 0: there is none.
    pub fn revision_of_state(&self, namespace: &str) -> u64 {
        let table = self.store.schemas();
        table.state(namespace, COLLECTION).map_or(0, |s| s.revision)
    }

    /// Makes a commit of the schemas.
    pub fn commit(&self, commit: SchemaCommit) -> Result<SchemaCommitted, StoreError> {
        self.store.commit_schema(commit)
    }

    /// Opens a session that declares a version, or not.
    pub async fn session(
        &self,
        instance: &str,
        declares: Option<u32>,
    ) -> Result<Session, StoreError> {
        self.session_after(instance, declares, 0).await
    }

    /// The same, if the fence of its holder is this.
    pub async fn session_after(
        &self,
        instance: &str,
        declares: Option<u32>,
        expected_fence: u64,
    ) -> Result<Session, StoreError> {
        let declared = declares.map(|version| (COLLECTION.to_owned(), version));
        let open = SessionChange::Open(Open {
            service: "battle".into(),
            instance: instance.into(),
            expected_fence,
            ttl_ms: 60_000,
            schemas: declared.into_iter().collect(),
            ..Open::default()
        });
        Ok(self.change(open).await?.expect("it is open"))
    }

    /// Changes a session.
    pub async fn change(&self, change: SessionChange) -> Result<Option<Session>, StoreError> {
        let (told, answer) = tokio::sync::oneshot::channel();
        let reply = move |result| drop(told.send(result));
        self.store.change_session(NAMESPACE, change, reply);
        answer.await.unwrap()
    }

    /// A caller without a session.
    pub async fn anybody(&self) -> Caller {
        self.caller(NAMESPACE, "", 0).await
    }

    /// The holder of a session.
    pub async fn holder(&self, session: &Session) -> Caller {
        self.caller(NAMESPACE, &session.id, session.fence).await
    }

    /// A caller of a namespace.
    pub async fn caller(&self, namespace: &str, session: &str, fence: u64) -> Caller {
        let context = RequestContext {
            namespace: namespace.into(),
            session_id: session.into(),
            fence,
            ..RequestContext::default()
        };
        let (to, frames) = mpsc::channel(16);
        let open = PipelineOpen {
            context: Some(context.clone()),
            client_name: "test".into(),
        };
        let first = PipelineRequest {
            open: Some(open),
            items: Vec::new(),
        };
        to.send(first).await.unwrap();
        let mut client = StateServiceClient::new(self.channel.clone());
        let opened = client.pipeline(ReceiverStream::new(frames)).await.unwrap();
        Caller {
            context,
            client,
            to,
            from: opened.into_inner(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Begins a watch of the collection.
    pub async fn watch(&self, caller: &Caller, snapshot: bool) -> Watcher {
        let request = WatchRequest {
            context: Some(caller.context.clone()),
            collection: COLLECTION.into(),
            snapshot,
            ..WatchRequest::default()
        };
        Watcher {
            stream: self.watches.begin(request).await.unwrap(),
        }
    }

    /// A record as it is stored: its version and its fields.
    pub fn stored(&self, name: &str) -> (u32, Doc) {
        let key =
            stillpoint_store_server::store::keys::record(NAMESPACE, COLLECTION, name.as_bytes());
        let record = self.store.reader().record(&key).unwrap();
        let record = record.unwrap_or_else(|| panic!("there is no {name}"));
        (record.schema, decode(&record.value))
    }

    /// The namespace's revision.
    pub fn revision(&self) -> u64 {
        self.store.reader().revision(NAMESPACE)
    }
}

/// The commit that takes the collection to a version, if its state is at this revision.
pub fn setting(namespace: &str, version: u32, seen_rev: u64) -> SchemaCommit {
    let state = SchemaState {
        version,
        phase: Phase::Rewriting,
        ..SchemaState::default()
    };
    SchemaCommit {
        namespace: namespace.into(),
        state: Some((COLLECTION.into(), seen_rev)),
        own: vec![(
            System::Schema,
            COLLECTION.into(),
            Some(state::encode(&state)),
        )],
        ..SchemaCommit::default()
    }
}

/// One at the other end of a Pipeline.
pub struct Caller {
    pub context: RequestContext,
    client: StateServiceClient<Channel>,
    to: mpsc::Sender<PipelineRequest>,
    from: Streaming<PipelineResponse>,
    next_id: AtomicU64,
}

impl Caller {
    /// Does one operation.
    pub async fn call(&mut self, kind: op::Kind) -> Result<Done, StoreError> {
        let item = PipelineItem {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            op: Some(Op { kind: Some(kind) }),
            ..PipelineItem::default()
        };
        let frame = PipelineRequest {
            open: None,
            items: vec![item],
        };
        self.to.send(frame).await.unwrap();
        loop {
            let frame = timeout(PATIENCE, self.from.message()).await;
            let frame = frame.expect("an answer").unwrap().unwrap();
            if let Some(answer) = frame.results.into_iter().next() {
                return match answer.result.unwrap().kind.unwrap() {
                    Done::Error(error) => Err(error),
                    kind => Ok(kind),
                };
            }
        }
    }

    /// Puts a document.
    pub async fn put(&mut self, name: &str, doc: &Doc) -> Result<Done, StoreError> {
        self.call(putting(name, encode(doc))).await
    }

    /// Sets a field of a document; gives the record as it is told back.
    pub async fn set(&mut self, name: &str, field: &str, value: i64) -> Result<Record, StoreError> {
        let step = SetStep {
            path: Some(path(field)),
            value: encode_number(value),
        };
        let patch = PatchOp {
            key: Some(key(name)),
            steps: vec![PatchStep {
                kind: Some(patch_step::Kind::Set(step)),
            }],
            return_record: true,
            ..PatchOp::default()
        };
        match self.call(op::Kind::Patch(patch)).await? {
            Done::Patch(patched) => Ok(patched.record.expect("it was asked for")),
            other => panic!("not the answer to a patch: {other:?}"),
        }
    }

    /// Reads a record in each way that there is, on the Pipeline and as a call of its own: all give the same.
    pub async fn read(&mut self, name: &str) -> Result<Option<Record>, StoreError> {
        let get = GetOp {
            key: Some(key(name)),
            ..GetOp::default()
        };
        let found = match self.call(op::Kind::Get(get.clone())).await {
            Ok(Done::Get(found)) => Ok(found.record),
            Err(error) => Err(error),
            other => panic!("not the answer to a get: {other:?}"),
        };
        let unary = stillpoint_proto::v1::GetRequest {
            context: Some(self.context.clone()),
            op: Some(get.clone()),
        };
        let alone = self.client.get(unary).await;
        let alone = alone
            .map(|answer| answer.into_inner().result.unwrap().record)
            .map_err(|status| StoreError::from_status(&status));
        assert_eq!(alone, found, "the call");
        let batch = BatchGetOp {
            keys: vec![key(name)],
            raw: false,
        };
        let batched = match self.call(op::Kind::BatchGet(batch)).await {
            Ok(Done::BatchGet(mut found)) => Ok(found.results.remove(0).record),
            Err(error) => Err(error),
            other => panic!("not the answer to a batch: {other:?}"),
        };
        assert_eq!(batched, found, "the batch");
        let txn = TxnOp {
            then: vec![Op {
                kind: Some(op::Kind::Get(get)),
            }],
            ..TxnOp::default()
        };
        let in_txn = match self.call(op::Kind::Txn(txn)).await {
            Ok(Done::Txn(mut done)) => match done.results.remove(0).kind {
                Some(Done::Get(found)) => Ok(found.record),
                other => panic!("not the answer to a get: {other:?}"),
            },
            Err(error) => Err(error),
            other => panic!("not the answer to a transaction: {other:?}"),
        };
        assert_eq!(in_txn, found, "the transaction");
        let scanned = match self.scan().await {
            Ok(entries) => entries.into_iter().find(|(key, _)| key == name),
            // Nobody knows the caller's version.
            Err(error) => {
                assert_eq!(found, Err(error), "the scan");
                return found;
            }
        };
        match &found {
            Ok(found) => assert_eq!(scanned.map(|(_, record)| record), *found, "the scan"),
            Err(error) => {
                let (_, record) = scanned.expect("a scan goes on");
                assert_eq!(record.unreadable, error.message);
                assert!(record.value.is_empty());
            }
        }
        found
    }

    /// Reads all records of the collection.
    async fn scan(&mut self) -> Result<Vec<(String, Record)>, StoreError> {
        let scan = ScanOp {
            collection: COLLECTION.into(),
            ..ScanOp::default()
        };
        match self.call(op::Kind::Scan(scan)).await? {
            Done::Scan(page) => {
                assert!(!page.more);
                let entries = page.entries.into_iter();
                let name = |key: Bytes| String::from_utf8(key.to_vec()).unwrap();
                Ok(entries
                    .map(|entry| (name(entry.key), entry.record.unwrap()))
                    .collect())
            }
            other => panic!("not the answer to a scan: {other:?}"),
        }
    }

    /// Claims a record, with its document.
    pub async fn claim(&mut self, name: &str, load: bool) -> Result<Option<Record>, StoreError> {
        let claim = ClaimOp {
            key: Some(key(name)),
            load,
            ..ClaimOp::default()
        };
        match self.call(op::Kind::Claim(claim)).await? {
            Done::Claim(claimed) => Ok(claimed.record),
            other => panic!("not the answer to a claim: {other:?}"),
        }
    }

    /// Lets go of a record.
    pub async fn release(&mut self, name: &str) {
        let release = ReleaseOp {
            key: Some(key(name)),
        };
        self.call(op::Kind::Release(release)).await.unwrap();
    }
}

/// One who watches.
pub struct Watcher {
    stream: WatchStream,
}

impl Watcher {
    /// What is told up to a revision: each record with the revision of the commit and the kind of event; 0: it is of the
    /// state.
    pub async fn until(
        &mut self,
        revision: u64,
    ) -> Vec<(
        u64,
        stillpoint_proto::v1::WatchEventType,
        String,
        Option<Record>,
    )> {
        let mut told = Vec::new();
        loop {
            let message = timeout(PATIENCE, self.stream.next()).await;
            let message = message.expect("a message in time").unwrap().unwrap();
            let reached = message.header.unwrap().revision;
            let mut take = |revision, events: Vec<stillpoint_proto::v1::WatchEvent>| {
                for event in events {
                    let kind = event.r#type();
                    let name = String::from_utf8(event.key.unwrap().key.to_vec()).unwrap();
                    told.push((revision, kind, name, event.record));
                }
            };
            let is_state = match message.kind.unwrap() {
                watch_response::Kind::Commits(told) => {
                    for commit in told.commits {
                        take(commit.revision, commit.events);
                    }
                    false
                }
                watch_response::Kind::ResyncData(data) => {
                    take(0, data.events);
                    true
                }
                watch_response::Kind::ResyncBegin(_) => true,
                _ => false,
            };
            if reached >= revision && !is_state && !message.position.is_empty() {
                return told;
            }
        }
    }
}

/// A record's name.
pub fn key(name: &str) -> RecordKey {
    RecordKey {
        collection: COLLECTION.into(),
        key: Bytes::copy_from_slice(name.as_bytes()),
    }
}

/// Puts a value.
pub fn putting(name: &str, value: Bytes) -> op::Kind {
    op::Kind::Put(PutOp {
        key: Some(key(name)),
        value,
        ..PutOp::default()
    })
}

/// The place of a field.
pub fn path(field: &str) -> Path {
    Path {
        segments: vec![PathSegment {
            segment: Some(Segment::Field(field.into())),
        }],
    }
}

/// A document from its fields.
pub fn doc<const N: usize>(fields: [(&str, i64); N]) -> Doc {
    fields.map(|(field, n)| (field.to_owned(), n)).into()
}

/// A document's bytes.
pub fn encode(doc: &Doc) -> Bytes {
    let fields = doc
        .iter()
        .map(|(field, n)| ((&**field).into(), (*n).into()));
    bytes_of(&rmpv::Value::Map(fields.collect()))
}

/// A number's bytes.
pub fn encode_number(n: i64) -> Bytes {
    bytes_of(&n.into())
}

fn bytes_of(value: &rmpv::Value) -> Bytes {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).unwrap();
    out.into()
}

/// Reads a document.
pub fn decode(mut bytes: &[u8]) -> Doc {
    let value = rmpv::decode::read_value(&mut bytes).unwrap();
    let fields = value.as_map().expect("a document is a map").iter();
    fields
        .map(|(field, n)| (field.as_str().unwrap().to_owned(), n.as_i64().unwrap()))
        .collect()
}

/// Version and fields of a record that is there.
#[track_caller]
pub fn seen(record: Result<Option<Record>, StoreError>) -> (u32, Doc) {
    let record = record.expect("it is readable").expect("it is there");
    assert_eq!(record.unreadable, "");
    (record.schema, decode(&record.value))
}

/// Checks why something was refused, and that the message says so much.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(
    answer: Result<T, StoreError>,
    reason: Reason,
    parts: &[&str],
) -> StoreError {
    let error = answer.expect_err("it is refused");
    assert_eq!(error.reason(), reason, "{error}");
    for part in parts {
        assert!(error.message.contains(part), "{part:?} is not in: {error}");
    }
    error
}
