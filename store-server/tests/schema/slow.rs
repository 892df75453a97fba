//! Scripts that need long: the writer is one, so it does not let everybody wait for them.

use stillpoint_proto::v1::{
    Durability, Op, PatchOp, PatchStep, SetStep, op, op_result::Kind as Done, patch_step,
};
use stillpoint_store_server::store::request::{Job, WriteItem};

use crate::world::{NAMESPACE, World, doc, encode_number, key, path};

fn patch(name: &str) -> WriteItem {
    let step = SetStep {
        path: Some(path("gold")),
        value: encode_number(6),
    };
    let patch = PatchOp {
        key: Some(key(name)),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Set(step)),
        }],
        ..PatchOp::default()
    };
    WriteItem {
        op: Op {
            kind: Some(op::Kind::Patch(patch)),
        },
        writer: None,
        once: None,
        durability: Durability::Unspecified,
        deadline: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_committed_before_more_that_takes_long() {
    let world = World::new().await;
    let slow = "return { from = 0, to = 1, up = function(doc) doc.level = 7 end, down = function(doc) for _ = 1, 9000000 do \
                end doc.level = nil end }";
    world.publish([(NAMESPACE, 1, slow.to_owned())]);
    world.apply(NAMESPACE, 1);
    let names = ["ann", "bob", "cy", "dan"];
    let mut anybody = world.anybody().await;
    for name in names {
        let doc = doc([("gold", 5), ("level", 7)]);
        anybody.put(name, &doc).await.unwrap();
    }
    let session = world.session("old", Some(0)).await.unwrap();
    let before = world.store.status().counters;

    let (told, answer) = crossbeam_channel::bounded(1);
    world.store.submit(Job {
        namespace: NAMESPACE.into(),
        session: session.id.clone(),
        fence: session.fence,
        items: names.map(patch).into(),
        reply: Box::new(move |answers| drop(told.send(answers))),
    });
    let answers = answer.recv().unwrap();
    assert_eq!(answers.results.len(), names.len());
    for result in answers.results {
        assert!(matches!(result.kind, Some(Done::Patch(_))), "{result:?}");
    }
    assert_eq!(answers.revision, world.revision());
    for name in names {
        assert_eq!(world.stored(name), (1, doc([("gold", 6), ("level", 7)])));
    }
    let after = world.store.status().counters;
    assert!(after.syncs >= before.syncs + 2, "{before:?} {after:?}");
}
