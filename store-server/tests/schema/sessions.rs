//! The versions that a session speaks: what it declares, else what the store has when it opens.

use stillpoint_proto::v1::Reason;
use stillpoint_store_server::store::session::SessionChange;

use crate::world::{COLLECTION, NAMESPACE, World, doc, refused, seen};

/// A step that adds a field, and one without a way back.
pub fn scripts() -> [(&'static str, u32, String); 2] {
    let level = "return { from = 0, to = 1, up = function(doc) doc.level = 7 end, down = function(doc) doc.level = nil end }";
    let forget = "return { from = 1, to = 2, up = function(doc) doc.junk = nil end }";
    [
        (NAMESPACE, 1, level.to_owned()),
        (NAMESPACE, 2, forget.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_the_store_is_behind_of_is_told_what_to_run() {
    let world = World::new().await;
    world.publish(scripts());
    // Published is not applied.
    let parts = [
        "the store has version 0 of game/player, this program needs 1",
        "stillpoint migrate apply DIR",
    ];
    refused(
        world.session("new", Some(1)).await,
        Reason::SchemaUnsupported,
        &parts,
    );
    world.session("old", Some(0)).await.unwrap();
    world.apply(NAMESPACE, 1);
    world.session("new", Some(1)).await.unwrap();
    refused(
        world.session("newer", Some(2)).await,
        Reason::SchemaUnsupported,
        &["the store has version 1 of game/player, this program needs 2"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_there_is_no_way_back_for_is_told_the_script() {
    let world = World::new().await;
    world.publish(scripts());
    world.apply(NAMESPACE, 2);
    for version in [0, 1] {
        refused(
            world.session("old", Some(version)).await,
            Reason::SchemaUnsupported,
            &[
                "the store has version 2 of game/player",
                &format!("this program speaks {version}"),
                "game/player/0002_step.lua has no `down`: start newer code",
            ],
        );
    }
    world.session("new", Some(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_declares_nothing_speaks_what_the_store_had_and_his_successor_what_it_has() {
    let world = World::new().await;
    world.publish(scripts());
    let first = world.session("1", None).await.unwrap();
    assert_eq!(first.speaks(COLLECTION), 0);
    let mut old = world.holder(&first).await;
    old.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    assert_eq!(seen(old.read("ann").await), (0, doc([("gold", 5)])));

    let successor = world.session_after("1", None, first.fence).await.unwrap();
    assert_eq!(successor.speaks(COLLECTION), 1);
    let mut new = world.holder(&successor).await;
    let expected = (1, doc([("gold", 5), ("level", 7)]));
    assert_eq!(seen(new.read("ann").await), expected);
    // The session's id is the same, but who it is for, is not.
    refused(old.read("ann").await, Reason::Fenced, &["has a successor"]);
    let (id, fence) = (successor.id.clone(), successor.fence);
    world
        .change(SessionChange::End { id, fence })
        .await
        .unwrap();
    refused(new.read("ann").await, Reason::SessionExpired, &["is over"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_in_any_namespace_counts_in_one_that_comes_later_and_has_none_of_its_own() {
    let world = World::new().await;
    let [(_, number, text), _] = scripts();
    world.publish([("_any", number, text)]);
    world.apply("_any", 1);
    let mut later = world.caller("later", "", 0).await;
    later
        .put("ann", &doc([("gold", 5), ("level", 7)]))
        .await
        .unwrap();
    assert_eq!(seen(later.read("ann").await).0, 1);
    let versions = |namespace| world.store.schemas().version(namespace, COLLECTION);
    assert_eq!([versions("later"), versions(NAMESPACE)], [Some(1), Some(1)]);
    world.apply(NAMESPACE, 0);
    assert_eq!([versions("later"), versions(NAMESPACE)], [Some(1), Some(0)]);

    let refusal = world.store.watch(&stillpoint_proto::v1::WatchRequest {
        context: Some(stillpoint_proto::v1::RequestContext {
            namespace: "_any".into(),
            ..Default::default()
        }),
        ..Default::default()
    });
    refused(
        refusal.map(drop),
        Reason::Invalid,
        &["namespace _any", "use another name"],
    );
}
