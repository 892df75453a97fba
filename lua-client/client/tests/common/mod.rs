//! A small store for the tests: a map in memory behind `StateService.Pipeline`, which answers repeats from a table and
//! can be told to fail at any point; sessions; and watches that the test itself tells what happened.

#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::result_large_err)] // As in the client.

pub mod sessions;
mod watched;
pub mod watches;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::Path,
    pin::Pin,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use stillpoint_client::{CallOptions, Client, Config, SessionConfig, v1};
use stillpoint_proto::v1::{
    op::Kind, op_result, session_service_server::SessionServiceServer,
    state_service_server as server, state_service_server::StateServiceServer,
    watch_service_server::WatchServiceServer,
};
use tokio::{net::UnixListener, sync::mpsc, sync::watch};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

pub use self::watched::LONG;
use self::{sessions::Sessions, watches::Watches};

/// Where a connection is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Before the Pipeline is opened.
    Opening,
    /// After a frame was read, before anything of it is done.
    BeforeApplying,
    /// After all of it was done, before any answer.
    BeforeAnswering,
    /// After half of it was answered.
    HalfAnswered,
    /// After all of it was answered.
    Answered,
}

/// What the store has, and how it behaves.
#[derive(Default)]
pub struct Store {
    inner: Mutex<Inner>,
    changed: Condvar,
    pub sessions: Sessions,
    pub watches: Watches,
}

struct Inner {
    records: BTreeMap<Vec<u8>, (bytes::Bytes, u64)>,
    revision: u64,
    answers: HashMap<(bytes::Bytes, u64), op_result::Kind>,
    /// Items of each frame received, from all connections.
    frames: Vec<Vec<v1::PipelineItem>>,
    openings: Vec<v1::PipelineOpen>,
    /// Connections that were opened and are over.
    gone: usize,
    /// Most items that were unanswered at once.
    in_flight_max: usize,
    /// One per connection to come; then none.
    faults: VecDeque<Fault>,
    /// Items refused as RATE_LIMITED before any is done.
    refusals: usize,
    /// Every answer is sent twice, with one of an unknown operation.
    repeats_answers: bool,
    limits: v1::PipelineOpened,
    incarnation: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            records: BTreeMap::new(),
            revision: 0,
            answers: HashMap::new(),
            frames: Vec::new(),
            openings: Vec::new(),
            gone: 0,
            in_flight_max: 0,
            faults: VecDeque::new(),
            refusals: 0,
            repeats_answers: false,
            limits: v1::PipelineOpened {
                server_version: "test".into(),
                max_in_flight: 4096,
                max_message_bytes: 1024 * 1024,
                dedup_window_ms: 600_000,
                ..Default::default()
            },
            incarnation: 1,
        }
    }
}

impl Store {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let out = change(&mut self.inner.lock().unwrap());
        self.changed.notify_all();
        out
    }

    pub fn limit(&self, change: impl FnOnce(&mut v1::PipelineOpened)) {
        self.with(|inner| change(&mut inner.limits));
    }

    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.with(|inner| inner.faults.extend(faults));
    }

    pub fn refuse(&self, items: usize) {
        self.with(|inner| inner.refusals = items);
    }

    pub fn repeat_answers(&self) {
        self.with(|inner| inner.repeats_answers = true);
    }

    pub fn restored(&self) {
        self.with(|inner| inner.incarnation += 1);
    }

    pub fn frames(&self) -> Vec<Vec<v1::PipelineItem>> {
        self.with(|inner| inner.frames.clone())
    }

    pub fn items(&self) -> Vec<v1::PipelineItem> {
        self.frames().concat()
    }

    pub fn openings(&self) -> Vec<v1::PipelineOpen> {
        self.with(|inner| inner.openings.clone())
    }

    pub fn in_flight_max(&self) -> usize {
        self.with(|inner| inner.in_flight_max)
    }

    /// How many writes were applied, each counted as often as it was.
    pub fn revision(&self) -> u64 {
        self.with(|inner| inner.revision)
    }

    fn header(&self) -> v1::ResponseHeader {
        self.with(|inner| header(inner))
    }

    /// Waits until as many items have arrived.
    pub fn await_items(&self, count: usize) {
        self.wait_until("the items", |inner| {
            inner.frames.iter().map(Vec::len).sum::<usize>() >= count
        });
    }

    /// Waits until as many connections are over.
    pub fn await_gone(&self, count: usize) {
        self.wait_until("the end of a connection", |inner| inner.gone >= count);
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&Inner) -> bool) {
        let inner = self.inner.lock().unwrap();
        let (_inner, waited) = self
            .changed
            .wait_timeout_while(inner, Duration::from_secs(20), |inner| !is_there(inner))
            .unwrap();
        assert!(!waited.timed_out(), "{what} never came");
    }
}

