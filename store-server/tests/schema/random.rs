//! Random scripts and random histories: whatever is read, told or stored is what the functions by hand make of it.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};
use stillpoint_proto::v1::{Reason, WatchEventType};
use stillpoint_store_server::store::{
    keys,
    schema::{Rewritten, SchemaCommit},
    session::Session,
};

use crate::{
    steps::{self, FIELDS, Step, travel},
    world::{COLLECTION, Caller, Doc, NAMESPACE, Watcher, World, doc, encode, refused, seen},
};

const KEYS: [&str; 3] = ["ann", "bob", "cy"];

/// What happens next. Callers are chosen by number, from those that there are.
#[derive(Clone, Debug)]
enum Action {
    /// The next version counts.
    Apply,
    /// All that is stored in an older version is rewritten.
    Rewrite,
    /// A session opens, which declares a version, or not.
    Open(Option<u32>),
    /// A document is put by a caller; these are its fields in version 0.
    Put(usize, usize, [i64; 2]),
    /// A caller sets one of its fields.
    Set(usize, usize, usize, i64),
    /// A caller claims a record and lets go of it.
    Claim(usize, usize),
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let number = || -5_000..5_000_i64;
    prop_oneof![
        3 => Just(Action::Apply),
        2 => Just(Action::Rewrite),
        3 => proptest::option::of(any::<u32>()).prop_map(Action::Open),
        6 => (0..16_usize, 0..KEYS.len(), [number(), number()])
            .prop_map(|(caller, key, fields)| Action::Put(caller, key, fields)),
        6 => (0..16_usize, 0..KEYS.len(), 0..16_usize, number())
            .prop_map(|(caller, key, field, n)| Action::Set(caller, key, field, n)),
        2 => (0..16_usize, 0..KEYS.len()).prop_map(|(caller, key)| Action::Claim(caller, key)),
        1 => Just(Action::Reopen),
    ]
}

