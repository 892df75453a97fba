//! What an account looks like in each version, and that it looks like nothing else.

use stillpoint_client::{
    CallOptions, Client,
    v1::{
        AddStep, MigrationScript, Op, PatchOp, PatchStep, Path, PathSegment, Predicate, PutOp,
        Record, ScanOp, op::Kind, op_result::Kind as Done, patch_step, path_segment::Segment,
        predicate::Test,
    },
};
use stillpoint_tests::op;

/// The newest version.
pub const NEWEST: u32 = 2;

/// The places of the number: `{ n = 5 }`, `{ amount = 5 }`, `{ purse = { amount = 5 } }`.
const PLACES: [&[&str]; 3] = [&["n"], &["amount"], &["purse", "amount"]];

/// From each version to the next.
const SCRIPTS: [&str; 2] = [
    "return { from = 0, to = 1,
        up = function(doc) doc.amount = doc.n; doc.n = nil end,
        down = function(doc) doc.n = doc.amount; doc.amount = nil end,
        samples = { { n = 5 } } }",
    "return { from = 1, to = 2,
        up = function(doc) doc.purse = { amount = doc.amount }; doc.amount = nil end,
        down = function(doc) doc.amount = doc.purse.amount; doc.purse = nil end,
        samples = { { amount = 5 } } }",
];

/// All scripts, to be published.
pub fn scripts() -> Vec<MigrationScript> {
    let script = |(number, text): (u32, &&str)| MigrationScript {
        namespace: "world".into(),
        collection: "test".into(),
        number,
        name: "form".into(),
        text: (*text).into(),
        ..MigrationScript::default()
    };
    (1..).zip(&SCRIPTS).map(script).collect()
}

/// The number of a record, which must have the form of this version.
///
/// # Panics
///
/// If it has another.
pub fn number(version: u32, record: &Record) -> i64 {
    assert_eq!(
        (record.schema, &*record.unreadable),
        (version, ""),
        "{record:?}"
    );
    let mut bytes = &record.value[..];
    let document = rmpv::decode::read_value(&mut bytes).expect("the store keeps MessagePack");
    let mut value = &document;
    for place in PLACES[version as usize] {
        let fields = value.as_map().expect("it is a map");
        assert_eq!(fields.len(), 1, "for version {version}: {document}");
        assert_eq!(
            fields[0].0.as_str(),
            Some(*place),
            "for version {version}: {document}"
        );
        value = &fields[0].1;
    }
    value.as_i64().expect("it is a number")
}

/// Writes an account in this version, if it is of that revision or, with none, in any case.
pub fn put(version: u32, name: &str, number: i64, mod_rev: Option<u64>) -> Op {
    let mut document = rmpv::Value::from(number);
    for place in PLACES[version as usize].iter().rev() {
        document = rmpv::Value::Map(vec![((*place).into(), document)]);
    }
    let guards = mod_rev.map(|revision| Predicate {
        test: Some(Test::ModRev(revision)),
    });
    Op {
        kind: Some(Kind::Put(PutOp {
            key: Some(op::key(name)),
            value: encode(&document).into(),
            guards: guards.into_iter().collect(),
            ..PutOp::default()
        })),
    }
}

/// Adds to an account, as one does in this version; answered with the record.
pub fn add(version: u32, name: &str, delta: i64) -> Op {
    let segments = PLACES[version as usize].iter().map(|place| PathSegment {
        segment: Some(Segment::Field((*place).into())),
    });
    let step = AddStep {
        path: Some(Path {
            segments: segments.collect(),
        }),
        delta: encode(&delta.into()).into(),
        ..AddStep::default()
    };
    Op {
        kind: Some(Kind::Patch(PatchOp {
            key: Some(op::key(name)),
            steps: vec![PatchStep {
                kind: Some(patch_step::Kind::Add(step)),
            }],
            return_record: true,
            ..PatchOp::default()
        })),
    }
}

/// All accounts.
///
/// # Panics
///
/// If they do not come as of one revision.
pub fn scan(client: &Client, raw: bool) -> Vec<(String, Record)> {
    let scan = Op {
        kind: Some(Kind::Scan(ScanOp {
            collection: "test".into(),
            raw,
            ..ScanOp::default()
        })),
    };
    let answer = client.call(scan, CallOptions::default());
    let Done::Scan(page) = answer.expect("it answers").kind else {
        panic!("not the answer to a scan");
    };
    assert!(!page.more, "they fit into one page");
    let entries = page.entries.into_iter();
    let name = |key: &[u8]| String::from_utf8(key.to_vec()).expect("they are texts");
    entries
        .map(|entry| (name(&entry.key), entry.record.expect("it has a record")))
        .collect()
}

fn encode(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("writing to memory");
    bytes
}
