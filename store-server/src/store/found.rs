//! What reads came to, and the answers that are made of it once the reader is gone: the caller's version may need scripts,
//! and those may not hold commits up.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;
use stillpoint_proto::v1::{GetOp, Op, OpResult, StoreError, TxnOp, op, op_result::Kind};

use super::{
    clock::now_ms,
    draft::{Draft, Source},
    evaluate::{Caller, Rules},
    handle::Store,
    index::Index,
    keys,
    read::Room,
    record::Record,
    schema::{Lens, aside_of},
    view::Snapshot,
};

/// What a read came to.
#[derive(Debug)]
pub enum Found {
    /// The answer, with the records as they are stored.
    Answer(OpResult),
    /// The records that a transaction looks at: its guards mean the caller's version.
    Txn(Looked),
}

impl Found {
    /// What an operation came to that was not read.
    pub fn error(error: StoreError) -> Found {
        Found::Answer(OpResult {
            kind: Some(Kind::Error(error)),
        })
    }

    /// The answer for who sees everything as it is stored.
    pub fn as_stored(self) -> Option<OpResult> {
        match self {
            Found::Answer(result) => Some(result),
            Found::Txn(_) => None,
        }
    }

    /// About how many bytes it has.
    pub fn bytes(&self) -> usize {
        use prost::Message;
        match self {
            Found::Answer(result) => result.encoded_len(),
            Found::Txn(looked) => looked.bytes(),
        }
    }

    /// About how many of its records have another version than the caller's. Nothing is left out.
    fn foreign(&self, lens: &Lens, op: &Op) -> usize {
        match (self, &op.kind) {
            (Found::Answer(OpResult { kind: Some(kind) }), Some(op)) => lens.foreign(op, kind),
            (Found::Answer(_), _) => 0,
            (Found::Txn(looked), _) => looked.records.len(),
        }
    }
}

/// Records of one revision, by view key.
#[derive(Debug)]
pub struct Looked {
    records: HashMap<Bytes, Result<Option<Record>, StoreError>>,
    revision: u64,
}

impl Looked {
    /// Those that a transaction looks at, as far as they fit into answers: what does not is the error of who comes to it.
    pub(super) fn new(
        snapshot: &Snapshot<'_>,
        namespace: &str,
        txn: &TxnOp,
        bytes_max: usize,
    ) -> Looked {
        let mut records = HashMap::new();
        let gets = |ops: &[Op]| -> Vec<_> {
            let keys = ops.iter().filter_map(|op| match &op.kind {
                Some(op::Kind::Get(GetOp { key, .. })) => key.clone(),
                _ => None,
            });
            keys.collect()
        };
        let guards = txn.guards.iter().filter_map(|guard| guard.key.clone());
        // Only one of the two lists of operations is answered.
        for names in [guards.collect(), gets(&txn.then), gets(&txn.otherwise)] {
            let mut room = Room::new(bytes_max);
            for name in names {
                let key = keys::record(namespace, &name.collection, &name.key);
                if let Entry::Vacant(vacant) = records.entry(key) {
                    let record = snapshot.record(vacant.key()).and_then(|record| {
                        room.take_bytes(record.as_ref().map_or(0, |r| r.value.len()))?;
                        Ok(record)
                    });
                    vacant.insert(record);
                }
            }
        }
        Looked {
            records,
            revision: snapshot.revision(namespace),
        }
    }

    fn bytes(&self) -> usize {
        let records = self.records.values().filter_map(|r| r.as_ref().ok());
        records.flatten().map(|record| record.value.len()).sum()
    }
}

impl Source for Looked {
    fn record(&self, key: &Bytes) -> Result<Option<Record>, StoreError> {
        self.records.get(key).cloned().unwrap_or(Ok(None))
    }

    fn revision(&self, _: &str) -> u64 {
        self.revision
    }
}

impl Store {
    /// Answers reads of a namespace in the caller's version. The reader must be gone. Where many records have to be brought
    /// there, other tasks of the thread go on elsewhere meanwhile.
    pub fn answer(&self, namespace: &str, lens: &Lens, reads: Vec<(&Op, Found)>) -> Vec<OpResult> {
        let foreign = reads.iter().map(|(op, found)| found.foreign(lens, op));
        let answer = |(op, found): (&Op, Found)| match found {
            Found::Answer(mut result) => {
                if let Some(op) = &op.kind {
                    lens.result(op, &mut result);
                }
                result
            }
            Found::Txn(looked) => self.answer_txn(namespace, &looked, op, Some(lens)),
        };
        aside_of(foreign.sum(), || reads.into_iter().map(answer).collect())
    }

    /// Answers a transaction that only reads.
    pub(super) fn answer_txn(
        &self,
        namespace: &str,
        source: &dyn Source,
        op: &Op,
        lens: Option<&Lens>,
    ) -> OpResult {
        let mut draft = Draft::new(source, namespace);
        // Who owns what it reads is nothing to it.
        let index = Index::default();
        let evaluated = Rules {
            namespace,
            values: self.shared.validator.values(),
            answer_bytes: self.config().limits.answer_bytes(),
            now_ms: now_ms(),
            caller: Caller::default(),
            index: &index,
            lens,
            config: self.config(),
        }
        .evaluate(&mut draft, op);
        let mut result = evaluated.unwrap_or_else(|error| OpResult {
            kind: Some(Kind::Error(error)),
        });
        if let Some(Kind::Txn(txn)) = &mut result.kind {
            txn.revision = source.revision(namespace);
        }
        result
    }
}
