//! The way back: by scripts, and where they have none, from the history.

use stillpoint_proto::v1::{MigrationPhase, Reason};

use crate::{
    peer::refused,
    world::{COINS, LEVEL, World, all, back_to, is, player, put, stored_error},
};

#[tokio::test(flavor = "multi_thread")]
async fn records_go_back_by_the_scripts_with_what_was_written_since() {
    let mut world = World::with_players(300).await;
    world.migrate(&[COINS]).await;
    world
        .call(put("p00007", r#"{"coins": 1000}"#))
        .await
        .unwrap();
    let statuses = world.roll_back(back_to(0, false)).await.unwrap();
    assert_eq!((statuses[0].version, statuses[0].from_version), (0, 1));
    is(world.see("p00007").await, 0, r#"{"gold": 1000}"#);
    let status = world.through().await;
    assert_eq!(
        (status.phase(), status.rewritten),
        (MigrationPhase::Rewritten, 300)
    );
    let stored = world.all_stored().await;
    assert!(stored.values().all(|record| record.schema == 0));
    is(world.stored("p00008").await, 0, r#"{"gold": 8}"#);
    let error = refused(world.roll_back(back_to(0, false)).await, Reason::Invalid);
    assert!(error.message.contains("is at version 0"), "{error}");

    // And there again.
    world.apply(all()).await.unwrap();
    world.through().await;
    is(world.stored("p00007").await, 1, r#"{"coins": 1000}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_through_can_be_turned_around() {
    let mut world = World::with_players(300).await;
    world.publish(&[COINS]).await.unwrap();
    let mut slowly = all();
    slowly.rate = 50;
    world.apply(slowly).await.unwrap();
    world.roll_back(back_to(0, false)).await.unwrap();
    let status = world.through().await;
    assert_eq!(
        (status.phase(), status.seen),
        (MigrationPhase::Rewritten, 300)
    );
    for n in [0, 150, 299] {
        is(
            world.stored(&player(n)).await,
            0,
            &format!(r#"{{"gold": {n}}}"#),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_script_for_it_the_history_is_the_way_back_for_what_was_not_written_since() {
    let mut world = World::with_players(300).await;
    world.migrate(&[COINS, LEVEL]).await;
    world.call(put("p00007", r#"{"level": 50}"#)).await.unwrap();
    world.call(put("new", r#"{"level": 60}"#)).await.unwrap();
    let error = refused(world.roll_back(back_to(1, false)).await, Reason::Invalid);
    assert!(
        error.message.contains("0002_step.lua has no `down`"),
        "{error}"
    );
    assert!(error.message.contains("--from-history"), "{error}");

    let mut world = world.restart().await;
    world.roll_back(back_to(1, true)).await.unwrap();
    let status = world.through().await;
    assert_eq!(
        (status.seen, status.rewritten, status.failed),
        (301, 299, 2)
    );
    // It had never been in version 1: it was taken there from what it was in version 0.
    is(world.stored("p00008").await, 1, r#"{"coins": 8}"#);
    is(world.stored("p00007").await, 2, r#"{"level": 50}"#);
    let quarantine = world.quarantine().await;
    let keys: Vec<_> = quarantine
        .iter()
        .map(|record| record.key.as_ref().unwrap().key.as_ref())
        .collect();
    assert_eq!(keys, [&b"new"[..], b"p00007"]);
    assert!(
        quarantine[0].error.contains("written since"),
        "{quarantine:?}"
    );

    // What somebody writes anew is out of quarantine.
    world
        .call(put("p00007", r#"{"coins": 500}"#))
        .await
        .unwrap();
    assert_eq!(world.quarantine().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_of_the_history_does_not_fit_into_memory_at_once_is_looked_for_again() {
    const SCRIPT: &str = r#"return { from = 0, to = 1,
        up = function(doc) doc.text = nil end, samples = { { text = "x" } } }"#;
    let mut world = World::start().await;
    let text = |n: u64| format!(r#"{{"n": {n}, "text": "{}"}}"#, "x".repeat(900_000));
    for n in 0..40 {
        world.call(put(&player(n), &text(n))).await.unwrap();
    }
    world.migrate(&[SCRIPT]).await;
    is(world.stored(&player(39)).await, 1, r#"{"n": 39}"#);
    world.roll_back(back_to(0, true)).await.unwrap();
    let status = world.through().await;
    assert_eq!((status.rewritten, status.failed), (40, 0));
    for n in 0..40 {
        is(world.stored(&player(n)).await, 0, &text(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_migrated_cannot_go_back() {
    let mut world = World::with_players(1).await;
    let error = refused(world.roll_back(back_to(0, false)).await, Reason::Invalid);
    assert!(error.message.contains("was never migrated"), "{error}");
    let followed = world
        .admin
        .follow_migration(stillpoint_proto::v1::FollowMigrationRequest {
            collection: Some(crate::world::players("world")),
        });
    refused(followed.await.map_err(stored_error), Reason::Invalid);
}
