//! Those who write: one record, or several in a transaction.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, rngs::StdRng};
use stillpoint_client::{
    CallOptions, Client, Config,
    v1::{DeleteOp, Op, OpResult, PutOp, RecordKey, TxnOp, op::Kind, op_result},
};

use crate::truth::{Commit, Name, Truth, Written};

/// Longer than any server is away.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where is written. The collections have the same keys.
pub const COLLECTIONS: [&str; 2] = ["left", "right"];

/// Keys are `p/0`, ..., `q/0`, ...
pub const PREFIXES: [&str; 2] = ["p/", "q/"];

/// Most bytes of a value that is not large.
const VALUE_BYTES_MAX: usize = 1500;

/// Keys with one prefix.
const KEYS: u32 = 12;

/// A client that waits for a server that is away.
pub fn patient(url: &str) -> Config {
    Config {
        deadline: DEADLINE,
        connect_patience: DEADLINE,
        ..Config::new(url, "world")
    }
}

/// One that writes.
pub struct Writer<'a> {
    client: &'a Client,
    truth: &'a Truth,
    session: Arc<str>,
}

impl<'a> Writer<'a> {
    /// One with this client.
    pub fn new(client: &'a Client, truth: &'a Truth) -> Self {
        let session = client.session().map_or_else(String::new, |s| s.id);
        Writer {
            client,
            truth,
            session: session.into(),
        }
    }

    /// Does so many random commits.
    pub fn write(&self, mut random: StdRng, commits: usize) {
        for _ in 0..commits {
            let records = match random.random_ratio(2, 3) {
                true => 1,
                false => random.random_range(2..5),
            };
            let mut changes = BTreeMap::new();
            while changes.len() < records {
                let is_put = random.random_ratio(4, 5);
                let bytes = random.random_range(0..VALUE_BYTES_MAX);
                changes.insert(some_name(&mut random), is_put.then_some(bytes));
            }
            self.commit(changes);
        }
    }

    /// Writes that many records of so many bytes as one commit.
    pub fn write_large(&self, records: usize, bytes: usize) {
        let name = |i| (COLLECTIONS[i % 2], format!("large/{i}"));
        self.commit((0..records).map(|i| (name(i), Some(bytes))).collect());
    }

    /// Commits puts of so many bytes, and deletions, and takes in what was changed.
    fn commit(&self, changes: BTreeMap<Name, Option<usize>>) {
        let changes: Vec<_> = changes
            .into_iter()
            .map(|(name, bytes)| (name, bytes.map(|bytes| (self.truth.number(), bytes))))
            .collect();
        let mut ops: Vec<Op> = changes.iter().map(|(name, put)| op(name, *put)).collect();
        let op = match ops.len() {
            1 => ops.remove(0),
            _ => Op {
                kind: Some(Kind::Txn(TxnOp {
                    then: ops,
                    ..TxnOp::default()
                })),
            },
        };
        let reply = self.client.call(op, CallOptions::default());
        let (mut revision, results) = match reply.expect("writes are repeated").kind {
            op_result::Kind::Txn(txn) => (txn.revision, txn.results),
            kind => (0, vec![OpResult { kind: Some(kind) }]),
        };
        let mut commit = Commit {
            session: self.session.clone(),
            changes: BTreeMap::new(),
        };
        for ((name, put), result) in changes.into_iter().zip(results) {
            let written = match (put, result.kind) {
                (Some((number, _)), Some(op_result::Kind::Put(put))) => {
                    revision = put.mod_rev;
                    let version = put.version;
                    Some(Written { number, version })
                }
                (None, Some(op_result::Kind::Delete(delete))) if delete.existed => {
                    revision = delete.revision;
                    None
                }
                // There was nothing to delete.
                (None, Some(op_result::Kind::Delete(_))) => continue,
                (_, other) => panic!("not the answer to a write: {other:?}"),
            };
            commit.changes.insert(name, written);
        }
        if !commit.changes.is_empty() {
            self.truth.add(revision, commit);
        }
    }
}

fn op((collection, key): &Name, put: Option<(u64, usize)>) -> Op {
    let key = Some(RecordKey {
        collection: (*collection).into(),
        key: key.clone().into(),
    });
    let kind = match put {
        None => Kind::Delete(DeleteOp {
            key,
            ..DeleteOp::default()
        }),
        Some((number, bytes)) => Kind::Put(PutOp {
            key,
            value: value(number, bytes).into(),
            ..PutOp::default()
        }),
    };
    Op { kind: Some(kind) }
}

/// The number that a value begins with.
///
/// # Panics
///
/// If it is no value of a writer.
pub fn number_of(mut value: &[u8]) -> u64 {
    let value = rmpv::decode::read_value(&mut value).expect("the store keeps MessagePack");
    let (number, _) = value
        .as_str()
        .expect("a text")
        .split_once(' ')
        .expect("a blank");
    number.parse().expect("a number")
}

/// A text that begins with a number and has this many bytes behind it.
fn value(number: u64, bytes: usize) -> Vec<u8> {
    let text = format!("{number} {}", "x".repeat(bytes));
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, &text.into()).expect("writing to memory");
    out
}

fn some_name(random: &mut StdRng) -> Name {
    let collection = COLLECTIONS[random.random_range(0..COLLECTIONS.len())];
    let prefix = PREFIXES[random.random_range(0..PREFIXES.len())];
    (
        collection,
        format!("{prefix}{}", random.random_range(0..KEYS)),
    )
}
