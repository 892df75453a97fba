//! Operations that name the version that they mean, also 0: who has read a record without a session writes what he made of it
//! in the version that he was told.

use stillpoint_proto::v1::{
    Comparison, FieldPredicate, PatchOp, PatchStep, Predicate, PutOp, Reason, SetStep, op,
    op_result::Kind as Done, patch_step, predicate::Test,
};

use crate::world::{Doc, NAMESPACE, World, doc, encode, encode_number, key, path, refused, seen};

/// Gold becomes coins, and coins become cents.
fn scripts() -> [(&'static str, u32, String); 2] {
    let rename = "return { from = 0, to = 1, up = function(doc) doc.coins = doc.gold doc.gold = nil end, down = function(doc) \
                  doc.gold = doc.coins doc.coins = nil end }";
    let cents = "return { from = 1, to = 2, up = function(doc) doc.cents = doc.coins * 100 doc.coins = nil end, down = \
                 function(doc) doc.coins = doc.cents // 100 doc.cents = nil end }";
    [
        (NAMESPACE, 1, rename.to_owned()),
        (NAMESPACE, 2, cents.to_owned()),
    ]
}

/// A guard that a field is a number.
fn where_is(field: &str, n: i64) -> Predicate {
    Predicate {
        test: Some(Test::Field(FieldPredicate {
            path: Some(path(field)),
            comparison: Comparison::Equal.into(),
            value: encode_number(n),
            ..FieldPredicate::default()
        })),
    }
}

fn putting(schema: Option<u32>, doc: &Doc, guards: Vec<Predicate>) -> op::Kind {
    op::Kind::Put(PutOp {
        key: Some(key("ann")),
        value: encode(doc),
        schema,
        guards,
        ..PutOp::default()
    })
}

fn setting(schema: Option<u32>, field: &str, n: i64, guards: Vec<Predicate>) -> op::Kind {
    let step = SetStep {
        path: Some(path(field)),
        value: encode_number(n),
    };
    op::Kind::Patch(PatchOp {
        key: Some(key("ann")),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Set(step)),
        }],
        guards,
        return_record: true,
        create: true,
        schema,
        ..PatchOp::default()
    })
}

