//! Makes the data directory that `tests/store/fixture.rs` opens for ever, and the list of what is in it:
//!
//! ```text
//! cargo run -p stillpoint-store-server --example make-fixture -- migrations/fixtures/format-4
//! ```
//!
//! The directory must not exist yet: a fixture is made once per format, by the first program that writes it.

use std::{env, fs, path::Path, sync::Arc, thread, time::Duration};

use stillpoint_migrations::Source;
use stillpoint_proto::v1::{
    AddStep, ClaimOp, DeleteOp, Durability, OnceKey, Op, PatchOp, PatchStep, Path as Place,
    PathSegment, PutOp, RecordKey, SetCursorOp, SetTimerOp, TxnOp, op, op_result::Kind, patch_step,
    path_segment::Segment,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::{
        Store,
        feed::Position,
        keys::{self, System},
        request::{Job, WriteItem, WriterKey},
        schema::{
            ANY_NAMESPACE, Rewritten, SchemaCommit, SchemaCommitted,
            state::{self, Phase, Quarantined, SchemaState, StoredScript},
        },
        session::{Open, Session, SessionChange},
    },
};

#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/store/common.rs"]
mod common;
#[path = "../tests/store/listing.rs"]
mod listing;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/value/notation.rs"]
mod notation;

fn main() {
    let target = env::args().nth(1).expect("usage: make-fixture DIRECTORY");
    let target = Path::new(&target);
    assert!(!target.exists(), "{} exists", target.display());
    let work = tempfile::tempdir().unwrap();
    let mut fixture = Fixture {
        store: Store::open(config(work.path())).unwrap(),
        sequence: 0,
        session: None,
    };
    fixture.old_part();
    fixture.wait_for_checkpoint();
    fixture.new_part();
    // As a killed server leaves it, so before it is stopped.
    common::copy_dir(work.path(), target);
    fs::write(
        target.with_extension("txt"),
        listing::listing(&fixture.store),
    )
    .unwrap();
    fixture.store.close();
}

/// Small, and nothing is kept longer than it must be.
fn config(dir: &Path) -> Config {
    let mut config = common::config(dir, EngineKind::Memory);
    config.log.segment_bytes = 1500;
    config.log.checkpoint_bytes = 6000;
    config.log.retention_bytes = 0;
    config.log.retention_secs = 0;
    config.log.dedup_window_secs = 0;
    // Checkpoints are of the engine, so it must have everything.
    config.view.overlay_bytes = 0;
    config
}

struct Fixture {
    store: Store,
    sequence: u64,
    session: Option<Session>,
}

/// A thousand years less some: the longest lifetime.
const FOREVER_MS: u64 = 1000 * 365 * 86_400_000;

/// Every type of value, and the widths at which their heads grow.
const VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "127",
    "128",
    "65536",
    "4294967296",
    "18446744073709551615",
    "-1",
    "-33",
    "-32769",
    "-9223372036854775808",
    "1.5",
    "-0.0",
    "1e300",
    r#""""#,
    r#""grüße""#,
    r#"h"00ff80""#,
    r#"ext(5, h"01020304")"#,
    "[]",
    "{}",
    r#"[1, [2, [3, {"deep": null}]]]"#,
    r#"{"gold": 100, "bag": {"gems": [5, 6]}, 7: "number key", "tags": ["a", "b"]}"#,
];

const SCRIPT: &str = "return { from = 0, to = 1, up = function(doc) doc.level = 1 end, down = function(doc) doc.level = nil end }";

