//! What the holder of an older version may own.

use stillpoint_proto::v1::Reason;

use crate::world::{NAMESPACE, World, doc, refused, seen};

fn script(number: u32, lossy: bool) -> (&'static str, u32, String) {
    let from = number - 1;
    let text = format!(
        "return {{ from = {from}, to = {number}, up = function(doc) doc.n = doc.n * 2 end, down = function(doc) doc.n = \
         doc.n // 2 end, lossy = {lossy} }}"
    );
    (NAMESPACE, number, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_step_that_loses_something_only_new_code_may_own_a_record() {
    let world = World::new().await;
    world.publish([script(1, false), script(2, true)]);
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    old.put("ann", &doc([("n", 1)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let loaded = old.claim("ann", true).await;
    assert_eq!(seen(loaded), (0, doc([("n", 1)])));
    old.set("ann", "n", 5).await.unwrap();
    assert_eq!(world.stored("ann"), (1, doc([("n", 10)])));
    old.release("ann").await;

    world.apply(NAMESPACE, 2);
    for load in [true, false] {
        refused(
            old.claim("ann", load).await,
            Reason::SchemaUnsupported,
            &[
                "player/ann",
                "game/player/0002_step.lua is lossy",
                "start newer code",
            ],
        );
    }
    // It may still read and write.
    assert_eq!(seen(old.read("ann").await), (0, doc([("n", 5)])));
    old.set("ann", "n", 6).await.unwrap();
    assert_eq!(world.stored("ann"), (2, doc([("n", 24)])));

    let session = world.session("new", None).await.unwrap();
    let mut new = world.holder(&session).await;
    let loaded = new.claim("ann", true).await;
    assert_eq!(seen(loaded), (2, doc([("n", 24)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_owner_is_told_of_him_whatever_the_record_is_meanwhile() {
    let world = World::new().await;
    let add = "return { from = 0, to = 1, up = function(doc) doc.level = 7 end, down = function(doc) doc.level = nil end }";
    world.publish([(NAMESPACE, 1, add.to_owned())]);
    world.apply(NAMESPACE, 1);
    let session = world.session("new", None).await.unwrap();
    let mut new = world.holder(&session).await;
    // Not what the older version can carry, for now.
    let rich = doc([("n", 1), ("level", 9)]);
    new.put("ann", &rich).await.unwrap();
    new.claim("ann", false).await.unwrap();
    let session = world.session("old", Some(0)).await.unwrap();
    let mut old = world.holder(&session).await;
    for load in [true, false] {
        let waits = old.claim("ann", load).await;
        refused(waits, Reason::NotOwner, &["it is owned by battle/new"]);
    }
    let poor = doc([("n", 2), ("level", 7)]);
    new.put("ann", &poor).await.unwrap();
    new.release("ann").await;
    let loaded = old.claim("ann", true).await;
    assert_eq!(seen(loaded), (0, doc([("n", 2)])));
}