impl Inner {
    fn do_item(&mut self, writer: &bytes::Bytes, item: &v1::PipelineItem) -> op_result::Kind {
        if self.refusals > 0 {
            self.refusals -= 1;
            return op_result::Kind::Error(v1::StoreError::new(
                v1::Reason::RateLimited,
                "the writer's queue is full",
            ));
        }
        let number = (writer.clone(), item.sequence);
        if item.sequence > 0
            && let Some(answer) = self.answers.get(&number)
        {
            return answer.clone();
        }
        let answer = self.apply(item.op.as_ref().and_then(|op| op.kind.as_ref()));
        if item.sequence > 0 {
            self.answers.insert(number, answer.clone());
        }
        answer
    }

    fn apply(&mut self, op: Option<&Kind>) -> op_result::Kind {
        match op {
            Some(Kind::Put(put)) => {
                self.revision += 1;
                let key = put.key.clone().unwrap_or_default().key.to_vec();
                self.records.insert(key, (put.value.clone(), self.revision));
                op_result::Kind::Put(v1::PutResult {
                    mod_rev: self.revision,
                    version: 1,
                })
            }
            Some(Kind::Get(get)) => {
                let key = get.key.clone().unwrap_or_default().key;
                let record = self.records.get(&*key).map(|(value, rev)| v1::Record {
                    value: value.clone(),
                    mod_rev: *rev,
                    ..Default::default()
                });
                op_result::Kind::Get(v1::GetResult {
                    record,
                    claim: None,
                })
            }
            _ => op_result::Kind::Error(v1::StoreError::new(
                v1::Reason::Invalid,
                "the test's store knows get and put only",
            )),
        }
    }
}

/// A listening server. Dropping it breaks all of its connections.
pub struct Server {
    pub endpoint: String,
    pub store: Arc<Store>,
    /// While false, requests are read but nothing is done.
    gate: watch::Sender<bool>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Listens on a socket of this name in the directory.
    pub fn start(dir: &Path, name: &str, store: &Arc<Store>) -> Server {
        let path = dir.join(name);
        let _ = std::fs::remove_file(&path);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (gate, open) = watch::channel(true);
        let service = StateServiceServer::new(Service {
            store: store.clone(),
            open,
        });
        let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(SessionServiceServer::new(sessions::Service(store.clone())))
                .add_service(WatchServiceServer::new(watches::Service(store.clone())))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Server {
            endpoint: format!("unix:{}", path.display()),
            store: store.clone(),
            gate,
            runtime: Some(runtime),
        }
    }

    pub fn config(&self) -> Config {
        Config {
            // Long enough for the slowest machine; what is tested is never how long something takes.
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(20),
            ..Config::new(&self.endpoint, "world1")
        }
    }

    /// With a session.
    pub fn session_config(&self) -> Config {
        Config {
            session: Some(SessionConfig::new("battle", "battle-3")),
            client_name: "lua".into(),
            ..self.config()
        }
    }

