//! A write that is sent again gets its first answer and is not applied again: at once, after a restart, from any engine.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{
    Durability, Op, OpResult, PatchOp, Predicate, PutOp, Reason, TxnOp, op, op_result::Kind,
    predicate::Test,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::{
        Store,
        request::{Job, WriteItem, WriterKey},
    },
};

use crate::common::{
    Content, ENGINES, NAMESPACE, add, config, delete, get, key, kind_of, op, put, txn, value,
};

/// A write with its number.
fn item(sequence: u64, first_incomplete: u64, op: Op) -> WriteItem {
    WriteItem {
        op,
        writer: Some(WriterKey {
            id: Bytes::from_static(b"one writer"),
            sequence,
            first_incomplete,
        }),
        once: None,
        durability: Durability::Unspecified,
        deadline: None,
    }
}

/// Submits writes together and waits for their answers.
fn submit(store: &Store, items: Vec<WriteItem>) -> Vec<OpResult> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    store.submit(Job {
        namespace: Arc::from(NAMESPACE),
        session: Arc::from(""),
        fence: 0,
        items,
        reply: Box::new(move |answers| drop(sender.send(answers))),
    });
    receiver.recv().unwrap().results
}

fn send(store: &Store, sequence: u64, first_incomplete: u64, op: Op) -> OpResult {
    submit(store, vec![item(sequence, first_incomplete, op)]).remove(0)
}

fn reason(result: &OpResult) -> Option<Reason> {
    match kind_of(result) {
        Kind::Error(error) => Some(error.reason()),
        _ => None,
    }
}

/// Every kind of write that can be remembered.
fn writes() -> Vec<Op> {
    let expiring = PutOp {
        key: key("c", "expiring"),
        value: value(r#"{"x": 1}"#),
        ttl_ms: 3_600_000,
        schema: Some(7),
        ..PutOp::default()
    };
    let absent = Predicate {
        test: Some(Test::Exists(false)),
    };
    let inserted = PutOp {
        key: key("c", "inserted"),
        value: value("1"),
        guards: vec![absent],
        ..PutOp::default()
    };
    let many_steps = match add("doc", 2).kind {
        Some(op::Kind::Patch(patch)) => PatchOp {
            steps: [patch.steps.clone(), patch.steps.clone()].concat(),
            return_record: false,
            ..patch
        },
        _ => unreachable!("an addition is a patch"),
    };
    let choice = TxnOp {
        then: vec![
            get("doc"),
            add("doc", 100),
            delete("a"),
            get("a"),
            put("b", "[1, 2]"),
        ],
        ..TxnOp::default()
    };
    vec![
        put("a", r#""text""#),
        op(op::Kind::Put(expiring)),
        op(op::Kind::Put(inserted)),
        add("doc", 5),
        op(op::Kind::Patch(many_steps)),
        op(op::Kind::Txn(choice)),
        txn(vec![get("doc"), put("only", "1")]),
        delete("b"),
    ]
}

#[test]
fn each_kind_of_write_gets_its_first_answer_again_byte_by_byte_also_after_restarts() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(config(dir.path(), engine)).unwrap();
        let first: Vec<OpResult> = (1..)
            .zip(writes())
            .map(|(n, op)| send(&store, n, 1, op))
            .collect();
        assert!(
            first.iter().all(|result| reason(result).is_none()),
            "{first:?}"
        );
        let content = Content::of(&store);
        for restarts in 0..3 {
            // In any order, one by one and together.
            for (n, op) in (1..).zip(writes()).collect::<Vec<_>>().into_iter().rev() {
                let again = send(&store, n, 1, op);
                let expected = &first[n as usize - 1];
                assert_eq!(
                    again.encode_to_vec(),
                    expected.encode_to_vec(),
                    "{engine:?}, write {n} after {restarts} restarts: {again:?} is not {expected:?}"
                );
            }
            let all = (1..).zip(writes()).map(|(n, op)| item(n, 1, op));
            assert_eq!(submit(&store, all.collect()), first);
            assert_eq!(
                Content::of(&store),
                content,
                "{engine:?}: nothing was applied again"
            );
            store.close();
            drop(store);
            store = Store::open(config(dir.path(), engine)).unwrap();
        }
        store.close();
    }
}