/// What was written: revision, kind of event, key, version and document.
type Written = (u64, WatchEventType, &'static str, u32, Doc);

/// Somebody, and what he watches from which revision on.
struct Peer {
    /// None: the store's.
    version: Option<u32>,
    session: Option<Session>,
    caller: Caller,
    watcher: Watcher,
    since: u64,
}

struct Run {
    world: World,
    chain: Vec<Step>,
    /// The version that counts.
    version: u32,
    stored: BTreeMap<&'static str, (u32, Doc)>,
    written: Vec<Written>,
    peers: Vec<Peer>,
}

impl Run {
    async fn new(chain: Vec<Step>) -> Run {
        let world = World::new().await;
        let scripts = chain.iter().zip(1..);
        world.publish(scripts.map(|(step, n)| (NAMESPACE, n as u32, step.lua(n))));
        let mut run = Run {
            world,
            chain,
            version: 0,
            stored: BTreeMap::new(),
            written: Vec::new(),
            peers: Vec::new(),
        };
        run.join(None, None).await;
        run
    }

    async fn join(&mut self, version: Option<u32>, session: Option<Session>) {
        let caller = match &session {
            Some(session) => self.world.holder(session).await,
            None => self.world.anybody().await,
        };
        let peer = Peer {
            watcher: self.world.watch(&caller, false).await,
            version,
            session,
            caller,
            since: self.world.revision(),
        };
        self.peers.push(peer);
    }

    fn spoken(&self, peer: usize) -> u32 {
        self.peers[peer].version.unwrap_or(self.version)
    }

    /// What a caller is told of a record.
    fn expected(&self, key: &str, version: u32) -> Option<(u32, Doc)> {
        let (stored, doc) = self.stored.get(key)?;
        Some((version, travel(&self.chain, *stored, version, doc)))
    }

    /// Whether all that is stored of a record goes into a version and comes back.
    fn fits(&self, key: &str, version: u32) -> bool {
        self.stored.get(key).is_none_or(|(stored, doc)| {
            let below = travel(&self.chain, *stored, version, doc);
            *stored <= version || travel(&self.chain, version, *stored, &below) == *doc
        })
    }

    /// Takes note of what a caller has written in a version.
    fn wrote(&mut self, key: &'static str, version: u32, doc: &Doc) {
        let doc = travel(&self.chain, version, self.version, doc);
        self.note(WatchEventType::Put, key, doc);
    }

    fn note(&mut self, kind: WatchEventType, key: &'static str, doc: Doc) {
        let written = (self.world.revision(), kind, key, self.version, doc.clone());
        self.written.push(written);
        self.stored.insert(key, (self.version, doc));
        assert_eq!(self.world.stored(key), self.stored[key], "stored");
    }

    async fn act(&mut self, action: &Action) {
        match *action {
            Action::Apply => {
                if (self.version as usize) < self.chain.len() {
                    self.version += 1;
                    self.world.apply(NAMESPACE, self.version);
                }
            }
            Action::Rewrite => self.rewrite(),
            Action::Open(declares) => {
                let declares = declares.map(|n| n % (self.version + 1));
                let instance = self.peers.len().to_string();
                let session = self.world.session(&instance, declares).await.unwrap();
                let version = declares.unwrap_or(self.version);
                self.join(Some(version), Some(session)).await;
            }
            Action::Put(peer, key, [x, y]) => {
                let (peer, key) = (peer % self.peers.len(), KEYS[key]);
                let version = self.spoken(peer);
                let first = doc([(FIELDS[0], x), (FIELDS[1], y)]);
                let doc = travel(&self.chain, 0, version, &first);
                let fits = self.fits(key, version);
                let put = self.peers[peer].caller.put(key, &doc).await;
                if !fits {
                    refused(put, Reason::SchemaUnsupported, &["cannot carry"]);
                    return;
                }
                put.unwrap();
                self.wrote(key, version, &doc);
            }
            Action::Set(peer, key, field, n) => {
                let (peer, key) = (peer % self.peers.len(), KEYS[key]);
                let version = self.spoken(peer);
                let Some((_, mut doc)) = self.expected(key, version) else {
                    return;
                };
                let field = doc.keys().nth(field % doc.len()).unwrap().clone();
                doc.insert(field.clone(), n);
                let fits = self.fits(key, version);
                let told = self.peers[peer].caller.set(key, &field, n).await;
                if !fits {
                    refused(told, Reason::SchemaUnsupported, &["cannot carry"]);
                    return;
                }
                self.wrote(key, version, &doc);
                let expected = self.expected(key, version).unwrap();
                assert_eq!(seen(told.map(Some)), expected, "told back");
            }
            Action::Claim(peer, key) => {
                let (peer, key) = (peer % self.peers.len(), KEYS[key]);
                let expected = self.expected(key, self.spoken(peer));
                if self.peers[peer].session.is_none() {
                    return;
                }
                let fits = self.fits(key, self.spoken(peer));
                let caller = &mut self.peers[peer].caller;
                let loaded = caller.claim(key, true).await;
                if !fits {
                    refused(loaded, Reason::SchemaUnsupported, &["cannot carry"]);
                    return;
                }
                let loaded = loaded.unwrap().map(|record| seen(Ok(Some(record))));
                assert_eq!(loaded, expected, "loaded");
                caller.release(key).await;
            }
            Action::Reopen => self.reopen().await,
        }
    }

    /// What the background job does, in one portion.
    fn rewrite(&mut self) {
        let (all, version) = (self.stored.clone(), self.version);
        let old = all.iter().filter(|(_, (schema, _))| *schema != version);
        for (key, (schema, doc)) in old {
            let view_key = keys::record(NAMESPACE, COLLECTION, key.as_bytes());
            let record = self
                .world
                .store
                .reader()
                .record(&view_key)
                .unwrap()
                .unwrap();
            let doc = travel(&self.chain, *schema, self.version, doc);
            let committed = self.world.commit(SchemaCommit {
                namespace: NAMESPACE.into(),
                records: vec![Rewritten {
                    key: view_key,
                    seen_rev: record.mod_rev,
                    value: encode(&doc),
                    schema: self.version,
                }],
                ..SchemaCommit::default()
            });
            assert_eq!(committed.unwrap().rewritten, 1);
            self.note(WatchEventType::Migrate, key, doc);
        }
    }

    async fn reopen(&mut self) {
        self.see_watches().await;
        let peers = std::mem::take(&mut self.peers);
        let whose: Vec<_> = peers.into_iter().map(|p| (p.version, p.session)).collect();
        let world = std::mem::replace(&mut self.world, World::new().await);
        self.world = world.reopen(|_| {}).await;
        for (version, session) in whose {
            self.join(version, session).await;
        }
    }

    /// Everybody is told every record in his version, in every way.
    async fn see_reads(&mut self) {
        for peer in 0..self.peers.len() {
            for key in KEYS {
                let expected = self.expected(key, self.spoken(peer));
                let found = self.peers[peer].caller.read(key).await.unwrap();
                let found = found.map(|record| seen(Ok(Some(record))));
                assert_eq!(found, expected, "{key}, for {:?}", self.peers[peer].version);
            }
        }
    }

    /// Everybody who watches was told all that was written, in his version.
    async fn see_watches(&mut self) {
        let now = self.world.revision();
        for place in 0..self.peers.len() {
            let version = self.spoken(place);
            let peer = &mut self.peers[place];
            let told = peer.watcher.until(now).await;
            let told = told
                .into_iter()
                .map(|(revision, kind, key, record)| (revision, kind, key, seen(Ok(record))));
            let written = self.written.iter().filter(|w| w.0 > peer.since);
            let expected = written.map(|(revision, kind, key, stored, doc)| {
                let doc = travel(&self.chain, *stored, version, doc);
                (*revision, *kind, (*key).to_owned(), (version, doc))
            });
            assert_eq!(
                told.collect::<Vec<_>>(),
                expected.collect::<Vec<_>>(),
                "watched by {:?}",
                peer.version
            );
            peer.since = now;
        }
    }

    /// A watch that begins with the state is told that in its version, too.
    async fn see_states(&mut self) {
        let now = self.world.revision();
        for peer in 0..self.peers.len() {
            let mut watcher = self.world.watch(&self.peers[peer].caller, true).await;
            let told = watcher.until(now).await.into_iter();
            let told: BTreeMap<_, _> = told
                .map(|(_, kind, key, record)| {
                    assert_eq!(kind, WatchEventType::Put);
                    (key, seen(Ok(record)))
                })
                .collect();
            let expected = KEYS.iter().filter_map(|key| {
                let expected = self.expected(key, self.spoken(peer))?;
                Some(((*key).to_owned(), expected))
            });
            assert_eq!(told, expected.collect());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_and_writes_his_own_version(
        chain in steps::chain(),
        actions in vec(action(), 5..30),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = Run::new(chain).await;
            for action in &actions {
                run.act(action).await;
                run.see_reads().await;
            }
            run.see_watches().await;
            run.see_states().await;
            run.world.store.close();
        });
    }
}
