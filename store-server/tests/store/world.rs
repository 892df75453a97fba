//! A store in all its lives, and the sessions that write to it.

use std::{sync::Arc, thread};

use bytes::Bytes;
use stillpoint_proto::v1::{
    Claim, ClaimOp, ClaimResult, Durability, GetOp, OnceKey, Op, Reason, ReleaseOp, StoreError, op,
    op_result::Kind,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::{
        Store,
        request::{Job, WriteItem, WriterKey},
        session::{Open, Session, SessionChange},
    },
};
use tempfile::TempDir;

use crate::common::{self, NAMESPACE, key, op};

/// What a store goes through between a write and a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs on.
    On,
    /// It is closed and opened.
    Restart,
    /// The same, and its view is made anew from the log.
    WithoutView,
    /// The same, and its view is made anew from a checkpoint.
    FromCheckpoint,
}

const LIVES: [Life; 4] = [
    Life::On,
    Life::Restart,
    Life::WithoutView,
    Life::FromCheckpoint,
];

/// A store in a directory of its own.
pub struct World {
    /// The store.
    pub store: Store,
    config: Config,
    dir: TempDir,
}

/// Makes something in a store and looks at it: as the store runs on, and after each kind of start.
pub fn in_all_lives<T>(make: impl Fn(&Store) -> T, look: impl Fn(&Store, &T)) {
    for life in LIVES {
        eprintln!("{life:?}");
        let mut world = World::new(|_| {});
        let made = make(&world.store);
        world.live(life);
        look(&world.store, &made);
        common::see_that_the_state_hash_is_right(&world.store);
        world.store.close();
    }
}

impl World {
    /// A new store with these settings.
    pub fn new(settings: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut config = common::config(dir.path(), EngineKind::Sled);
        settings(&mut config);
        World {
            store: Store::open(config.clone()).unwrap(),
            config,
            dir,
        }
    }

    /// Goes through what a store may go through.
    pub fn live(&mut self, life: Life) {
        match life {
            Life::On => return,
            Life::Restart => {}
            Life::WithoutView => self.close_then(|dir| remove(dir, "view")),
            Life::FromCheckpoint => self.take_checkpoint(),
        }
        self.close_then(|_| {});
    }

    /// Closes the store, does something to its directory, and opens it again.
    pub fn close_then(&mut self, change: impl FnOnce(&TempDir)) {
        self.close_and_open(change, self.config.clone());
    }

    fn close_and_open(&mut self, change: impl FnOnce(&TempDir), config: Config) {
        // The directory is free once the last store is gone.
        let elsewhere = tempfile::tempdir().unwrap();
        let other = common::config(elsewhere.path(), EngineKind::Memory);
        let store = std::mem::replace(&mut self.store, Store::open(other).unwrap());
        store.close();
        drop(store);
        change(&self.dir);
        let store = Store::open(config).unwrap();
        std::mem::replace(&mut self.store, store).close();
    }

    /// Leaves the store with nothing but a checkpoint of all it has, and the log.
    fn take_checkpoint(&mut self) {
        let mut eager = self.config.clone();
        eager.log.checkpoint_bytes = 1;
        self.close_and_open(|_| {}, eager);
        loop {
            let log = self.store.status().log;
            if log.checkpoint_seq == log.last_seq {
                break;
            }
            thread::yield_now();
        }
        self.close_then(|dir| remove(dir, "view"));
    }
}

fn remove(dir: &TempDir, part: &str) {
    std::fs::remove_dir_all(dir.path().join(part)).unwrap();
}

/// Changes a session and waits for it.
pub fn change(store: &Store, change: SessionChange) -> Result<Option<Session>, StoreError> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    store.change_session(NAMESPACE, change, move |result| drop(sender.send(result)));
    receiver.recv().unwrap()
}

/// Opens `battle/INSTANCE`, if the fence of its holder is this.
pub fn try_open(store: &Store, instance: &str, expected_fence: u64) -> Result<Session, StoreError> {
    let opened = change(
        store,
        SessionChange::Open(opening(instance, expected_fence)),
    );
    opened.map(|session| session.expect("an open session"))
}

/// What `battle/INSTANCE` is opened with.
pub fn opening(instance: &str, expected_fence: u64) -> Open {
    Open {
        service: "battle".into(),
        instance: instance.into(),
        expected_fence,
        ttl_ms: 10_000,
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        code_version: "1.4.2".into(),
        client_name: "the tests".into(),
        schemas: Default::default(),
    }
}

/// Opens a new session.
pub fn open(store: &Store, instance: &str) -> Session {
    try_open(store, instance, 0).unwrap()
}

/// Takes a session over.
pub fn succeed(store: &Store, session: &Session) -> Session {
    try_open(store, &session.instance, session.fence).unwrap()
}