impl Fixture {
    /// What will be in the checkpoint only.
    fn old_part(&mut self) {
        self.open_session();
        self.claim("lock", "in the checkpoint");
        for (n, text) in VALUES.iter().enumerate() {
            self.put("world", "values", format!("{n:02}").as_bytes(), text);
        }
        for key in [&b"\0"[..], b"\xff\xff", b"a/b", b"a", &[b'k'; 512]] {
            self.put("world", "keys", key, r#""a key""#);
        }
        for n in 0..30 {
            self.put(
                "world",
                "player",
                format!("{}", n % 6).as_bytes(),
                &format!(r#"{{"gold": {n}}}"#),
            );
            self.add("world", "player", "counter", n);
        }
        self.put("other-world", "player", b"0", r#"{"gold": 1}"#);
        self.delete("world", "values", "03");
        self.put("world", "hero", b"ann", r#"{"name": "Ann"}"#);
        self.put("world", "hero", b"bob", r#"{"name": "Bob"}"#);
        self.put("world", "hero", b"broken", "5");
        self.publish();
    }

    /// What will be in the log.
    fn new_part(&mut self) {
        self.send(
            "world",
            op::Kind::Put(PutOp {
                key: common::key("session", "long"),
                value: common::value(r#"{"until": "for ever"}"#),
                ttl_ms: FOREVER_MS,
                schema: Some(3),
                ..PutOp::default()
            }),
        );
        self.send(
            "world",
            op::Kind::Put(PutOp {
                key: common::key("session", "short"),
                value: common::value("1"),
                ttl_ms: 1,
                ..PutOp::default()
            }),
        );
        while self.store.status().counters.expired == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        let long = format!(r#""{}""#, "long ".repeat(600));
        self.put("world", "values", b"long", &long);
        for n in 0..20 {
            self.add("world", "player", "counter", -n);
            self.put(
                "other.world",
                "item",
                format!("{n}").as_bytes(),
                r#"["sword", 1]"#,
            );
        }
        let then = vec![add("player", "0", -5), add("player", "1", 5)];
        self.send(
            "world",
            op::Kind::Txn(TxnOp {
                then,
                ..TxnOp::default()
            }),
        );
        self.delete("world", "player", "5");
        self.put("world", "player", b"5", r#"{"gold": 0, "again": true}"#);
        self.migrate();
        self.open_session();
        self.claim("player", "0");
        self.send(
            "world",
            op::Kind::SetTimer(SetTimerOp {
                name: "respawn".into(),
                due_ms: 1_000_000,
                period_ms: 60_000,
                payload: common::value(r#"{"boss": 3}"#),
                owner: common::key("player", "0"),
                ..SetTimerOp::default()
            }),
        );
        let position = Position {
            incarnation: 1,
            revision: 7,
            seq: 7,
        };
        self.send(
            "world",
            op::Kind::SetCursor(SetCursorOp {
                name: "guild-cache".into(),
                position: position.encode(),
            }),
        );
        let once = OnceKey {
            name: "trade-77".into(),
            since_revision: 0,
        };
        if let Some(kind) = add("player", "1", 1).kind {
            self.send_named("world", kind, Some(once));
        }
    }

    /// Publishes a script for all namespaces.
    fn publish(&self) {
        let source = Source::new(ANY_NAMESPACE, "hero", 1, "level", SCRIPT);
        let script = StoredScript::new(&source, 1_700_000_000_000, "an operator");
        let script = state::encode(&script);
        self.commit(SchemaCommit {
            namespace: ANY_NAMESPACE.into(),
            own: vec![(System::Script, state::script_name("hero", 1), Some(script))],
            ..SchemaCommit::default()
        });
    }

    /// Takes `world/hero` to version 1; one record is rewritten, one is not yet, one cannot be.
    fn migrate(&self) {
        let state = SchemaState {
            version: 1,
            phase: Phase::Rewriting,
            cursor: b"ann".to_vec(),
            seen: 2,
            rewritten: 1,
            failed: 1,
            failed_max: 100,
            applied_ms: 1_700_000_000_000,
            actor: "an operator".into(),
            ..SchemaState::default()
        };
        let read = |key: &[u8]| {
            let key = keys::record("world", "hero", key);
            let record = self.store.reader().record(&key).unwrap().unwrap();
            (key, record.mod_rev)
        };
        let (ann, ann_rev) = read(b"ann");
        let quarantined = Quarantined {
            schema: 0,
            mod_rev: read(b"broken").1,
            error: "_any/hero/0001_level.lua: up failed".into(),
            time_ms: 1_700_000_000_000,
        };
        let name = state::quarantine_name("hero", b"broken");
        let committed = self.commit(SchemaCommit {
            namespace: "world".into(),
            state: Some(("hero".into(), 0)),
            records: vec![Rewritten {
                key: ann,
                seen_rev: ann_rev,
                value: common::value(r#"{"level": 1, "name": "Ann"}"#),
                schema: 1,
            }],
            own: vec![
                (System::Schema, "hero".into(), Some(state::encode(&state))),
                (System::Quarantine, name, Some(state::encode(&quarantined))),
            ],
            ..SchemaCommit::default()
        });
        assert_eq!(committed.rewritten, 1);
    }

    fn commit(&self, commit: SchemaCommit) -> SchemaCommitted {
        self.store.commit_schema(commit).unwrap()
    }

    /// Opens `battle/battle-3`, or takes it over.
    fn open_session(&mut self) {
        let open = SessionChange::Open(Open {
            service: "battle".into(),
            instance: "battle-3".into(),
            expected_fence: self.session.as_ref().map_or(0, |session| session.fence),
            ttl_ms: 10_000,
            labels: [("zone".to_owned(), "eu".to_owned())].into(),
            code_version: "1.4.2".into(),
            client_name: "the fixture".into(),
            schemas: Default::default(),
        });
        let (sender, receiver) = crossbeam_channel::bounded(1);
        (self.store).change_session("world", open, move |opened| drop(sender.send(opened)));
        self.session = receiver.recv().unwrap().unwrap();
    }

    fn claim(&mut self, collection: &str, key: &'static str) {
        self.send(
            "world",
            op::Kind::Claim(ClaimOp {
                key: common::key(collection, key),
                ..ClaimOp::default()
            }),
        );
    }

    fn wait_for_checkpoint(&self) {
        loop {
            let log = self.store.status().log;
            if log.first_seq > 1 && log.checkpoint_seq == log.last_seq {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn put(&mut self, namespace: &str, collection: &str, key: &[u8], text: &str) {
        self.send(
            namespace,
            op::Kind::Put(PutOp {
                key: common::key(collection, key.to_vec()),
                value: common::value(text),
                ..PutOp::default()
            }),
        );
    }

    fn add(&mut self, namespace: &str, collection: &str, key: &str, n: i64) {
        if let Some(kind) = add(collection, key, n).kind {
            self.send(namespace, kind);
        }
    }

    fn delete(&mut self, namespace: &str, collection: &str, key: &str) {
        self.send(
            namespace,
            op::Kind::Delete(DeleteOp {
                key: common::key(collection, key.to_owned()),
                ..DeleteOp::default()
            }),
        );
    }

    /// Every write has a number, as those of clients have.
    fn send(&mut self, namespace: &str, kind: op::Kind) {
        self.send_named(namespace, kind, None);
    }

    fn send_named(&mut self, namespace: &str, kind: op::Kind, once: Option<OnceKey>) {
        self.sequence += 1;
        // The session is one of `world`.
        let session = self.session.as_ref().filter(|_| namespace == "world");
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.store.submit(Job {
            namespace: Arc::from(namespace),
            session: session.map_or_else(|| "".into(), |session| session.id.clone()),
            fence: session.map_or(0, |session| session.fence),
            items: vec![WriteItem {
                op: Op { kind: Some(kind) },
                writer: Some(WriterKey {
                    id: b"the fixture's id"[..].into(),
                    sequence: self.sequence,
                    first_incomplete: self.sequence,
                }),
                once,
                durability: Durability::Unspecified,
                deadline: None,
            }],
            reply: Box::new(move |answers| drop(sender.send(answers))),
        });
        let result = receiver.recv().unwrap().results.remove(0);
        assert!(!matches!(result.kind, Some(Kind::Error(_))), "{result:?}");
    }
}

fn add(collection: &str, key: &str, n: i64) -> Op {
    let step = AddStep {
        path: Some(Place {
            segments: vec![PathSegment {
                segment: Some(Segment::Field("gold".into())),
            }],
        }),
        delta: common::value(&n.to_string()),
        ..AddStep::default()
    };
    Op {
        kind: Some(op::Kind::Patch(PatchOp {
            key: Some(RecordKey {
                collection: collection.into(),
                key: key.to_owned().into(),
            }),
            steps: vec![PatchStep {
                kind: Some(patch_step::Kind::Add(step)),
            }],
            create: true,
            return_record: true,
            ..PatchOp::default()
        })),
    }
}
