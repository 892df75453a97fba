//! Random histories on each engine, against a plain map: every answer is the same, with revisions and versions.
//!
//! What waits in memory for the engine is bounded differently from history to history, so that what is read is now in
//! memory, now in the engine, now in both. In between the store is stopped and opened again, with its view and without.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
    sample::select,
};
use rmpv::Value;
use stillpoint_proto::v1::{
    AddStep, BatchGetOp, Comparison, DeleteOp, DeleteResult, FieldPredicate, GetOp, GetResult,
    Guard, Op, OpResult, PatchOp, PatchResult, PatchStep, Path, PathSegment, Predicate, PutOp,
    PutResult, Reason, Record, RecordKey, ScanEntry, ScanOp, ScanResult, TxnOp, TxnResult, op,
    op_result, patch_step, path_segment::Segment, predicate::Test,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::Store,
};

use crate::{
    common::{self, NAMESPACE, op},
    notation,
};

/// Keys that lie close together, and those that are hard to order.
const KEYS: [&[u8]; 8] = [
    b"a",
    b"a\0",
    b"a\0\xff",
    b"ab",
    b"b",
    b"\xff",
    b"\xff\xff",
    b"\0",
];

const COLLECTIONS: [&str; 3] = ["c", "c0", "d"];

/// Records of one page.
const PAGE: usize = 3;

/// What happens next.
#[derive(Clone, Debug)]
enum Action {
    Do(Write),
    Txn(Choice),
    Get(Name),
    BatchGet(Vec<Name>),
    Scan(Scan),
    /// A record that expires at once, and is waited for until it is gone.
    Expire(Name),
    Reopen,
    ReopenWithoutView,
}

type Name = (&'static str, &'static [u8]);

#[derive(Clone, Debug)]
enum Write {
    Put {
        name: Name,
        n: i64,
        expires: bool,
        schema: u32,
        guard: Option<Condition>,
    },
    Add {
        name: Name,
        n: i64,
        max: Option<i64>,
        create: bool,
        guard: Option<Condition>,
    },
    Delete {
        name: Name,
        guard: Option<Condition>,
    },
    Get {
        name: Name,
    },
}

#[derive(Clone, Debug)]
struct Choice {
    guards: Vec<(Name, Condition)>,
    then: Vec<Write>,
    otherwise: Vec<Write>,
}

/// A guard, relative to what is there when it is sent.
#[derive(Clone, Debug)]
enum Condition {
    Exists(bool),
    Revision { wrong: bool },
    Version { wrong: bool },
    Less(i64),
}

#[derive(Clone, Debug)]
struct Scan {
    collection: &'static str,
    prefix: Vec<u8>,
    start: Vec<u8>,
    end: Vec<u8>,
    reverse: bool,
    limit: u32,
    keys_only: bool,
}

fn name() -> impl Strategy<Value = Name> {
    // Most of it in one collection, so that it meets.
    let collection = prop_oneof![6 => Just("c"), 1 => Just("c0"), 1 => Just("d")];
    (collection, select(&KEYS[..]))
}

