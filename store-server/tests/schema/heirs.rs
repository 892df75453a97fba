//! What a successor may own: the claims that it would inherit are its own from its first moment.

use stillpoint_proto::v1::Reason;

use crate::world::{NAMESPACE, World, doc, refused, seen};

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_of_an_older_version_is_refused_while_it_would_own_what_it_could_not_claim() {
    let world = World::new().await;
    let script = |number: u32, lossy: bool| {
        let from = number - 1;
        let text = format!(
            "return {{ from = {from}, to = {number}, up = function(doc) doc.n = doc.n * 2 end, down = function(doc) doc.n = \
             doc.n // 2 end, lossy = {lossy} }}"
        );
        (NAMESPACE, number, text)
    };
    world.publish([script(1, true), script(2, false)]);
    world.apply(NAMESPACE, 2);
    let session = world.session("1", None).await.unwrap();
    let mut holder = world.holder(&session).await;
    holder.put("ann", &doc([("n", 4)])).await.unwrap();
    holder.claim("ann", true).await.unwrap();

    let before = world.revision();
    refused(
        world.session_after("1", Some(0), session.fence).await,
        Reason::SchemaUnsupported,
        &[
            "battle/1 owns records that this program could not claim",
            "player/ann",
            "game/player/0001_step.lua is lossy",
            "start newer code",
        ],
    );
    assert_eq!(world.revision(), before, "nothing was done");
    holder.set("ann", "n", 8).await.unwrap();

    // Behind the step that loses something, it may.
    let session = world.session_after("1", Some(1), session.fence).await;
    let session = session.unwrap();
    let mut holder = world.holder(&session).await;
    assert_eq!(seen(holder.read("ann").await), (1, doc([("n", 4)])));
    // And before it who owns nothing.
    holder.release("ann").await;
    let session = world.session_after("1", Some(0), session.fence).await;
    let mut holder = world.holder(&session.unwrap()).await;
    assert_eq!(seen(holder.read("ann").await), (0, doc([("n", 2)])));
}