/// Ends a session.
pub fn end(store: &Store, session: &Session) -> Result<(), StoreError> {
    let (id, fence) = (session.id.clone(), session.fence);
    change(store, SessionChange::End { id, fence }).map(drop)
}

/// A write without a name or number.
pub fn write(op: Op) -> WriteItem {
    WriteItem {
        op,
        writer: None,
        once: None,
        durability: Durability::Unspecified,
        deadline: None,
    }
}

/// A write with its number.
pub fn numbered(sequence: u64, op: Op) -> WriteItem {
    WriteItem {
        writer: Some(WriterKey {
            id: Bytes::from_static(b"one writer"),
            sequence,
            first_incomplete: 1,
        }),
        ..write(op)
    }
}

/// A write with a name.
pub fn named(name: &str, since_revision: u64, op: Op) -> WriteItem {
    WriteItem {
        once: Some(OnceKey {
            name: name.to_owned().into(),
            since_revision,
        }),
        ..write(op)
    }
}

/// Submits a write in the name of a session, if there is one, without waiting.
pub fn submit(store: &Store, session: Option<&Session>, item: WriteItem) -> Answer {
    submit_to(store, NAMESPACE, session, item)
}

/// The answer to a write, when it comes.
pub type Answer = crossbeam_channel::Receiver<Result<Kind, StoreError>>;

/// The same to any namespace.
pub fn submit_to(
    store: &Store,
    namespace: &str,
    session: Option<&Session>,
    item: WriteItem,
) -> Answer {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    store.submit(Job {
        namespace: Arc::from(namespace),
        session: session.map_or_else(|| "".into(), |session| session.id.clone()),
        fence: session.map_or(0, |session| session.fence),
        items: vec![item],
        reply: Box::new(move |mut answers| {
            let result = match answers.results.remove(0).kind.unwrap() {
                Kind::Error(error) => Err(error),
                kind => Ok(kind),
            };
            sender.send(result).unwrap();
        }),
    });
    receiver
}

/// Does a write in the name of a session, if there is one.
pub fn send(store: &Store, session: Option<&Session>, item: WriteItem) -> Result<Kind, StoreError> {
    store.check(NAMESPACE, &item.op)?;
    submit(store, session, item).recv().unwrap()
}

/// Does an operation in the name of a session, if there is one.
pub fn by<'a>(
    store: &Store,
    session: impl Into<Option<&'a Session>>,
    op: Op,
) -> Result<Kind, StoreError> {
    send(store, session.into(), write(op))
}

/// Why it was refused.
pub fn refusal(result: Result<Kind, StoreError>) -> Reason {
    match result {
        Err(error) => error.reason(),
        Ok(kind) => panic!("it was not refused: {kind:?}"),
    }
}

/// Claims `c/NAME`.
pub fn claim_op(name: &str) -> ClaimOp {
    ClaimOp {
        key: key("c", name.to_owned()),
        ..ClaimOp::default()
    }
}

/// Claims `c/NAME` for a session.
pub fn claim(store: &Store, session: &Session, name: &str) -> Result<u64, StoreError> {
    claim_with(store, session, claim_op(name)).map(|claimed| claimed.token)
}

/// Takes `c/NAME` from whoever owns it.
pub fn steal(store: &Store, session: &Session, name: &str) -> u64 {
    let steal = ClaimOp {
        steal: true,
        ..claim_op(name)
    };
    claim_with(store, session, steal).unwrap().token
}

/// Claims as the operation says.
pub fn claim_with(
    store: &Store,
    session: &Session,
    claim: ClaimOp,
) -> Result<ClaimResult, StoreError> {
    match by(store, session, op(op::Kind::Claim(claim)))? {
        Kind::Claim(claimed) => Ok(claimed),
        other => panic!("not the answer to a claim: {other:?}"),
    }
}

/// Releases `c/NAME`; whether the session owned it.
pub fn release(store: &Store, session: &Session, name: &str) -> bool {
    let release = ReleaseOp {
        key: key("c", name.to_owned()),
    };
    match by(store, session, op(op::Kind::Release(release))) {
        Ok(Kind::Release(released)) => released.released,
        other => panic!("not the answer to a release: {other:?}"),
    }
}

/// Who owns `c/NAME`.
pub fn owner(store: &Store, name: &str) -> Option<Claim> {
    let get = GetOp {
        key: key("c", name.to_owned()),
        with_claim: true,
        raw: false,
    };
    match store.execute(NAMESPACE, op(op::Kind::Get(get))) {
        Ok(Kind::Get(found)) => found.claim,
        other => panic!("not the answer to a get: {other:?}"),
    }
}
