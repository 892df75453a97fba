//! A store with its service of watches, and one who listens and checks that what is told makes sense.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{
    DeleteOp, Durability, Op, PutOp, Reason, Record, RecordKey, RequestContext, ScanOp, StoreError,
    TxnOp, WatchCommit, WatchEvent, WatchEventType, WatchRequest, op, op_result::Kind as Done,
    watch_response::Kind,
};
use stillpoint_store_server::{
    config::{Config, EngineKind, LogConfig, ViewConfig},
    service::{
        Gauges,
        watch::{WatchApi, stream::WatchStream},
    },
    store::{
        Store,
        request::{Answers, Job, WriteItem},
    },
};
use tempfile::TempDir;
use tokio::sync::watch;

/// The namespace of most tests.
pub const NAMESPACE: &str = "world";

/// The engines.
pub const ENGINES: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Memory];

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store with its service of watches.
pub struct Server {
    pub config: Config,
    pub store: Store,
    pub gauges: Arc<Gauges>,
    api: WatchApi,
    stop: watch::Sender<bool>,
    _dir: TempDir,
}

impl Server {
    /// A new store whose segments hold a few commits.
    pub fn new(engine: EngineKind) -> Server {
        Self::with(engine, |_| {})
    }

    /// A new store with these settings.
    pub fn with(engine: EngineKind, change: impl FnOnce(&mut Config)) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: dir.path().to_owned(),
            log: LogConfig {
                segment_bytes: 700,
                disk_reserve_bytes: 0,
                ..LogConfig::default()
            },
            view: ViewConfig {
                engine,
                cache_bytes: 4 << 20,
                ..ViewConfig::default()
            },
            ..Config::default()
        };
        change(&mut config);
        let (store, gauges, api, stop) = serve(&config);
        Server {
            config,
            store,
            gauges,
            api,
            stop,
            _dir: dir,
        }
    }

    /// Tells the watches that the server stops.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops the server and starts it again. Nobody may be listening.
    pub fn restart(self) -> Server {
        let Server {
            config,
            store,
            api,
            stop,
            _dir,
            ..
        } = self;
        store.close();
        drop((store, api, stop));
        let (store, gauges, api, stop) = serve(&config);
        Server {
            config,
            store,
            gauges,
            api,
            stop,
            _dir,
        }
    }

    /// Begins to listen.
    pub async fn listen(&self, request: WatchRequest) -> Listener {
        self.try_listen(request).await.unwrap()
    }

    /// Begins to listen, if it may.
    pub async fn try_listen(&self, request: WatchRequest) -> Result<Listener, StoreError> {
        let stream = self.api.begin(request).await?;
        let mut listener = Listener::new(stream);
        assert!(matches!(listener.next().await, Kind::Started(_)));
        Ok(listener)
    }

    /// Does one operation.
    pub fn execute(&self, op: Op) -> Done {
        self.store.execute(NAMESPACE, op).unwrap()
    }

    /// Puts a value to `c/KEY`.
    pub fn put(&self, key: &str, value: u8) {
        self.execute(put("c", key, value));
    }

    /// All records of some collections.
    pub fn state(&self, collections: &[&str]) -> State {
        let mut state = State::new();
        for collection in collections {
            let mut next = ScanOp {
                collection: (*collection).into(),
                ..ScanOp::default()
            };
            loop {
                let Done::Scan(page) = self.execute(op(op::Kind::Scan(next.clone()))) else {
                    panic!("not the answer to a scan");
                };
                for entry in page.entries {
                    let name = ((*collection).to_owned(), entry.key);
                    state.insert(name, entry.record.unwrap());
                }
                if !page.more {
                    break;
                }
                next.start = page.next_key;
            }
        }
        state
    }

    /// The namespace's revision.
    pub fn revision(&self) -> u64 {
        self.store.reader().revision(NAMESPACE)
    }
}

type Parts = (Store, Arc<Gauges>, WatchApi, watch::Sender<bool>);

