//! Records that cannot be migrated: what asks for one is refused, what passes it goes on.

use stillpoint_proto::v1::{
    BatchGetOp, Comparison, DeleteOp, FieldPredicate, GetOp, Predicate, PutOp, Reason, op,
    op_result::Kind as Done, predicate::Test,
};

use crate::world::{
    Caller, NAMESPACE, World, doc, encode, encode_number, key, path, putting, refused, seen,
};

/// One that fails for documents without gold.
fn script() -> (&'static str, u32, String) {
    let text = "return { from = 0, to = 1, up = function(doc) if not doc.gold then error('no gold') end doc.coins = doc.gold \
                doc.gold = nil end, down = function(doc) doc.gold = doc.coins doc.coins = nil end }";
    (NAMESPACE, 1, text.to_owned())
}

/// A store with `ann`, who can be migrated, and `bob`, who cannot.
async fn world() -> (World, Caller) {
    let world = World::new().await;
    world.publish([script()]);
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    anybody.put("bob", &doc([("debt", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    (world, anybody)
}

const WHY: [&str; 5] = [
    "player/bob",
    "game/player/0001_step.lua",
    "no gold",
    "stillpoint migrate quarantine",
    "`raw`",
];

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_the_record_are_refused_and_scans_and_watches_go_on() {
    let (world, mut caller) = world().await;
    let ann = (1, doc([("coins", 5)]));
    assert_eq!(seen(caller.read("ann").await), ann);
    // In every way, and in a scan it is told as unreadable.
    let error = refused(caller.read("bob").await, Reason::MigrationFailed, &WHY);
    assert_eq!(error.key, Some(key("bob")));

    let mut watcher = world.watch(&caller, true).await;
    let told = watcher.until(world.revision()).await;
    let names: Vec<_> = told.iter().map(|(_, _, name, _)| name.as_str()).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert_eq!(seen(Ok(told[0].3.clone())), ann);
    let bob = told[1].3.as_ref().unwrap();
    assert_eq!((&*bob.unreadable, bob.value.len()), (&*error.message, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_told_to_who_asks_for_that() {
    let (_world, mut caller) = world().await;
    let get = GetOp {
        key: Some(key("bob")),
        raw: true,
        ..GetOp::default()
    };
    let Ok(Done::Get(found)) = caller.call(op::Kind::Get(get)).await else {
        panic!("it is readable");
    };
    let bob = (0, doc([("debt", 5)]));
    assert_eq!(seen(Ok(found.record)), bob);
    let batch = BatchGetOp {
        keys: vec![key("ann"), key("bob")],
        raw: true,
    };
    let Ok(Done::BatchGet(found)) = caller.call(op::Kind::BatchGet(batch)).await else {
        panic!("they are readable");
    };
    let found: Vec<_> = found
        .results
        .into_iter()
        .map(|r| seen(Ok(r.record)))
        .collect();
    assert_eq!(found, [(0, doc([("gold", 5)])), bob]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_and_a_claim_that_loads_are_refused_and_a_put_mends_it() {
    let (world, mut caller) = world().await;
    let before = world.revision();
    refused(
        caller.set("bob", "coins", 1).await,
        Reason::MigrationFailed,
        &WHY,
    );
    let session = world.session("1", None).await.unwrap();
    let mut holder = world.holder(&session).await;
    refused(
        holder.claim("bob", true).await,
        Reason::MigrationFailed,
        &WHY,
    );
    assert_eq!(world.revision(), before + 1, "the session's opening alone");
    holder.claim("bob", false).await.unwrap();
    holder.put("bob", &doc([("coins", 3)])).await.unwrap();
    assert_eq!(seen(caller.read("bob").await), (1, doc([("coins", 3)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_guard_on_it_is_told_as_what_it_is() {
    let (_world, mut caller) = world().await;
    let put = |guard| {
        op::Kind::Put(PutOp {
            key: Some(key("bob")),
            value: encode(&doc([("coins", 1)])),
            guards: vec![Predicate { test: Some(guard) }],
            ..PutOp::default()
        })
    };
    // The error would carry the record.
    let failing = caller.call(put(Test::ModRev(99))).await;
    refused(failing, Reason::MigrationFailed, &WHY);
    let field = FieldPredicate {
        path: Some(path("coins")),
        comparison: Comparison::Equal.into(),
        value: encode_number(1),
        ..FieldPredicate::default()
    };
    let failing = caller.call(put(Test::Field(field))).await;
    refused(failing, Reason::MigrationFailed, &WHY);
    // Who need not look at the document can do without it.
    let delete = DeleteOp {
        key: Some(key("bob")),
        guards: vec![Predicate {
            test: Some(Test::Exists(true)),
        }],
    };
    caller.call(op::Kind::Delete(delete)).await.unwrap();
    assert_eq!(caller.read("bob").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_session_writes_and_cannot_be_migrated_changes_nothing() {
    let world = World::new().await;
    world.publish([script()]);
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    old.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let before = world.revision();
    refused(
        old.put("ann", &doc([("debt", 1)])).await,
        Reason::MigrationFailed,
        &["player/ann", "no gold", "nothing was written"],
    );
    let unset = stillpoint_proto::v1::PatchStep {
        kind: Some(stillpoint_proto::v1::patch_step::Kind::Unset(
            stillpoint_proto::v1::UnsetStep {
                path: Some(path("gold")),
            },
        )),
    };
    let patch = stillpoint_proto::v1::PatchOp {
        key: Some(key("ann")),
        steps: vec![unset],
        ..Default::default()
    };
    refused(
        old.call(op::Kind::Patch(patch)).await,
        Reason::MigrationFailed,
        &["player/ann", "no gold"],
    );
    assert_eq!(world.revision(), before);
    assert_eq!(seen(old.read("ann").await), (0, doc([("gold", 5)])));
    // A value says itself which version it has.
    let mut anybody = world.anybody().await;
    let named = |schema: u32, fields| {
        let op::Kind::Put(put) = putting("ann", encode(&fields)) else {
            unreachable!("it is a put");
        };
        op::Kind::Put(PutOp {
            schema: Some(schema),
            ..put
        })
    };
    old.call(named(1, doc([("coins", 8)]))).await.unwrap();
    assert_eq!(world.stored("ann"), (1, doc([("coins", 8)])));
    refused(
        anybody.call(named(4, doc([("coins", 8)]))).await,
        Reason::SchemaUnsupported,
        &["version 4", "stillpoint migrate apply DIR"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_look_at_fields_in_the_callers_version() {
    let world = World::new().await;
    world.publish([script()]);
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    old.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let put = |field, n| {
        let field = FieldPredicate {
            path: Some(path(field)),
            comparison: Comparison::Equal.into(),
            value: encode_number(5),
            ..FieldPredicate::default()
        };
        op::Kind::Put(PutOp {
            key: Some(key("ann")),
            value: encode(&n),
            guards: vec![Predicate {
                test: Some(Test::Field(field)),
            }],
            ..PutOp::default()
        })
    };
    let mut anybody = world.anybody().await;
    let failed = anybody.call(put("gold", doc([("coins", 5)]))).await;
    let error = refused(failed, Reason::VersionConflict, &["field guard"]);
    assert_eq!(seen(Ok(error.current)), (1, doc([("coins", 5)])));
    anybody
        .call(put("coins", doc([("coins", 5)])))
        .await
        .unwrap();
    old.call(put("gold", doc([("gold", 6)]))).await.unwrap();
    let failed = old.call(put("gold", doc([("gold", 7)]))).await;
    let error = refused(failed, Reason::VersionConflict, &["field guard"]);
    assert_eq!(seen(Ok(error.current)), (0, doc([("gold", 6)])));
}
