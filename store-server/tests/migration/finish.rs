//! Nobody goes back any more.

use stillpoint_proto::v1::{ApplyMigrationsRequest, MigrationPhase, Reason};

use crate::{
    peer::refused,
    world::{COINS, TITLE, World, all, back_to, is, to},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_finished_when_nobody_needs_the_old_version() {
    let mut world = World::with_players(200).await;
    world.publish(&[COINS]).await.unwrap();
    let old = world.open("old", None).await.unwrap();
    let mut slowly = all();
    slowly.rate = 1;
    world.apply(slowly).await.unwrap();
    let error = refused(world.finish().await, Reason::Invalid);
    assert!(error.message.contains("still being rewritten"), "{error}");
    world.pause().await.unwrap();
    let error = refused(world.finish().await, Reason::Invalid);
    assert!(
        error.message.contains("stillpoint migrate resume"),
        "{error}"
    );
    world.resume(0).await.unwrap();
    world.through().await;
    let error = refused(world.finish().await, Reason::SchemaUnsupported);
    assert!(error.message.contains("battle/old (version 0)"), "{error}");
    world.peer.close(&old, false, 0).await.unwrap();

    let finished = world.finish().await.unwrap();
    assert_eq!(finished.phase(), MigrationPhase::Finished);
    assert_eq!(
        world.finish().await.unwrap().phase(),
        MigrationPhase::Finished,
        "again"
    );
    let error = refused(world.roll_back(back_to(0, false)).await, Reason::Invalid);
    assert!(
        error.message.contains("was finished at version 1"),
        "{error}"
    );
    assert!(error.message.contains(&finished.label), "{error}");

    // A later migration does not open the way back behind it.
    world.publish(&[COINS, TITLE]).await.unwrap();
    world.apply(to(2)).await.unwrap();
    world.through().await;
    let error = refused(world.roll_back(back_to(0, false)).await, Reason::Invalid);
    assert!(
        error.message.contains("was finished at version 1"),
        "{error}"
    );
    world.roll_back(back_to(1, false)).await.unwrap();
    world.through().await;
    is(world.stored("p00009").await, 1, r#"{"coins": 0}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_mended_keeps_nobody_from_finishing_however_much_it_is() {
    let mut world = World::with_players(600).await;
    let bad = r#"return { from = 0, to = 1, up = function() error("no", 0) end }"#;
    world.publish(&[bad]).await.unwrap();
    let patient = ApplyMigrationsRequest {
        failed_max: 1000,
        ..all()
    };
    world.apply(patient).await.unwrap();
    assert_eq!(world.through().await.failed, 600);
    let error = refused(world.finish().await, Reason::MigrationFailed);
    assert!(error.message.contains("600 records"), "{error}");
    world.fill(600).await;
    let finished = world.finish().await.unwrap();
    assert_eq!(finished.phase(), MigrationPhase::Finished);
}