fn guard() -> impl Strategy<Value = Condition> {
    prop_oneof![
        any::<bool>().prop_map(Condition::Exists),
        any::<bool>().prop_map(|wrong| Condition::Revision { wrong }),
        any::<bool>().prop_map(|wrong| Condition::Version { wrong }),
        (-5..15i64).prop_map(Condition::Less),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let guarded = || option::weighted(0.3, guard());
    prop_oneof![
        5 => (name(), -5..15i64, any::<bool>(), 0..3u32, guarded())
            .prop_map(|(name, n, expires, schema, guard)| Write::Put { name, n, expires, schema, guard }),
        4 => (name(), -5..6i64, option::weighted(0.3, 0..20i64), any::<bool>(), guarded())
            .prop_map(|(name, n, max, create, guard)| Write::Add { name, n, max, create, guard }),
        2 => (name(), guarded()).prop_map(|(name, guard)| Write::Delete { name, guard }),
        1 => name().prop_map(|name| Write::Get { name }),
    ]
}

fn scan() -> impl Strategy<Value = Scan> {
    let part =
        || prop_oneof![2 => Just(Vec::new()), 1 => select(&KEYS[..]).prop_map(<[u8]>::to_vec)];
    (
        select(&COLLECTIONS[..]),
        part(),
        part(),
        part(),
        any::<(bool, bool)>(),
        0..5u32,
    )
        .prop_map(
            |(collection, prefix, start, end, (reverse, keys_only), limit)| Scan {
                collection,
                prefix,
                start,
                end,
                reverse,
                limit,
                keys_only,
            },
        )
}

fn action() -> impl Strategy<Value = Action> {
    let choice = (
        vec((name(), guard()), 0..3),
        vec(write(), 0..5),
        vec(write(), 0..3),
    )
        .prop_map(|(guards, then, otherwise)| Choice {
            guards,
            then,
            otherwise,
        });
    prop_oneof![
        12 => write().prop_map(Action::Do),
        8 => choice.prop_map(Action::Txn),
        3 => name().prop_map(Action::Get),
        2 => vec(name(), 0..6).prop_map(Action::BatchGet),
        6 => scan().prop_map(Action::Scan),
        1 => name().prop_map(Action::Expire),
        1 => Just(Action::Reopen),
        1 => Just(Action::ReopenWithoutView),
    ]
}

/// How much may wait in memory, and how much is cached.
fn sizes() -> impl Strategy<Value = (usize, u64)> {
    (
        select(&[0, 400, 64 << 20][..]),
        select(&[0, 600, 64 << 20][..]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sled_answers_like_a_map(sizes in sizes(), actions in vec(action(), 1..60)) {
        run(EngineKind::Sled, sizes, actions);
    }

    #[test]
    fn the_memory_engine_answers_like_a_map(sizes in sizes(), actions in vec(action(), 1..60)) {
        run(EngineKind::Memory, sizes, actions);
    }
}

fn run(
    engine: EngineKind,
    (overlay_bytes, record_cache_bytes): (usize, u64),
    actions: Vec<Action>,
) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = common::config(dir.path(), engine);
    config.limits.scan_page = PAGE;
    config.view.overlay_bytes = overlay_bytes;
    config.view.record_cache_bytes = record_cache_bytes;
    let mut pair = Pair {
        store: Store::open(config.clone()).unwrap(),
        config,
        model: Model::default(),
    };
    for action in actions {
        pair.step(&action);
    }
    pair.compare_all();
    pair.reopen(false);
    pair.compare_all();
    pair.store.close();
}

/// A store and what it should have.
struct Pair {
    store: Store,
    config: Config,
    model: Model,
}

impl Pair {
    fn step(&mut self, action: &Action) {
        match action {
            Action::Do(write) => self.same(&self.model.write_op(write)),
            Action::Txn(choice) => self.same(&self.model.txn_op(choice)),
            Action::Get(name) => self.same(&op(op::Kind::Get(GetOp {
                key: key(*name),
                with_claim: false,
                raw: false,
            }))),
            Action::BatchGet(names) => {
                let keys = names.iter().filter_map(|name| key(*name)).collect();
                self.same(&op(op::Kind::BatchGet(BatchGetOp { keys, raw: false })));
            }
            Action::Scan(scan) => self.scan(scan),
            Action::Expire(name) => self.expire(*name),
            Action::Reopen => self.reopen(false),
            Action::ReopenWithoutView => self.reopen(true),
        }
    }

    /// Does an operation on both, and compares the answers.
    fn same(&mut self, op: &Op) {
        let answer = self.store.execute(NAMESPACE, op.clone());
        let expected = self.model.execute(op);
        match (answer, expected) {
            (Ok(kind), Ok(expected)) => assert_eq!(without_times(kind), expected, "{op:?}"),
            (Err(error), Err(expected)) => {
                assert_eq!(error.reason(), expected.reason, "{op:?}: {error}");
                assert_eq!(
                    error.current.map(record_without_time),
                    expected.current,
                    "{op:?}"
                );
            }
            (answer, expected) => panic!("{op:?}: {answer:?}, expected {expected:?}"),
        }
    }

    /// All pages of a scan, one by one, and together.
    fn scan(&mut self, scan: &Scan) {
        let mut next = ScanOp {
            collection: scan.collection.into(),
            prefix: scan.prefix.clone().into(),
            start: scan.start.clone().into(),
            end: scan.end.clone().into(),
            reverse: scan.reverse,
            limit: scan.limit,
            keys_only: scan.keys_only,
            raw: false,
        };
        let all = self.model.in_range(&next);
        let mut read = Vec::new();
        loop {
            self.same(&op(op::Kind::Scan(next.clone())));
            let page = common::scan(&self.store, next.clone());
            read.extend(page.entries.into_iter().map(|entry| entry.key));
            if !page.more {
                break;
            }
            *(if scan.reverse {
                &mut next.end
            } else {
                &mut next.start
            }) = page.next_key;
        }
        let keys: Vec<Bytes> = all.into_iter().map(|(key, _)| key).collect();
        assert_eq!(read, keys, "all pages of {scan:?}");
    }

    fn expire(&mut self, name: Name) {
        let put = op(op::Kind::Put(PutOp {
            key: key(name),
            value: document(1),
            ttl_ms: 1,
            ..PutOp::default()
        }));
        self.same(&put);
        let get = op(op::Kind::Get(GetOp {
            key: key(name),
            with_claim: false,
            raw: false,
        }));
        while self.store.execute(NAMESPACE, get.clone()).unwrap() != missing() {}
        let delete = op(op::Kind::Delete(DeleteOp {
            key: key(name),
            ..DeleteOp::default()
        }));
        self.model.execute(&delete).unwrap();
        self.same(&get);
    }

    fn reopen(&mut self, without_view: bool) {
        self.store.close();
        // The directory is free once the last store is gone.
        let elsewhere = tempfile::tempdir().unwrap();
        self.store = Store::open(common::config(elsewhere.path(), EngineKind::Memory)).unwrap();
        let view = self.config.data_dir.join("view");
        if without_view && view.exists() {
            std::fs::remove_dir_all(view).unwrap();
        }
        let store = Store::open(self.config.clone()).unwrap();
        std::mem::replace(&mut self.store, store).close();
    }

    fn compare_all(&mut self) {
        common::see_that_the_state_hash_is_right(&self.store);
        for collection in COLLECTIONS {
            for reverse in [false, true] {
                self.scan(&Scan {
                    collection,
                    prefix: Vec::new(),
                    start: Vec::new(),
                    end: Vec::new(),
                    reverse,
                    limit: 0,
                    keys_only: false,
                });
            }
        }
        let status = self.store.status();
        let ours = status.namespaces.first();
        let found = ours.map_or((0, 0), |n| (n.revision, n.records));
        assert_eq!(
            found,
            (self.model.revision, self.model.records.len() as u64)
        );
    }
}

/// What the store should have, as simply as it can be written.
#[derive(Clone, Debug, Default)]
struct Model {
    revision: u64,
    records: BTreeMap<(String, Bytes), Record>,
}

/// Why an operation is refused.
#[derive(Debug)]
struct Refusal {
    reason: Reason,
    current: Option<Record>,
}

impl Model {
    fn execute(&mut self, op: &Op) -> Result<op_result::Kind, Refusal> {
        let mut after = self.clone();
        after.revision += 1;
        let before = &self.records;
        let result = match op.kind.as_ref().unwrap() {
            op::Kind::BatchGet(batch) => {
                let results = batch.keys.iter().map(|key| GetResult {
                    claim: None,
                    record: self.get(key).cloned(),
                });
                return Ok(op_result::Kind::BatchGet(
                    stillpoint_proto::v1::BatchGetResult {
                        results: results.collect(),
                        revision: self.revision,
                    },
                ));
            }
            op::Kind::Scan(scan) => return Ok(op_result::Kind::Scan(self.page(scan))),
            op::Kind::Txn(txn) => after.txn(before, txn)?,
            kind => after.single(before, kind)?,
        };
        if after.records == self.records {
            let revision = self.revision;
            return Ok(match result {
                op_result::Kind::Txn(txn) => op_result::Kind::Txn(TxnResult { revision, ..txn }),
                other => other,
            });
        }
        *self = after;
        Ok(result)
    }

    fn txn(
        &mut self,
        before: &BTreeMap<(String, Bytes), Record>,
        txn: &TxnOp,
    ) -> Result<op_result::Kind, Refusal> {
        let failed = txn.guards.iter().find_map(|guard| {
            let key = guard.key.as_ref().unwrap();
            self.require(key, guard.predicate.as_slice()).err()
        });
        let succeeded = failed.is_none();
        if let Some(refusal) = failed
            && txn.otherwise.is_empty()
        {
            return Err(refusal);
        }
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let results = ops.iter().map(|op| {
            let kind = self.single(before, op.kind.as_ref().unwrap())?;
            Ok(OpResult { kind: Some(kind) })
        });
        let results = results.collect::<Result<_, Refusal>>()?;
        Ok(op_result::Kind::Txn(TxnResult {
            succeeded,
            revision: self.revision,
            results,
        }))
    }

    /// One operation of a commit that began from `before`.
    fn single(
        &mut self,
        before: &BTreeMap<(String, Bytes), Record>,
        kind: &op::Kind,
    ) -> Result<op_result::Kind, Refusal> {
        Ok(match kind {
            op::Kind::Get(get) => op_result::Kind::Get(GetResult {
                claim: None,
                record: self.get(get.key.as_ref().unwrap()).cloned(),
            }),
            op::Kind::Put(put) => {
                let key = put.key.as_ref().unwrap();
                self.require(key, &put.guards)?;
                let expires = u64::from(put.ttl_ms > 0);
                let record = self.written(before, key, put.value.clone(), put.schema(), expires);
                op_result::Kind::Put(PutResult {
                    mod_rev: record.mod_rev,
                    version: record.version,
                })
            }
            op::Kind::Patch(patch) => self.patch(before, patch)?,
            op::Kind::Delete(delete) => {
                let key = delete.key.as_ref().unwrap();
                self.require(key, &delete.guards)?;
                let existed = self.records.remove(&own(key)).is_some();
                op_result::Kind::Delete(DeleteResult {
                    existed,
                    revision: if existed { self.revision } else { 0 },
                })
            }
            other => panic!("not in a model: {other:?}"),
        })
    }

    /// The only patch there is here adds to `n`.
    fn patch(
        &mut self,
        before: &BTreeMap<(String, Bytes), Record>,
        patch: &PatchOp,
    ) -> Result<op_result::Kind, Refusal> {
        let key = patch.key.as_ref().unwrap();
        self.require(key, &patch.guards)?;
        let current = self.get(key).cloned();
        if current.is_none() && !patch.create {
            return Err(Refusal {
                reason: Reason::VersionConflict,
                current: None,
            });
        }
        let Some(patch_step::Kind::Add(add)) = &patch.steps[0].kind else {
            panic!("not in a model: {patch:?}")
        };
        let number = |bytes: &Bytes| notation::decode(bytes).as_i64().unwrap();
        let n = current.as_ref().map_or(0, n_of) + number(&add.delta);
        if !add.max.is_empty() && n > number(&add.max) {
            return Err(Refusal {
                reason: Reason::BoundViolation,
                current: None,
            });
        }
        let (schema, expires) = current.map_or((0, 0), |r| (r.schema, r.expires_at_ms));
        let record = self.written(before, key, document(n), schema, expires);
        Ok(op_result::Kind::Patch(PatchResult {
            mod_rev: record.mod_rev,
            version: record.version,
            step_results: vec![notation::encode(&n.into()).into()],
            record: Some(record),
        }))
    }

    fn written(
        &mut self,
        before: &BTreeMap<(String, Bytes), Record>,
        key: &RecordKey,
        value: Bytes,
        schema: u32,
        expires_at_ms: u64,
    ) -> Record {
        let (create_rev, version) = match self.records.get(&own(key)) {
            // The second time in one commit.
            Some(now) if now.mod_rev == self.revision => (now.create_rev, now.version),
            Some(_) => (before[&own(key)].create_rev, before[&own(key)].version + 1),
            None => (self.revision, 1),
        };
        let record = Record {
            value,
            create_rev,
            mod_rev: self.revision,
            version,
            schema,
            expires_at_ms,
            unreadable: String::new(),
        };
        self.records.insert(own(key), record.clone());
        record
    }

    fn get(&self, key: &RecordKey) -> Option<&Record> {
        self.records.get(&own(key))
    }

    fn require(&self, key: &RecordKey, guards: &[Predicate]) -> Result<(), Refusal> {
        let current = self.get(key);
        let holds = |guard: &Predicate| match guard.test.as_ref().unwrap() {
            Test::Exists(exists) => current.is_some() == *exists,
            Test::ModRev(revision) => current.map_or(0, |r| r.mod_rev) == *revision,
            Test::Version(version) => current.map_or(0, |r| r.version) == *version,
            Test::Field(field) => {
                let limit = notation::decode(&field.value).as_i64().unwrap();
                current.is_some_and(|record| n_of(record) < limit)
            }
        };
        if guards.iter().all(holds) {
            return Ok(());
        }
        Err(Refusal {
            reason: Reason::VersionConflict,
            current: current.cloned(),
        })
    }

    /// All records that a scan would give without limits, in its order.
    fn in_range(&self, scan: &ScanOp) -> Vec<(Bytes, Record)> {
        let records = self.records.iter().filter(|((collection, key), _)| {
            *collection == scan.collection
                && key.starts_with(&scan.prefix)
                && *key >= scan.start
                && (scan.end.is_empty() || *key < scan.end)
        });
        let mut found: Vec<_> = records
            .map(|((_, key), record)| (key.clone(), record.clone()))
            .collect();
        if scan.reverse {
            found.reverse();
        }
        found
    }

    fn page(&self, scan: &ScanOp) -> ScanResult {
        let found = self.in_range(scan);
        let limit = match scan.limit as usize {
            0 => PAGE,
            limit => limit.min(PAGE),
        };
        let entries = found.iter().take(limit).map(|(key, record)| {
            let mut record = record.clone();
            if scan.keys_only {
                record.value = Bytes::new();
            }
            ScanEntry {
                key: key.clone(),
                record: Some(record),
            }
        });
        let next = match (found.get(limit), scan.reverse) {
            (Some(_), true) => Some(&found[limit - 1].0),
            (next, _) => next.map(|(key, _)| key),
        };
        ScanResult {
            entries: entries.collect(),
            more: next.is_some(),
            next_key: next.cloned().unwrap_or_default(),
            revision: self.revision,
        }
    }

    fn write_op(&self, write: &Write) -> Op {
        op(match write {
            Write::Put {
                name,
                n,
                expires,
                schema,
                guard,
            } => op::Kind::Put(PutOp {
                key: key(*name),
                value: document(*n),
                guards: self.predicates(*name, guard),
                ttl_ms: if *expires { 3_600_000 } else { 0 },
                schema: Some(*schema),
            }),
            Write::Add {
                name,
                n,
                max,
                create,
                guard,
            } => {
                let number = |n: i64| Bytes::from(notation::encode(&n.into()));
                let add = AddStep {
                    path: Some(n_path()),
                    delta: number(*n),
                    max: max.map(number).unwrap_or_default(),
                    ..AddStep::default()
                };
                op::Kind::Patch(PatchOp {
                    key: key(*name),
                    steps: vec![PatchStep {
                        kind: Some(patch_step::Kind::Add(add)),
                    }],
                    guards: self.predicates(*name, guard),
                    create: *create,
                    return_record: true,
                    ..PatchOp::default()
                })
            }
            Write::Delete { name, guard } => op::Kind::Delete(DeleteOp {
                key: key(*name),
                guards: self.predicates(*name, guard),
            }),
            Write::Get { name } => op::Kind::Get(GetOp {
                key: key(*name),
                with_claim: false,
                raw: false,
            }),
        })
    }

    fn txn_op(&self, choice: &Choice) -> Op {
        let ops = |writes: &[Write]| writes.iter().map(|write| self.write_op(write)).collect();
        let guards = choice.guards.iter().map(|(name, test)| Guard {
            key: key(*name),
            predicate: Some(self.predicate(*name, test)),
        });
        op(op::Kind::Txn(TxnOp {
            guards: guards.collect(),
            then: ops(&choice.then),
            otherwise: ops(&choice.otherwise),
        }))
    }

    fn predicates(&self, name: Name, guard: &Option<Condition>) -> Vec<Predicate> {
        guard
            .iter()
            .map(|test| self.predicate(name, test))
            .collect()
    }

    fn predicate(&self, name: Name, test: &Condition) -> Predicate {
        let current = self.get(&key(name).unwrap());
        Predicate {
            test: Some(match test {
                Condition::Exists(exists) => Test::Exists(*exists),
                Condition::Revision { wrong } => {
                    Test::ModRev(current.map_or(0, |r| r.mod_rev) + u64::from(*wrong))
                }
                Condition::Version { wrong } => {
                    Test::Version(current.map_or(0, |r| r.version) + u64::from(*wrong))
                }
                Condition::Less(limit) => Test::Field(FieldPredicate {
                    path: Some(n_path()),
                    comparison: Comparison::Less.into(),
                    value: notation::encode(&(*limit).into()).into(),
                    index_base: 0,
                }),
            }),
        }
    }
}

fn key((collection, key): Name) -> Option<RecordKey> {
    common::key(collection, key)
}

fn own(key: &RecordKey) -> (String, Bytes) {
    (key.collection.clone(), key.key.clone())
}

fn document(n: i64) -> Bytes {
    let map = Value::Map(vec![("n".into(), n.into())]);
    notation::encode(&map).into()
}

fn n_path() -> Path {
    Path {
        segments: vec![PathSegment {
            segment: Some(Segment::Field("n".into())),
        }],
    }
}

fn n_of(record: &Record) -> i64 {
    common::count_of(Some(record))
}

fn missing() -> op_result::Kind {
    op_result::Kind::Get(GetResult::default())
}

/// Whether a record expires, but not when: that depends on the clock.
fn record_without_time(mut record: Record) -> Record {
    record.expires_at_ms = record.expires_at_ms.min(1);
    record
}

fn without_times(kind: op_result::Kind) -> op_result::Kind {
    use op_result::Kind;
    let get = |result: GetResult| GetResult {
        claim: None,
        record: result.record.map(record_without_time),
    };
    match kind {
        Kind::Get(result) => Kind::Get(get(result)),
        Kind::BatchGet(mut batch) => {
            batch.results = batch.results.into_iter().map(get).collect();
            Kind::BatchGet(batch)
        }
        Kind::Patch(mut patch) => {
            patch.record = patch.record.map(record_without_time);
            Kind::Patch(patch)
        }
        Kind::Scan(mut page) => {
            for entry in &mut page.entries {
                entry.record = entry.record.take().map(record_without_time);
            }
            Kind::Scan(page)
        }
        Kind::Txn(mut txn) => {
            for result in &mut txn.results {
                result.kind = result.kind.take().map(without_times);
            }
            Kind::Txn(txn)
        }
        other => other,
    }
}