fn serve(config: &Config) -> Parts {
    // What held the directory may still be on its way out.
    let since = std::time::Instant::now();
    let store = loop {
        match Store::open(config.clone()) {
            Ok(store) => break store,
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::yield_now();
    };
    let gauges = Arc::new(Gauges::default());
    let (stop, stopping) = watch::channel(false);
    let api = WatchApi::new(store.clone(), stopping, gauges.clone());
    (store, gauges, api, stop)
}

/// Records by collection and key.
pub type State = BTreeMap<(String, Bytes), Record>;

/// One who listens, and checks what is told.
pub struct Listener {
    stream: WatchStream,
    /// Where to go on, as told last.
    pub position: Bytes,
    /// How far the watch has got.
    pub revision: u64,
    /// What it knows by all that it was told.
    pub state: State,
    /// The commits told, whole.
    pub commits: Vec<WatchCommit>,
    /// Why the state was told anew, each time.
    pub resyncs: Vec<String>,
    /// A commit that was told in part.
    part: Option<WatchCommit>,
    in_resync: bool,
}

impl Listener {
    fn new(stream: WatchStream) -> Listener {
        Listener {
            stream,
            position: Bytes::new(),
            revision: 0,
            state: State::new(),
            commits: Vec::new(),
            resyncs: Vec::new(),
            part: None,
            in_resync: false,
        }
    }

    /// The next message, which must come.
    pub async fn next(&mut self) -> Kind {
        self.try_next()
            .await
            .expect("a watch does not end")
            .unwrap()
    }

    /// The next message, or the end.
    pub async fn try_next(&mut self) -> Option<Result<Kind, StoreError>> {
        let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
        let message = match next.expect("a message in time")? {
            Ok(message) => message,
            Err(error) => return Some(Err(error)),
        };
        let header = message.header.unwrap();
        let kind = message.kind.unwrap();
        self.take(&kind);
        let told_nowhere = matches!(kind, Kind::Started(_)) && message.position.is_empty();
        assert_eq!(message.position.is_empty(), self.in_resync || told_nowhere);
        if !message.position.is_empty() {
            assert!(header.revision >= self.revision, "it never goes back");
            self.position = message.position;
            self.revision = header.revision;
        }
        Some(Ok(kind))
    }

    /// Listens until it has heard of this revision.
    pub async fn until(&mut self, revision: u64) {
        while self.revision < revision || self.in_resync {
            self.next().await;
        }
    }

    fn take(&mut self, kind: &Kind) {
        match kind {
            Kind::Started(_) => {}
            Kind::Bookmark(_) => assert!(!self.in_resync && self.part.is_none()),
            Kind::Commits(told) => {
                assert!(!self.in_resync && !told.commits.is_empty());
                told.commits.iter().for_each(|commit| self.commit(commit));
            }
            Kind::ResyncBegin(begin) => {
                self.in_resync = true;
                self.part = None;
                self.state.clear();
                self.resyncs.push(begin.reason.clone());
            }
            Kind::ResyncData(data) => {
                assert!(self.in_resync);
                data.events.iter().for_each(|event| self.event(event));
            }
            Kind::ResyncEnd(_) => {
                assert!(self.in_resync);
                self.in_resync = false;
            }
        }
    }

    fn commit(&mut self, told: &WatchCommit) {
        assert!(!told.events.is_empty());
        let mut whole = told.clone();
        if let Some(mut part) = self.part.take() {
            assert_eq!(part.revision, told.revision, "the rest of it follows");
            part.events.append(&mut whole.events);
            whole.events = part.events;
        } else {
            let last = self.commits.last().map_or(0, |commit| commit.revision);
            assert!(told.revision > last.max(self.revision), "each is told once");
        }
        if whole.more {
            self.part = Some(whole);
            return;
        }
        let names = whole.events.iter().map(name);
        assert!(names.is_sorted(), "in the order of keys");
        whole.events.iter().for_each(|event| self.event(event));
        self.commits.push(whole);
    }

    fn event(&mut self, event: &WatchEvent) {
        match &event.record {
            Some(record) => {
                assert_eq!(event.r#type(), WatchEventType::Put);
                self.state.insert(name(event), record.clone());
            }
            None => {
                assert_ne!(event.r#type(), WatchEventType::Put);
                self.state.remove(&name(event));
            }
        }
    }

    /// The revisions of the commits told.
    pub fn revisions(&self) -> Vec<u64> {
        self.commits.iter().map(|commit| commit.revision).collect()
    }
}

/// Collection and key of an event.
pub fn name(event: &WatchEvent) -> (String, Bytes) {
    let key = event.key.clone().unwrap();
    (key.collection, key.key)
}

/// A request for all of the tests' namespace, from now on.
pub fn all() -> WatchRequest {
    WatchRequest {
        context: Some(RequestContext {
            namespace: NAMESPACE.into(),
            ..RequestContext::default()
        }),
        ..WatchRequest::default()
    }
}

/// An operation.
pub fn op(kind: op::Kind) -> Op {
    Op { kind: Some(kind) }
}

/// A record's name.
pub fn key(collection: &str, key: &str) -> Option<RecordKey> {
    Some(RecordKey {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
    })
}

/// Puts a small number.
pub fn put(collection: &str, name: &str, value: u8) -> Op {
    assert!(value < 128, "one byte of MessagePack");
    op(op::Kind::Put(PutOp {
        key: key(collection, name),
        value: vec![value].into(),
        ..PutOp::default()
    }))
}

/// Puts a binary value of so many bytes.
pub fn put_large(name: &str, fill: u8, bytes: u32) -> Op {
    let mut value = vec![0xc6];
    value.extend_from_slice(&bytes.to_be_bytes());
    value.resize(5 + bytes as usize, fill);
    op(op::Kind::Put(PutOp {
        key: key("c", name),
        value: value.into(),
        ..PutOp::default()
    }))
}

/// Deletes a record.
pub fn delete(collection: &str, name: &str) -> Op {
    op(op::Kind::Delete(DeleteOp {
        key: key(collection, name),
        ..DeleteOp::default()
    }))
}

/// Does all of these as one commit.
pub fn txn(then: Vec<Op>) -> Op {
    op(op::Kind::Txn(TxnOp {
        then,
        ..TxnOp::default()
    }))
}

/// Writes as a session does, and waits for the answer.
pub fn write(store: &Store, session: (&str, u64), durability: Durability, op: Op) {
    let (sender, receiver) = crossbeam_channel::bounded::<Answers>(1);
    store.submit(Job {
        namespace: NAMESPACE.into(),
        session: session.0.into(),
        fence: session.1,
        items: vec![WriteItem {
            op,
            writer: None,
            once: None,
            durability,
            deadline: None,
        }],
        reply: Box::new(move |answers| drop(sender.send(answers))),
    });
    let answers = receiver.recv().unwrap();
    let refused = matches!(answers.results[0].kind, Some(Done::Error(_)));
    assert!(!refused, "{:?}", answers.results);
}

/// Why a watch was refused.
pub fn refusal(result: Result<Listener, StoreError>) -> Reason {
    result.map(drop).expect_err("it is refused").reason()
}
