//! Answers to writes that were done, whatever becomes of their records since.

use bytes::Bytes;
use stillpoint_proto::v1::{
    Durability, GetOp, OnceKey, Op, PatchOp, PatchStep, SetStep, TxnOp, op,
    op_result::Kind as Done, patch_step,
};
use stillpoint_store_server::store::request::{Job, WriteItem};

use crate::world::{NAMESPACE, World, doc, encode_number, key, path};

fn patch() -> op::Kind {
    let step = SetStep {
        path: Some(path("n")),
        value: encode_number(6),
    };
    op::Kind::Patch(PatchOp {
        key: Some(key("ann")),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Set(step)),
        }],
        return_record: true,
        ..PatchOp::default()
    })
}

fn txn() -> op::Kind {
    let get = op::Kind::Get(GetOp {
        key: Some(key("ann")),
        ..GetOp::default()
    });
    let then = [patch(), get].map(|kind| Op { kind: Some(kind) });
    op::Kind::Txn(TxnOp {
        then: then.into(),
        ..TxnOp::default()
    })
}

/// Sends a write that has a name.
fn once(world: &World, name: &'static str, kind: op::Kind) -> Done {
    let (told, answer) = crossbeam_channel::bounded(1);
    world.store.submit(Job {
        namespace: NAMESPACE.into(),
        session: "".into(),
        fence: 0,
        items: vec![WriteItem {
            op: Op { kind: Some(kind) },
            writer: None,
            once: Some(OnceKey {
                name: Bytes::from_static(name.as_bytes()),
                since_revision: 0,
            }),
            durability: Durability::Unspecified,
            deadline: None,
        }],
        reply: Box::new(move |answers| drop(told.send(answers))),
    });
    let result = answer.recv().unwrap().results.remove(0);
    result.kind.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_write_that_was_done_stays_when_its_record_cannot_be_migrated() {
    let world = World::new().await;
    let text = "return { from = 0, to = 1, up = function() error('nobody knows') end }";
    world.publish([(NAMESPACE, 1, text.to_owned())]);
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("n", 5)])).await.unwrap();
    let first = [("one", patch()), ("all", txn())];
    let first = first.map(|(name, kind)| once(&world, name, kind));
    world.apply(NAMESPACE, 1);
    let revision = world.revision();

    let again = [("one", patch()), ("all", txn())];
    let again = again.map(|(name, kind)| once(&world, name, kind));
    let [Done::Patch(was), Done::Txn(all_was)] = first else {
        panic!("not the answers: {first:?}");
    };
    let [Done::Patch(mut is), Done::Txn(mut all_is)] = again else {
        panic!("not the answers: {again:?}");
    };
    let [Some(Done::Patch(one)), Some(Done::Get(other))] =
        [0, 1].map(|n: usize| all_is.results[n].kind.clone())
    else {
        panic!("not the answers: {all_is:?}");
    };
    for record in [&is.record, &one.record, &other.record] {
        let record = record.as_ref().unwrap();
        assert!(record.unreadable.contains("nobody knows"), "{record:?}");
        assert!(record.value.is_empty());
    }
    // All else is as it was told.
    is.record.clone_from(&was.record);
    assert_eq!(is, was);
    all_is.results.clone_from(&all_was.results);
    assert_eq!(all_is, all_was);
    assert_eq!(world.revision(), revision, "nothing is done again");
}