fn patched(answer: Done) -> (u32, Doc) {
    match answer {
        Done::Patch(patched) => seen(Ok(patched.record)),
        other => panic!("not the answer to a patch: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_means_the_version_that_it_names() {
    let world = World::new().await;
    world.publish(scripts());
    world.apply(NAMESPACE, 2);
    let mut anybody = world.anybody().await;
    let stored = |cents| (2, doc([("cents", cents)]));

    let put = putting(Some(0), &doc([("gold", 5)]), vec![]);
    anybody.call(put).await.unwrap();
    assert_eq!(world.stored("ann"), stored(500));
    let put = putting(Some(1), &doc([("coins", 6)]), vec![where_is("coins", 5)]);
    anybody.call(put).await.unwrap();
    assert_eq!(world.stored("ann"), stored(600));
    let patch = setting(Some(0), "gold", 7, vec![where_is("gold", 6)]);
    let told = patched(anybody.call(patch).await.unwrap());
    assert_eq!(told, (0, doc([("gold", 7)])));
    assert_eq!(world.stored("ann"), stored(700));
    // What names none means the store's.
    let patch = setting(None, "cents", 800, vec![where_is("cents", 700)]);
    let told = patched(anybody.call(patch).await.unwrap());
    assert_eq!(told, stored(800));
    // A session may name another version than its own.
    let session = world.session("old", Some(1)).await.unwrap();
    let mut old = world.holder(&session).await;
    let patch = setting(Some(0), "gold", 9, vec![where_is("gold", 8)]);
    let told = patched(old.call(patch).await.unwrap());
    assert_eq!(told, (0, doc([("gold", 9)])));
    assert_eq!(seen(old.read("ann").await), (1, doc([("coins", 9)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_begins_a_record_begins_it_in_the_version_that_it_names() {
    let world = World::new().await;
    world.publish(scripts());
    world.apply(NAMESPACE, 2);
    let mut anybody = world.anybody().await;
    let patch = setting(Some(0), "gold", 7, vec![]);
    let told = patched(anybody.call(patch).await.unwrap());
    assert_eq!(told, (0, doc([("gold", 7)])));
    assert_eq!(world.stored("ann"), (2, doc([("cents", 700)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_the_record_in_the_version_that_was_named() {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 2);
    for (schema, field, expected) in [
        (Some(0), "gold", (0, doc([("gold", 5)]))),
        (Some(1), "coins", (1, doc([("coins", 5)]))),
        (None, "cents", (2, doc([("cents", 500)]))),
    ] {
        let late = Predicate {
            test: Some(Test::ModRev(99)),
        };
        for guard in [where_is(field, 1), late] {
            for kind in [
                putting(schema, &doc([(field, 1)]), vec![guard.clone()]),
                setting(schema, field, 1, vec![guard.clone()]),
            ] {
                let answer = anybody.call(kind).await;
                let error = refused(answer, Reason::VersionConflict, &["player/ann"]);
                assert_eq!(seen(Ok(error.current)), expected);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_read_before_a_migration_and_writes_after_it_is_understood() {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    let read = anybody.read("ann").await.unwrap().unwrap();
    world.apply(NAMESPACE, 2);
    // The job has not come to it: it is at the revision that was read.
    let is_as_read = Predicate {
        test: Some(Test::ModRev(read.mod_rev)),
    };
    let put = putting(Some(read.schema), &doc([("gold", 6)]), vec![is_as_read]);
    anybody.call(put).await.unwrap();
    assert_eq!(world.stored("ann"), (2, doc([("cents", 600)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_told_as_one_where_there_is_no_way_to_the_version_that_is_named() {
    let world = World::new().await;
    let one_way =
        "return { from = 0, to = 1, up = function(doc) doc.coins = doc.gold doc.gold = nil end }";
    world.publish([(NAMESPACE, 1, one_way.to_owned())]);
    world.apply(NAMESPACE, 1);
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("coins", 5)])).await.unwrap();
    let late = || {
        vec![Predicate {
            test: Some(Test::ModRev(99)),
        }]
    };
    let poor = doc([("gold", 1)]);
    for kind in [
        putting(Some(0), &poor, late()),
        setting(Some(0), "gold", 1, late()),
    ] {
        let answer = anybody.call(kind).await;
        let error = refused(answer, Reason::VersionConflict, &["player/ann", "not 99"]);
        assert_eq!(seen(Ok(error.current)), (1, doc([("coins", 5)])));
    }
    // Who names a version that there is no way to is told that; nothing is wrong with the record.
    for schema in [0, 99] {
        for kind in [
            putting(Some(schema), &poor, vec![]),
            setting(Some(schema), "gold", 1, vec![]),
        ] {
            let answer = anybody.call(kind).await;
            let error = refused(answer, Reason::SchemaUnsupported, &["player/ann"]);
            assert!(!error.message.contains("quarantine"), "{error}");
        }
    }
    assert_eq!(world.stored("ann"), (1, doc([("coins", 5)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_migrations_the_number_is_kept_and_a_patch_leaves_it() {
    let world = World::new().await;
    let mut anybody = world.anybody().await;
    let put = putting(Some(3), &doc([("gold", 5)]), vec![where_is("gold", 5)]);
    refused(anybody.call(put).await, Reason::VersionConflict, &[]);
    for schema in [Some(3), Some(0), None] {
        let put = putting(schema, &doc([("gold", 5)]), vec![]);
        anybody.call(put).await.unwrap();
        let patch = setting(Some(9), "gold", 6, vec![where_is("gold", 5)]);
        let told = patched(anybody.call(patch).await.unwrap());
        assert_eq!(told, (schema.unwrap_or(0), doc([("gold", 6)])));
    }
}
