//! What the tests of the store share: settings, operations, the whole content of a store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use stillpoint_proto::v1::{
    AddStep, BatchGetOp, DeleteOp, GetOp, Op, OpResult, PatchOp, PatchStep, PathSegment, PutOp,
    Record, RecordKey, ScanOp, ScanResult, TxnOp, op, op_result, patch_step, path_segment::Segment,
};
use stillpoint_store_server::{
    config::{Config, EngineKind, LogConfig, ViewConfig},
    store::Store,
};

use crate::notation;

/// The namespace of all tests.
pub const NAMESPACE: &str = "world";

/// The engines.
pub const ENGINES: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Memory];

/// Settings for a small store whose segments hold a few commits.
pub fn config(dir: &Path, engine: EngineKind) -> Config {
    Config {
        data_dir: dir.to_owned(),
        log: LogConfig {
            segment_bytes: 800,
            disk_reserve_bytes: 0,
            ..LogConfig::default()
        },
        view: ViewConfig {
            engine,
            cache_bytes: 4 << 20,
            ..ViewConfig::default()
        },
        ..Config::default()
    }
}

/// A record's name.
pub fn key(collection: &str, key: impl Into<Bytes>) -> Option<RecordKey> {
    Some(RecordKey {
        collection: collection.into(),
        key: key.into(),
    })
}

/// An operation.
pub fn op(kind: op::Kind) -> Op {
    Op { kind: Some(kind) }
}

/// A value from its notation.
pub fn value(text: &str) -> Bytes {
    let parsed = notation::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    notation::encode(&parsed).into()
}

/// Reads `c/NAME`.
pub fn get(name: &str) -> Op {
    op(op::Kind::Get(GetOp {
        key: key("c", name.to_owned()),
        with_claim: false,
        raw: false,
    }))
}

/// Reads several records of `c`.
pub fn batch_get(names: &[String]) -> Op {
    let keys = names.iter().filter_map(|name| key("c", name.clone()));
    op(op::Kind::BatchGet(BatchGetOp {
        keys: keys.collect(),
        raw: false,
    }))
}

/// Puts a value, in its notation, to `c/NAME`.
pub fn put(name: &str, text: &str) -> Op {
    op(op::Kind::Put(PutOp {
        key: key("c", name.to_owned()),
        value: value(text),
        ..PutOp::default()
    }))
}

/// Adds to the field `n` of `c/NAME`, which is made if it is missing; answers with the record.
pub fn add(name: &str, delta: i64) -> Op {
    let step = AddStep {
        path: Some(stillpoint_proto::v1::Path {
            segments: vec![PathSegment {
                segment: Some(Segment::Field("n".into())),
            }],
        }),
        delta: value(&delta.to_string()),
        ..AddStep::default()
    };
    op(op::Kind::Patch(PatchOp {
        key: key("c", name.to_owned()),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Add(step)),
        }],
        create: true,
        return_record: true,
        ..PatchOp::default()
    }))
}

/// Deletes `c/NAME`.
pub fn delete(name: &str) -> Op {
    op(op::Kind::Delete(DeleteOp {
        key: key("c", name.to_owned()),
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

/// The number in the field `n` of a record; 0 if it is missing.
pub fn count_of(record: Option<&Record>) -> i64 {
    record.map_or(0, |record| {
        notation::decode(&record.value)["n"].as_i64().unwrap()
    })
}

/// One page of a scan.
pub fn scan(store: &Store, scan: ScanOp) -> ScanResult {
    match store.execute(NAMESPACE, op(op::Kind::Scan(scan))) {
        Ok(op_result::Kind::Scan(page)) => page,
        other => panic!("not the answer to a scan: {other:?}"),
    }
}

/// A result without its envelope.
pub fn kind_of(result: &OpResult) -> &op_result::Kind {
    result.kind.as_ref().expect("a result has a kind")
}

/// All that a store has of the tests' namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Its revision.
    pub revision: u64,
    /// The records of `c`, in order.
    pub records: Vec<(Bytes, Record)>,
}

impl Content {
    /// Reads all of it.
    pub fn of(store: &Store) -> Content {
        let mut content = Content::default();
        let mut next = ScanOp {
            collection: "c".into(),
            ..ScanOp::default()
        };
        loop {
            let page = scan(store, next.clone());
            let records = page.entries.into_iter();
            content
                .records
                .extend(records.map(|entry| (entry.key, entry.record.unwrap())));
            content.revision = page.revision;
            next.start = page.next_key;
            if !page.more {
                break;
            }
        }
        let status = store.status();
        let ours = status.namespaces.iter().find(|n| n.namespace == NAMESPACE);
        assert_eq!(
            ours.map_or(0, |n| n.records),
            content.records.len() as u64,
            "the count of records"
        );
        content
    }
}

/// Copies a directory with all below it, but for sockets and the lock.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let kind = item.file_type().unwrap();
        let to = to.join(item.file_name());
        if kind.is_dir() {
            copy_dir(&item.path(), &to);
        } else if kind.is_file() && item.file_name() != "lock" {
            fs::copy(item.path(), to).unwrap();
        }
    }
}

/// The log's segments, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let listed = stillpoint_store_server::log::segment::list(&dir.join("log"), "log").unwrap();
    listed.into_iter().map(|(_, path)| path).collect()
}

/// The hash that the store keeps up is that of the records it has.
pub fn see_that_the_state_hash_is_right(store: &Store) {
    loop {
        let (kept, counted) = (store.state(), store.counted_state().unwrap());
        // Something may have expired in between.
        if kept.seq == counted.seq {
            return assert_eq!(kept, counted);
        }
    }
}
