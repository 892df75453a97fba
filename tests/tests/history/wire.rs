//! From the history's language to the contract's and back.

use stillpoint_client::{
    Outcome,
    v1::{
        self, AddStep, BatchGetOp, DeleteOp, GetOp, OpResult, PatchOp, PatchStep, Path,
        PathSegment, Predicate, PutOp, Reason, RecordKey, ScanOp, StoreError, TxnOp, op, op_result,
        patch_step, path_segment::Segment, predicate::Test,
    },
};

use crate::language::{Answer, Document, Guard, KEYS, Key, Op, Record, Step, Told};

const COLLECTION: &str = "history";

/// The operation as it is sent.
pub fn encode(op: &Op) -> v1::Op {
    let kind = match op {
        Op::One(step) => return encode_step(step),
        Op::BatchGet(keys) => op::Kind::BatchGet(BatchGetOp {
            keys: keys.iter().copied().map(record_key).collect(),
            ..BatchGetOp::default()
        }),
        Op::Scan => op::Kind::Scan(ScanOp {
            collection: COLLECTION.into(),
            ..ScanOp::default()
        }),
        Op::Txn {
            guards,
            then,
            otherwise,
        } => op::Kind::Txn(TxnOp {
            guards: guards.iter().map(encode_guard).collect(),
            then: then.iter().map(encode_step).collect(),
            otherwise: otherwise.iter().map(encode_step).collect(),
        }),
    };
    v1::Op { kind: Some(kind) }
}

/// What the client was told.
pub fn decode(outcome: Outcome) -> Told {
    let revision = outcome.as_ref().map_or(0, |reply| reply.header.revision);
    let answer = match outcome {
        Ok(reply) => decode_kind(&reply.kind),
        Err(error) => decode_error(&error),
    };
    Told {
        revision,
        answer: answer.unwrap_or_else(Answer::Failed),
    }
}

fn encode_step(step: &Step) -> v1::Op {
    let kind = match step {
        Step::Get(key) => op::Kind::Get(GetOp {
            key: Some(record_key(*key)),
            ..GetOp::default()
        }),
        Step::Put {
            key,
            document,
            guard,
        } => op::Kind::Put(PutOp {
            key: Some(record_key(*key)),
            value: encode_document(document).into(),
            guards: guard.iter().map(encode_predicate).collect(),
            ..PutOp::default()
        }),
        Step::Add { key, delta, min } => op::Kind::Patch(PatchOp {
            key: Some(record_key(*key)),
            steps: vec![encode_add(*delta, *min)],
            create: true,
            return_record: true,
            ..PatchOp::default()
        }),
        Step::Delete { key, guard } => op::Kind::Delete(DeleteOp {
            key: Some(record_key(*key)),
            guards: guard.iter().map(encode_predicate).collect(),
        }),
    };
    v1::Op { kind: Some(kind) }
}

fn encode_add(delta: i64, min: Option<i64>) -> PatchStep {
    let number = |n: i64| to_bytes(&n.into()).into();
    let segment = Some(Segment::Field("n".into()));
    let step = AddStep {
        path: Some(Path {
            segments: vec![PathSegment { segment }],
        }),
        delta: number(delta),
        min: min.map(number).unwrap_or_default(),
        ..AddStep::default()
    };
    PatchStep {
        kind: Some(patch_step::Kind::Add(step)),
    }
}

fn encode_guard((key, guard): &(Key, Guard)) -> v1::Guard {
    v1::Guard {
        key: Some(record_key(*key)),
        predicate: Some(encode_predicate(guard)),
    }
}

fn encode_predicate(guard: &Guard) -> Predicate {
    let test = match *guard {
        Guard::ModRev(revision) => Test::ModRev(revision),
        Guard::Exists(exists) => Test::Exists(exists),
    };
    Predicate { test: Some(test) }
}

fn record_key(key: Key) -> RecordKey {
    RecordKey {
        collection: COLLECTION.into(),
        key: vec![b'0' + key].into(),
    }
}

fn decode_kind(kind: &op_result::Kind) -> Result<Answer, String> {
    Ok(match kind {
        op_result::Kind::Get(get) => Answer::Got(decode_record(get.record.as_ref())?),
        op_result::Kind::BatchGet(batch) => Answer::GotAll {
            revision: batch.revision,
            records: batch
                .results
                .iter()
                .map(|result| decode_record(result.record.as_ref()))
                .collect::<Result<_, _>>()?,
        },
        op_result::Kind::Scan(scan) => {
            let mut records = vec![None; KEYS.into()];
            for entry in &scan.entries {
                let key = decode_key(&entry.key)?;
                records[usize::from(key)] = decode_record(entry.record.as_ref())?;
            }
            Answer::GotAll {
                revision: scan.revision,
                records,
            }
        }
        op_result::Kind::Put(put) => Answer::Put {
            mod_rev: put.mod_rev,
            version: put.version,
        },
        op_result::Kind::Patch(patch) => {
            let record =
                decode_record(patch.record.as_ref())?.ok_or("a patch without its record")?;
            if (record.mod_rev, record.version) != (patch.mod_rev, patch.version) {
                return Err(format!("a patch that contradicts its record: {patch:?}"));
            }
            Answer::Added(record)
        }
        op_result::Kind::Delete(delete) => Answer::Deleted {
            existed: delete.existed,
            revision: delete.revision,
        },
        op_result::Kind::Txn(txn) => Answer::Done {
            succeeded: txn.succeeded,
            revision: txn.revision,
            results: txn
                .results
                .iter()
                .map(decode_result)
                .collect::<Result<_, _>>()?,
        },
        other => return Err(format!("an answer that nobody asked for: {other:?}")),
    })
}

fn decode_result(result: &OpResult) -> Result<Answer, String> {
    decode_kind(result.kind.as_ref().ok_or("an answer without a kind")?)
}

fn decode_error(error: &StoreError) -> Result<Answer, String> {
    match error.reason() {
        Reason::VersionConflict => {
            let key = error.key.as_ref().ok_or("a conflict without its record")?;
            Ok(Answer::Conflict {
                key: decode_key(&key.key)?,
                current: decode_record(error.current.as_ref())?,
            })
        }
        Reason::BoundViolation => Ok(Answer::OutOfBounds),
        _ => Err(error.to_string()),
    }
}

fn decode_key(key: &[u8]) -> Result<Key, String> {
    match key {
        &[byte] if (b'0'..b'0' + KEYS).contains(&byte) => Ok(byte - b'0'),
        _ => Err(format!("a key that nobody wrote: {}", key.escape_ascii())),
    }
}

fn decode_record(record: Option<&v1::Record>) -> Result<Option<Record>, String> {
    let Some(record) = record else {
        return Ok(None);
    };
    Ok(Some(Record {
        document: decode_document(&record.value)?,
        create_rev: record.create_rev,
        mod_rev: record.mod_rev,
        version: record.version,
    }))
}

fn encode_document(document: &Document) -> Vec<u8> {
    let entry = |name: &str, value: rmpv::Value| (name.into(), value);
    let entries = vec![
        entry("n", document.n.into()),
        entry("tag", document.tag.into()),
    ];
    to_bytes(&rmpv::Value::Map(entries))
}

fn decode_document(mut bytes: &[u8]) -> Result<Document, String> {
    let value = rmpv::decode::read_value(&mut bytes).map_err(|e| e.to_string())?;
    Ok(Document {
        n: value["n"].as_i64().ok_or("a document without its number")?,
        tag: value["tag"].as_u64().unwrap_or(0),
    })
}

fn to_bytes(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("writing to memory");
    bytes
}
