//! Answers that are given again, and answers that become larger than what was read.

use bytes::Bytes;
use stillpoint_proto::v1::{
    BatchGetOp, Durability, Op, PatchOp, PatchStep, Reason, ScanOp, SetStep, op,
    op_result::Kind as Done, patch_step,
};
use stillpoint_store_server::store::{
    Store,
    request::{Job, WriteItem, WriterKey},
    session::Session,
};

use crate::{
    sessions::scripts,
    world::{NAMESPACE, World, doc, encode_number, key, path, refused, seen},
};

/// Sends a numbered patch for a session; gives the record that the answer has.
fn patch(store: &Store, session: &Session) -> (u32, crate::world::Doc) {
    let step = SetStep {
        path: Some(path("gold")),
        value: encode_number(6),
    };
    let patch = PatchOp {
        key: Some(key("ann")),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Set(step)),
        }],
        return_record: true,
        ..PatchOp::default()
    };
    let (told, answer) = crossbeam_channel::bounded(1);
    store.submit(Job {
        namespace: NAMESPACE.into(),
        session: session.id.clone(),
        fence: session.fence,
        items: vec![WriteItem {
            op: Op {
                kind: Some(op::Kind::Patch(patch)),
            },
            writer: Some(WriterKey {
                id: Bytes::from_static(b"one writer"),
                sequence: 1,
                first_incomplete: 1,
            }),
            once: None,
            durability: Durability::Unspecified,
            deadline: None,
        }],
        reply: Box::new(move |answers| drop(told.send(answers))),
    });
    match answer.recv().unwrap().results.remove(0).kind {
        Some(Done::Patch(patched)) => seen(Ok(patched.record)),
        other => panic!("not the answer to a patch: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_in_the_callers_version_also_after_a_restart() {
    let world = World::new().await;
    world.publish(scripts());
    let session = world.session("old", None).await.unwrap();
    let mut old = world.holder(&session).await;
    old.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let expected = (0, doc([("gold", 6)]));
    assert_eq!(patch(&world.store, &session), expected, "the first time");
    let revision = world.revision();
    assert_eq!(patch(&world.store, &session), expected, "again");
    drop(old);
    // From the log, where the record has the store's version.
    let world = world.reopen(|_| {}).await;
    assert_eq!(patch(&world.store, &session), expected, "from the log");
    assert_eq!(world.revision(), revision);
    assert_eq!(world.stored("ann"), (1, doc([("gold", 6), ("level", 7)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_becomes_too_large_ends_earlier_and_a_batch_is_refused() {
    const ANSWER_BYTES: usize = 16 << 10;
    let world = World::with(|config| {
        config.limits.value_bytes = ANSWER_BYTES;
        config.limits.message_bytes = 2 * ANSWER_BYTES;
    })
    .await;
    let pad = "return { from = 0, to = 1, up = function(doc) doc.pad = ('x'):rep(2000) end }";
    world.publish([(NAMESPACE, 1, pad.to_owned())]);
    let mut anybody = world.anybody().await;
    let names: Vec<_> = (0..40).map(|n| format!("{n:02}")).collect();
    for name in &names {
        anybody.put(name, &doc([("n", 1)])).await.unwrap();
    }
    world.apply(NAMESPACE, 1);
    for reverse in [false, true] {
        let mut scan = ScanOp {
            collection: crate::world::COLLECTION.into(),
            reverse,
            ..ScanOp::default()
        };
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let Ok(Done::Scan(page)) = anybody.call(op::Kind::Scan(scan.clone())).await else {
                panic!("not the answer to a scan");
            };
            pages += 1;
            let records = page
                .entries
                .iter()
                .filter_map(|entry| entry.record.as_ref());
            let bytes: usize = records.map(|record| record.value.len()).sum();
            assert!(bytes <= ANSWER_BYTES + 3000, "{bytes}");
            let keys = page.entries.iter();
            found.extend(keys.map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()));
            if !page.more {
                break;
            }
            match reverse {
                true => scan.end = page.next_key,
                false => scan.start = page.next_key,
            }
        }
        if reverse {
            found.reverse();
        }
        assert_eq!(found, names);
        assert!(pages >= 5, "{pages}");
    }
    let batch = BatchGetOp {
        keys: names.iter().map(|name| key(name)).collect(),
        raw: false,
    };
    let large = anybody.call(op::Kind::BatchGet(batch.clone())).await;
    refused(large, Reason::TooLarge, &["ask for fewer records"]);
    let raw = BatchGetOp { raw: true, ..batch };
    anybody.call(op::Kind::BatchGet(raw)).await.unwrap();
}
