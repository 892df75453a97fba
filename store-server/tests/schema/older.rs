//! What callers of an older version may write: nothing by which a newer version would lose what only it has.

use stillpoint_proto::v1::{
    Comparison, DeleteOp, FieldPredicate, Guard, Op, PatchOp, PatchStep, Predicate, PutOp, Reason,
    RequestContext, ScanOp, SetStep, StoreError, TxnOp, WatchRequest, op, op_result::Kind as Done,
    patch_step, predicate::Test,
};
use stillpoint_store_server::store::session::SessionChange;

use crate::world::{
    COLLECTION, Caller, Doc, NAMESPACE, World, doc, encode, encode_number, key, path, refused, seen,
};

/// Levels, and then ranks: those that have none begin with 7.
fn scripts() -> [(&'static str, u32, String); 2] {
    let add = |number, field| {
        let from = number - 1;
        let text = format!(
            "return {{ from = {from}, to = {number}, up = function(doc) doc.{field} = 7 end, down = function(doc) \
             doc.{field} = nil end }}"
        );
        (NAMESPACE, number, text)
    };
    [add(1, "level"), add(2, "rank")]
}

/// A patch that sets a field.
fn setting(name: &str, field: &str, n: i64) -> PatchOp {
    let step = SetStep {
        path: Some(path(field)),
        value: encode_number(n),
    };
    PatchOp {
        key: Some(key(name)),
        steps: vec![PatchStep {
            kind: Some(patch_step::Kind::Set(step)),
        }],
        ..PatchOp::default()
    }
}

/// A put of a document.
fn putting(name: &str, doc: &Doc) -> PutOp {
    PutOp {
        key: Some(key(name)),
        value: encode(doc),
        ..PutOp::default()
    }
}

fn txn(ops: impl IntoIterator<Item = op::Kind>) -> op::Kind {
    let ops = ops.into_iter().map(|kind| Op { kind: Some(kind) });
    op::Kind::Txn(TxnOp {
        then: ops.collect(),
        ..TxnOp::default()
    })
}

const WHY: [&str; 5] = [
    "player/ann",
    "it has version 1, and version 0 cannot carry level, which is 9 and would then be 7",
    "game/player/0001_step.lua",
    "with a program of version 1",
    "end those of version 0",
];

/// A store at version 1, in which a new program has raised the level of `ann`, and not that of `bob`.
async fn world() -> World {
    let world = World::new().await;
    world.publish(scripts());
    world.apply(NAMESPACE, 1);
    let mut new = world.anybody().await;
    for (name, level) in [("ann", 9), ("bob", 7)] {
        let doc = doc([("gold", 5), ("level", level)]);
        new.put(name, &doc).await.unwrap();
    }
    world
}

#[track_caller]
fn is_refused(answer: Result<Done, StoreError>) {
    let error = refused(answer, Reason::SchemaUnsupported, &WHY);
    assert_eq!(error.key, Some(key("ann")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_newer_version_has_outlives_the_writes_of_an_older_session() {
    let world = world().await;
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    let before = world.revision();
    let poor = doc([("gold", 1)]);
    let patch = || op::Kind::Patch(setting("ann", "gold", 1));
    let put = || op::Kind::Put(putting("ann", &poor));
    for kind in [patch(), put(), txn([patch()]), txn([put()])] {
        is_refused(old.call(kind).await);
    }
    // What it would save later would be refused.
    for load in [true, false] {
        let claimed = old.claim("ann", load).await;
        refused(claimed, Reason::SchemaUnsupported, &WHY);
    }
    assert_eq!(world.revision(), before);
    let rich = doc([("gold", 5), ("level", 9)]);
    assert_eq!(world.stored("ann"), (1, rich));
    assert_eq!(seen(old.read("ann").await), (0, doc([("gold", 5)])));
    // Guards come first: who is late is told that.
    let late = PutOp {
        guards: vec![Predicate {
            test: Some(Test::ModRev(99)),
        }],
        ..putting("ann", &poor)
    };
    let late = old.call(op::Kind::Put(late)).await;
    refused(late, Reason::VersionConflict, &["not 99"]);

    // Nothing would be lost of the other.
    old.set("bob", "gold", 1).await.unwrap();
    let now = |gold| (1, doc([("gold", gold), ("level", 7)]));
    assert_eq!(world.stored("bob"), now(1));
    old.put("bob", &doc([("gold", 2)])).await.unwrap();
    assert_eq!(world.stored("bob"), now(2));
    let claimed = old.claim("bob", true).await;
    assert_eq!(seen(claimed), (0, doc([("gold", 2)])));
    // Whoever deletes means all of it.
    let delete = DeleteOp {
        key: Some(key("ann")),
        ..DeleteOp::default()
    };
    old.call(op::Kind::Delete(delete)).await.unwrap();
    old.put("ann", &poor).await.unwrap();
    assert_eq!(world.stored("ann"), now(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_the_writes_of_who_names_an_older_version() {
    let world = world().await;
    let mut anybody = world.anybody().await;
    let poor = doc([("gold", 1)]);
    for name in ["ann", "bob"] {
        let patch = PatchOp {
            schema: Some(0),
            ..setting(name, "gold", 1)
        };
        let put = PutOp {
            schema: Some(0),
            ..putting(name, &poor)
        };
        for kind in [op::Kind::Patch(patch), op::Kind::Put(put)] {
            let answer = anybody.call(kind).await;
            match name {
                "ann" => is_refused(answer),
                _ => drop(answer.unwrap()),
            }
        }
    }
    // The store's version is the caller's unless he says otherwise.
    anybody.set("ann", "gold", 1).await.unwrap();
    anybody.put("ann", &doc([("level", 3)])).await.unwrap();
    assert_eq!(world.stored("ann"), (1, doc([("level", 3)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_older_form_is_not_replaced_by_one() {
    let world = World::new().await;
    let rename = "return { from = 0, to = 1, up = function(doc) doc.coins = doc.gold doc.gold = nil end, down = function(doc) \
                  if doc.coins < 0 then error('in debt') end doc.gold = doc.coins doc.coins = nil end }";
    world.publish([(NAMESPACE, 1, rename.to_owned())]);
    world.apply(NAMESPACE, 1);
    let mut new = world.anybody().await;
    new.put("ann", &doc([("coins", -1)])).await.unwrap();
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    refused(
        old.put("ann", &doc([("gold", 1)])).await,
        Reason::MigrationFailed,
        &[
            "player/ann",
            "nobody knows whether version 0 can carry it",
            "in debt",
        ],
    );
    assert_eq!(world.stored("ann"), (1, doc([("coins", -1)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollback_takes_away_is_meant_to_go() {
    let world = World::new().await;
    world.publish(scripts());
    world.apply(NAMESPACE, 2);
    let mut anybody = world.anybody().await;
    for (name, level) in [("ann", 9), ("bob", 7)] {
        let doc = doc([("gold", 5), ("level", level), ("rank", 9)]);
        anybody.put(name, &doc).await.unwrap();
    }
    // The job has not come to them yet.
    world.apply(NAMESPACE, 1);
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    let patch = |name| op::Kind::Patch(setting(name, "gold", 1));
    is_refused(old.call(patch("ann")).await);
    old.call(patch("bob")).await.unwrap();
    assert_eq!(world.stored("bob"), (1, doc([("gold", 1), ("level", 7)])));
    anybody.call(patch("ann")).await.unwrap();
    assert_eq!(world.stored("ann"), (1, doc([("gold", 1), ("level", 9)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_and_a_watch_of_a_session_that_is_over_are_refused_as_reads_are() {
    let world = world().await;
    let first = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&first).await;
    let scan = || {
        op::Kind::Scan(ScanOp {
            collection: COLLECTION.into(),
            ..ScanOp::default()
        })
    };
    let watching = |context: &RequestContext| {
        let request = WatchRequest {
            context: Some(context.clone()),
            collection: COLLECTION.into(),
            ..WatchRequest::default()
        };
        world.store.watch(&request).map(drop)
    };
    old.call(scan()).await.unwrap();
    watching(&old.context).unwrap();
    let next = world
        .session_after("old", Some(0), first.fence)
        .await
        .unwrap();
    let fenced = ["has a successor"];
    refused(old.call(scan()).await, Reason::Fenced, &fenced);
    refused(watching(&old.context), Reason::Fenced, &fenced);
    let mut old = world.holder(&next).await;
    let (id, fence) = (next.id.clone(), next.fence);
    world
        .change(SessionChange::End { id, fence })
        .await
        .unwrap();
    let over = ["is over"];
    refused(old.call(scan()).await, Reason::SessionExpired, &over);
    refused(watching(&old.context), Reason::SessionExpired, &over);
}

/// A store with four records, each of which takes more than a fourth of what a write may use to be brought to version 0, and
/// a caller who speaks that.
async fn slow() -> (World, Caller) {
    let world = World::new().await;
    let slow = "return { from = 0, to = 1, up = function(doc) doc.level = 7 end, down = function(doc) for _ = 1, 3000000 do \
                end doc.level = nil end }";
    world.publish([(NAMESPACE, 1, slow.to_owned())]);
    world.apply(NAMESPACE, 1);
    let mut anybody = world.anybody().await;
    for name in ["ann", "bob", "cy", "dan"] {
        let doc = doc([("gold", 5), ("level", 7)]);
        anybody.put(name, &doc).await.unwrap();
    }
    let session = world.session("old", Some(0)).await.unwrap();
    let old = world.holder(&session).await;
    (world, old)
}

fn guards() -> Vec<Predicate> {
    let gold = FieldPredicate {
        path: Some(path("gold")),
        comparison: Comparison::Equal.into(),
        value: encode_number(5),
        ..FieldPredicate::default()
    };
    let gold = Predicate {
        test: Some(Test::Field(gold)),
    };
    vec![gold; 6]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_brought_to_the_caller_s_version_once_for_all_guards() {
    let (world, mut old) = slow().await;
    let put = PutOp {
        guards: guards(),
        ..putting("ann", &doc([("gold", 6)]))
    };
    old.call(op::Kind::Put(put)).await.unwrap();
    let patch = PatchOp {
        guards: guards(),
        ..setting("bob", "gold", 6)
    };
    old.call(op::Kind::Patch(patch)).await.unwrap();
    let of = |predicate| Guard {
        key: Some(key("cy")),
        predicate: Some(predicate),
    };
    let txn = TxnOp {
        guards: guards().into_iter().map(of).collect(),
        then: vec![Op {
            kind: Some(op::Kind::Patch(setting("cy", "gold", 6))),
        }],
        ..TxnOp::default()
    };
    old.call(op::Kind::Txn(txn)).await.unwrap();
    for name in ["ann", "bob", "cy"] {
        assert_eq!(world.stored(name), (1, doc([("gold", 6), ("level", 7)])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_write_needs_of_scripts_has_a_bound() {
    let (world, mut old) = slow().await;
    let patch = |name| op::Kind::Patch(setting(name, "gold", 6));
    let names = ["ann", "bob", "cy", "dan"];
    let before = world.revision();
    refused(
        old.call(txn(names.map(patch))).await,
        Reason::MigrationFailed,
        &[
            "player/dan",
            "takes too long for one write",
            "10000000 steps",
            "write fewer records at once",
        ],
    );
    assert_eq!(world.revision(), before, "nothing was written");
    for name in names {
        old.call(patch(name)).await.unwrap();
    }
}