    pub fn connect_session(&self) -> Client {
        Client::connect(self.session_config()).unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.config()).unwrap()
    }

    /// From now on requests are read, but nothing is done.
    pub fn hold(&self) {
        self.gate.send_replace(false);
    }

    /// Goes on.
    pub fn release(&self) {
        self.gate.send_replace(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

struct Service {
    store: Arc<Store>,
    open: watch::Receiver<bool>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::PipelineResponse, Status>> + Send>>;

#[tonic::async_trait]
impl server::StateService for Service {
    type PipelineStream = Frames;
    type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanResponse, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<v1::PipelineRequest>>,
    ) -> Result<Response<Frames>, Status> {
        let (answers, frames) = mpsc::channel(16);
        let (store, open) = (self.store.clone(), self.open.clone());
        let fault = store.with(|inner| inner.faults.pop_front());
        if fault == Some(Fault::Opening) {
            return Err(Status::unavailable("broken on purpose"));
        }
        let requests = request.into_inner();
        tokio::spawn(async move {
            if let Err(broken) = serve(&store, requests, open, fault, &answers).await {
                let _ = answers.send(Err(broken)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn batch_get(
        &self,
        _: Request<v1::BatchGetRequest>,
    ) -> Result<Response<v1::BatchGetResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn put(&self, _: Request<v1::PutRequest>) -> Result<Response<v1::PutResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn patch(
        &self,
        _: Request<v1::PatchRequest>,
    ) -> Result<Response<v1::PatchResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn txn(&self, _: Request<v1::TxnRequest>) -> Result<Response<v1::TxnResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn list_collections(
        &self,
        _: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        Err(Status::unimplemented("not in the test"))
    }

    async fn scan(
        &self,
        _: Request<v1::ScanRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("not in the test"))
    }
}

/// One connection. An error is sent to the client, which ends it.
async fn serve(
    store: &Store,
    mut requests: Streaming<v1::PipelineRequest>,
    mut open: watch::Receiver<bool>,
    fault: Option<Fault>,
    answers: &mpsc::Sender<Result<v1::PipelineResponse, Status>>,
) -> Result<(), Status> {
    let broken = |at| match fault {
        Some(fault) if fault == at => Err(Status::unavailable("broken on purpose")),
        _ => Ok(()),
    };
    let Some(Ok(first)) = requests.next().await else {
        return Ok(());
    };
    let opening = first.open.expect("the first frame opens");
    let context = opening.context.clone().unwrap_or_default();
    let writer = context.idempotency_key.unwrap_or_default().writer_id;
    if context.namespace == "forbidden" {
        return Err(
            v1::StoreError::new(v1::Reason::Invalid, "no such namespace: forbidden").to_status(),
        );
    }
    let opened = store.with(|inner| {
        inner.openings.push(opening);
        response(inner, Some(inner.limits.clone()), Vec::new())
    });
    let _ = answers.send(Ok(opened)).await;
    let _gone = Gone(store);
    let mut held = Vec::new();
    loop {
        let is_open = *open.borrow_and_update();
        if is_open && !held.is_empty() {
            broken(Fault::BeforeApplying)?;
            let items = std::mem::take(&mut held);
            let results = store.with(|inner| do_items(inner, &writer, &items));
            broken(Fault::BeforeAnswering)?;
            let half = results.len() / 2;
            let _ = answers.send(Ok(answer(store, &results[..half]))).await;
            broken(Fault::HalfAnswered)?;
            let _ = answers.send(Ok(answer(store, &results[half..]))).await;
            broken(Fault::Answered)?;
        }
        tokio::select! {
            Ok(()) = open.changed() => {}
            request = requests.next() => {
                let Some(Ok(request)) = request else { return Ok(()) };
                assert!(request.open.is_none(), "opened twice");
                held.extend(request.items.iter().cloned());
                store.with(|inner| {
                    inner.in_flight_max = inner.in_flight_max.max(held.len());
                    inner.frames.push(request.items);
                });
            }
        }
    }
}

/// Counts the connections that are over.
struct Gone<'a>(&'a Store);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.with(|inner| inner.gone += 1);
    }
}

fn do_items(
    inner: &mut Inner,
    writer: &bytes::Bytes,
    items: &[v1::PipelineItem],
) -> Vec<v1::PipelineResult> {
    let mut results = Vec::new();
    for item in items {
        let kind = Some(inner.do_item(writer, item));
        results.push(v1::PipelineResult {
            id: item.id,
            result: Some(v1::OpResult { kind }),
        });
    }
    results
}

fn answer(store: &Store, results: &[v1::PipelineResult]) -> v1::PipelineResponse {
    store.with(|inner| {
        let mut results = results.to_vec();
        if inner.repeats_answers {
            results.extend(results.clone());
            results.push(v1::PipelineResult {
                id: u64::MAX,
                result: None,
            });
        }
        response(inner, None, results)
    })
}

fn response(
    inner: &Inner,
    opened: Option<v1::PipelineOpened>,
    results: Vec<v1::PipelineResult>,
) -> v1::PipelineResponse {
    v1::PipelineResponse {
        opened,
        header: Some(header(inner)),
        results,
    }
}

fn header(inner: &Inner) -> v1::ResponseHeader {
    v1::ResponseHeader {
        store_id: bytes::Bytes::from_static(&[7; 16]),
        incarnation: inner.incarnation,
        revision: inner.revision,
    }
}

fn key(key: &str) -> Option<v1::RecordKey> {
    Some(v1::RecordKey {
        collection: "player".into(),
        key: key.to_string().into(),
    })
}

pub fn get(name: &str) -> v1::Op {
    v1::Op {
        kind: Some(Kind::Get(v1::GetOp {
            key: key(name),
            ..Default::default()
        })),
    }
}

pub fn put(name: &str, value: impl Into<Vec<u8>>) -> v1::Op {
    v1::Op {
        kind: Some(Kind::Put(v1::PutOp {
            key: key(name),
            value: value.into().into(),
            ..Default::default()
        })),
    }
}

pub fn within(deadline: Duration) -> CallOptions {
    CallOptions {
        deadline: Some(deadline),
        ..Default::default()
    }
}

/// Waits for an operation as long as its own deadline lets it.
pub fn finish(client: &Client, id: u64) -> stillpoint_client::Outcome {
    client
        .wait(id, Duration::from_secs(60))
        .expect("an operation ends at its deadline")
}

/// The value that a get brought.
pub fn value(outcome: stillpoint_client::Outcome) -> Option<Vec<u8>> {
    match outcome.unwrap().kind {
        op_result::Kind::Get(get) => get.record.map(|record| record.value.to_vec()),
        other => panic!("not the answer to a get: {other:?}"),
    }
}

/// Drives until this holds.
pub fn drive_until(client: &Client, what: &str, mut holds: impl FnMut() -> bool) {
    let late = std::time::Instant::now() + LONG;
    while !holds() {
        assert!(std::time::Instant::now() < late, "{what} never came");
        client.poll(Duration::from_millis(1));
    }
}
