//! Operations and values as the tests write them, all in one collection. A counter is a document `{"n": 5}`.

use stillpoint_client::v1::{
    AddStep, BatchGetOp, DeleteOp, GetOp, Op, PatchOp, PatchStep, Path, PathSegment, Predicate,
    PutOp, Record, RecordKey, TxnOp, op::Kind, patch_step, path_segment::Segment, predicate::Test,
};

/// A key in the tests' collection.
pub fn key(key: &str) -> RecordKey {
    RecordKey {
        collection: "test".into(),
        key: key.to_owned().into(),
    }
}

/// Reads a record.
pub fn get(name: &str) -> Op {
    op(Kind::Get(GetOp {
        key: Some(key(name)),
        ..GetOp::default()
    }))
}

/// Reads several records as of one revision.
pub fn batch_get<'a>(names: impl IntoIterator<Item = &'a str>) -> Op {
    let keys = names.into_iter().map(key).collect();
    op(Kind::BatchGet(BatchGetOp {
        keys,
        ..BatchGetOp::default()
    }))
}

/// Writes a text.
pub fn put(name: &str, text: &str) -> Op {
    op(Kind::Put(put_op(name, text)))
}

/// Writes a text where there is nothing; done twice, it is refused.
pub fn insert(name: &str, text: &str) -> Op {
    let absent = Predicate {
        test: Some(Test::Exists(false)),
    };
    op(Kind::Put(PutOp {
        guards: vec![absent],
        ..put_op(name, text)
    }))
}

/// Deletes a record.
pub fn delete(name: &str) -> Op {
    op(Kind::Delete(DeleteOp {
        key: Some(key(name)),
        ..DeleteOp::default()
    }))
}

/// Adds to a counter, which is made if it is missing.
pub fn add(name: &str, delta: i64) -> Op {
    let path = Path {
        segments: vec![PathSegment {
            segment: Some(Segment::Field("n".into())),
        }],
    };
    let step = AddStep {
        path: Some(path),
        delta: encode(&delta.into()).into(),
        ..AddStep::default()
    };
    op(Kind::Patch(PatchOp {
        key: Some(key(name)),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Add(step)),
        }],
        create: true,
        ..PatchOp::default()
    }))
}

/// Does all of these as one commit.
pub fn txn(then: Vec<Op>) -> Op {
    op(Kind::Txn(TxnOp {
        then,
        ..TxnOp::default()
    }))
}

/// The text of a record.
///
/// # Panics
///
/// If it is something else.
pub fn text_of(record: &Record) -> String {
    let value = decode(&record.value);
    value.as_str().expect("a text was written").to_owned()
}

/// The number of a counter; 0 if it is missing.
///
/// # Panics
///
/// If the record is something else.
pub fn count_of(record: Option<&Record>) -> i64 {
    let Some(record) = record else { return 0 };
    let value = decode(&record.value);
    value["n"].as_i64().expect("a counter has a number")
}

fn op(kind: Kind) -> Op {
    Op { kind: Some(kind) }
}

fn put_op(name: &str, text: &str) -> PutOp {
    PutOp {
        key: Some(key(name)),
        value: encode(&text.into()).into(),
        ..PutOp::default()
    }
}

fn encode(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("writing to memory");
    bytes
}

fn decode(mut bytes: &[u8]) -> rmpv::Value {
    let value = rmpv::decode::read_value(&mut bytes).expect("the store keeps MessagePack");
    assert!(bytes.is_empty(), "the store keeps one value");
    value
}
