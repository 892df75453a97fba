//! Random scripts and random histories: whatever is read, told or stored is what the functions by hand make of it.
//!
//! Versions come and are taken back, with records of any of them left where they are; and some scripts refuse some documents.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};
use stillpoint_proto::v1::{Reason, StoreError, WatchEventType};
use stillpoint_store_server::store::{
    keys,
    schema::{Rewritten, SchemaCommit},
    session::{Session, SessionChange},
};

use crate::{
    steps::{self, FIELDS, Step, travel},
    world::{COLLECTION, Caller, Doc, NAMESPACE, Watcher, World, doc, encode, refused, seen},
};

mod looks;

use looks::was_told;

const KEYS: [&str; 3] = ["ann", "bob", "cy"];

/// What happens next. Callers are chosen by number, from those that there are.
#[derive(Clone, Debug)]
enum Action {
    /// The next version counts.
    Apply,
    /// An older version counts again, for which those who speak a newer one leave.
    RollBack(u32),
    /// So many records that are stored in another version are rewritten.
    Rewrite(usize),
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
        1 => any::<u32>().prop_map(Action::RollBack),
        2 => (1..=KEYS.len()).prop_map(Action::Rewrite),
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
    /// Sessions that were ever opened.
    opened: u32,
}

/// What somebody is told of a record: its version, and the document, if it has one there.
type Told = (u32, Option<Doc>);

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
            opened: 0,
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
    fn expected(&self, key: &str, version: u32) -> Option<Told> {
        let (stored, doc) = self.stored.get(key)?;
        Some((version, travel(&self.chain, *stored, version, doc)))
    }

    /// Whether all that counts of a record goes into a version and comes back.
    fn fits(&self, key: &str, version: u32) -> bool {
        let Some((stored, doc)) = self.stored.get(key) else {
            return true;
        };
        let newer = self.version.min(*stored);
        let go = |from, to, doc: &Doc| travel(&self.chain, from, to, doc);
        let above = go(*stored, newer, doc);
        let below = above.as_ref().and_then(|doc| go(newer, version, doc));
        version >= newer || below.and_then(|doc| go(version, newer, &doc)) == above
    }

    /// Takes note of what a caller has written in a version, and of what he was told of that.
    fn wrote<T: std::fmt::Debug>(
        &mut self,
        key: &'static str,
        version: u32,
        doc: &Doc,
        fits: bool,
        told: Result<T, StoreError>,
    ) -> Option<T> {
        match travel(&self.chain, version, self.version, doc) {
            Some(_) if !fits => {
                is_too_poor(told);
                None
            }
            None if !fits => {
                told.expect_err("it is refused, for the one reason or the other");
                None
            }
            Some(doc) => {
                let told = told.expect("it is written");
                self.note(WatchEventType::Put, key, doc);
                Some(told)
            }
            None => {
                refused(told, Reason::MigrationFailed, &[key, "cannot be that"]);
                None
            }
        }
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
            Action::RollBack(to) if self.version > 0 => self.roll_back(to % self.version).await,
            Action::RollBack(_) => {}
            Action::Rewrite(count) => self.rewrite(count),
            Action::Open(declares) => {
                let declares = declares.map(|n| n % (self.version + 1));
                self.opened += 1;
                let instance = self.opened.to_string();
                let session = self.world.session(&instance, declares).await.unwrap();
                let version = declares.unwrap_or(self.version);
                self.join(Some(version), Some(session)).await;
            }
            Action::Put(peer, key, [x, y]) => {
                let (peer, key) = (peer % self.peers.len(), KEYS[key]);
                let version = self.spoken(peer);
                let first = doc([(FIELDS[0], x), (FIELDS[1], y)]);
                let Some(doc) = travel(&self.chain, 0, version, &first) else {
                    return;
                };
                let fits = self.fits(key, version);
                let told = self.peers[peer].caller.put(key, &doc).await;
                self.wrote(key, version, &doc, fits, told);
            }
            Action::Set(peer, key, field, n) => {
                let (peer, key) = (peer % self.peers.len(), KEYS[key]);
                let version = self.spoken(peer);
                let Some((_, found)) = self.expected(key, version) else {
                    return;
                };
                let Some(mut doc) = found else {
                    // Whatever it would be, there is nothing to be patched.
                    let told = self.peers[peer].caller.set(key, FIELDS[0], n).await;
                    refused(told, Reason::MigrationFailed, &[key]);
                    return;
                };
                let field = doc.keys().nth(field % doc.len()).unwrap().clone();
                doc.insert(field.clone(), n);
                let fits = self.fits(key, version);
                let told = self.peers[peer].caller.set(key, &field, n).await;
                if let Some(told) = self.wrote(key, version, &doc, fits, told) {
                    assert_eq!(seen(Ok(Some(told))), (version, doc), "told back");
                }
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
                    is_too_poor(loaded);
                } else if was_told(loaded, expected, key) {
                    caller.release(key).await;
                }
            }
            Action::Reopen => self.reopen().await,
        }
    }

    /// Takes an older version back, as an operator would: who speaks a newer one goes before.
    async fn roll_back(&mut self, to: u32) {
        self.see_watches().await;
        let (stay, leave): (Vec<_>, Vec<_>) = std::mem::take(&mut self.peers)
            .into_iter()
            .partition(|peer| peer.version.is_none_or(|version| version <= to));
        self.peers = stay;
        for session in leave.into_iter().filter_map(|peer| peer.session) {
            let (id, fence) = (session.id, session.fence);
            self.world
                .change(SessionChange::End { id, fence })
                .await
                .unwrap();
        }
        self.version = to;
        self.world.apply(NAMESPACE, to);
    }

    /// What the background job does, in portions of one; what it cannot migrate it leaves as it is.
    fn rewrite(&mut self, count: usize) {
        let (all, version) = (self.stored.clone(), self.version);
        let other = all.iter().filter_map(|(key, (schema, doc))| {
            let doc = travel(&self.chain, *schema, version, doc)?;
            (*schema != version).then_some((key, doc))
        });
        let other: Vec<_> = other.take(count).collect();
        for (key, doc) in other {
            let view_key = keys::record(NAMESPACE, COLLECTION, key.as_bytes());
            let record = self
                .world
                .store
                .reader()
                .record(&view_key)
                .unwrap()
                .unwrap();
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
}

/// Something of the record does not fit into an older version, or a script refuses it on its way there and back.
fn is_too_poor<T: std::fmt::Debug>(told: Result<T, StoreError>) {
    let error = told.expect_err("it is refused");
    let part = match error.reason() {
        Reason::SchemaUnsupported => "cannot carry",
        Reason::MigrationFailed => "cannot be that",
        _ => panic!("another reason: {error}"),
    };
    assert!(error.message.contains(part), "{part:?} is not in: {error}");
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