#[test]
fn a_write_sent_twice_in_one_batch_is_applied_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path(), EngineKind::Memory)).unwrap();
    let results = submit(
        &store,
        vec![item(1, 1, add("n", 1)), item(1, 1, add("n", 1))],
    );
    assert_eq!(results[0], results[1]);
    assert_eq!(Content::of(&store).revision, 1);
    store.close();
}

#[test]
fn an_answer_is_not_found_under_another_writer_or_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path(), EngineKind::Memory)).unwrap();
    let mut other = item(1, 1, add("n", 1));
    other.writer.as_mut().unwrap().id = Bytes::from_static(b"another");
    let items = vec![item(1, 1, add("n", 1)), item(2, 1, add("n", 1)), other];
    submit(&store, items);
    assert_eq!(Content::of(&store).revision, 3);
    store.close();
}

#[test]
fn a_write_that_was_refused_is_refused_again_even_if_it_would_be_possible_now() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path(), EngineKind::Memory)).unwrap();
    let Some(op::Kind::Patch(patch)) = add("n", 1).kind else {
        unreachable!("an addition is a patch")
    };
    let patch = op(op::Kind::Patch(PatchOp {
        create: false,
        ..patch
    }));
    let refused = send(&store, 1, 1, patch.clone());
    assert_eq!(reason(&refused), Some(Reason::VersionConflict));
    send(&store, 2, 1, put("n", r#"{"n": 1}"#));
    let before = Content::of(&store);
    assert_eq!(send(&store, 1, 1, patch.clone()), refused);
    assert_eq!(Content::of(&store), before);
    // The writer has to send it as a new one.
    assert_eq!(reason(&send(&store, 3, 1, patch)), None);
    store.close();
}

#[test]
fn a_repeat_below_first_incomplete_is_refused_also_after_a_restart() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(config(dir.path(), engine)).unwrap();
        send(&store, 1, 1, add("n", 1));
        send(&store, 2, 1, add("n", 1));
        send(&store, 3, 3, add("n", 1));
        for _ in 0..2 {
            for sequence in [1, 2] {
                let again = send(&store, sequence, 1, add("n", 1));
                assert_eq!(reason(&again), Some(Reason::Invalid), "{again:?}");
            }
            assert_eq!(reason(&send(&store, 3, 3, add("n", 1))), None);
            assert_eq!(Content::of(&store).revision, 3, "nothing was applied again");
            store.close();
            drop(store);
            store = Store::open(config(dir.path(), engine)).unwrap();
        }
        store.close();
    }
}

#[test]
fn a_write_that_says_of_itself_that_it_was_answered_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path(), EngineKind::Memory)).unwrap();
    // Of a writer that the store does not know.
    let result = send(&store, 3, 5, add("n", 1));
    assert_eq!(reason(&result), Some(Reason::Invalid), "{result:?}");
    assert_eq!(Content::of(&store).revision, 0);
    store.close();
}

fn few_answers(dir: &std::path::Path) -> Config {
    let mut config = config(dir, EngineKind::Memory);
    config.log.dedup_entries = 4;
    config
}

#[test]
fn a_write_beyond_the_answers_that_are_remembered_is_refused_and_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(few_answers(dir.path())).unwrap();
    for sequence in 1..=4 {
        assert_eq!(reason(&send(&store, sequence, 1, add("n", 1))), None);
    }
    for _ in 0..2 {
        let refused = send(&store, 5, 1, add("n", 1));
        assert_eq!(reason(&refused), Some(Reason::Quota), "{refused:?}");
        // What is remembered stays so.
        assert_eq!(reason(&send(&store, 1, 1, add("n", 1))), None);
        assert_eq!(Content::of(&store).revision, 4);
        store.close();
        drop(store);
        store = Store::open(few_answers(dir.path())).unwrap();
    }
    // Once the writer says what it has got, there is room.
    assert_eq!(reason(&send(&store, 5, 3, add("n", 1))), None);
    assert_eq!(Content::of(&store).revision, 5);
    store.close();
}

#[test]
fn a_malformed_idempotency_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path(), EngineKind::Memory)).unwrap();
    for (id, sequence) in [(&b""[..], 1), (&[7; 65], 1), (&[7; 16], 0)] {
        let mut item = item(sequence, 0, put("a", "1"));
        item.writer.as_mut().unwrap().id = Bytes::from_static(Box::leak(id.into()));
        let result = submit(&store, vec![item]).remove(0);
        assert_eq!(reason(&result), Some(Reason::Invalid), "{result:?}");
    }
    assert_eq!(Content::of(&store).revision, 0);
    store.close();
}
