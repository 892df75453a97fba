//! Records that cannot be migrated: they are named, and everything else goes on.

use stillpoint_proto::v1::{FollowMigrationRequest, MigrationPhase, Reason};

use crate::{
    peer::{NAMESPACE, refused},
    server::{Server, soon},
    world::{COINS, LEVEL, World, all, get, is, players, put, to},
};

/// So many players, of whom every third has no gold.
async fn world(count: u64) -> World {
    let mut world = World::with_players(count).await;
    for n in (0..count).step_by(3) {
        world
            .call(put(&crate::world::player(n), "{}"))
            .await
            .unwrap();
    }
    world.publish(&[COINS]).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_is_in_quarantine_until_somebody_mends_it() {
    let mut world = world(300).await;
    world.apply(all()).await.unwrap();
    let status = world.through().await;
    assert_eq!(status.phase(), MigrationPhase::Rewritten);
    assert_eq!(
        (status.seen, status.rewritten, status.failed),
        (300, 200, 100)
    );
    let quarantine = world.quarantine().await;
    assert_eq!(quarantine.len(), 100);
    let first = &quarantine[0];
    assert_eq!(first.key.as_ref().unwrap().key, "p00000");
    assert_eq!((&*first.namespace, first.schema), ("world", 0));
    assert!(
        first
            .error
            .contains("world/player/0001_step.lua: check refuses"),
        "{}",
        first.error
    );
    assert!(first.error.contains("no gold"), "{}", first.error);

    let error = refused(
        world.call(get("p00000", false)).await,
        Reason::MigrationFailed,
    );
    assert!(
        error.message.contains("stillpoint migrate quarantine"),
        "{error}"
    );
    is(world.stored("p00000").await, 0, "{}");
    is(world.see("p00001").await, 1, r#"{"coins": 1}"#);

    let error = refused(world.finish().await, Reason::MigrationFailed);
    assert!(
        error.message.contains("100 records could not be migrated"),
        "{error}"
    );
    for record in quarantine {
        let name = String::from_utf8(record.key.unwrap().key.to_vec()).unwrap();
        world.call(put(&name, r#"{"coins": 0}"#)).await.unwrap();
    }
    assert_eq!(world.quarantine().await, []);
    world.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bad_records_stop_the_job_until_an_operator_lets_it_go_on() {
    let mut world = world(100).await;
    let mut request = all();
    request.failed_max = 9;
    world.apply(request).await.unwrap();
    let status = world.through().await;
    assert_eq!(status.phase(), MigrationPhase::Stopped);
    assert_eq!((status.failed, status.failed_max), (10, 9));
    for part in [
        "10 records cannot be migrated",
        "player/p00027",
        "no gold",
        "rollback",
    ] {
        assert!(
            status.stopped_why.contains(part),
            "{part}: {}",
            status.stopped_why
        );
    }
    // What counts, counts all the same.
    is(world.see("p00098").await, 1, r#"{"coins": 98}"#);

    let mut world = world.restart().await;
    assert_eq!(world.status().await.stopped_why, status.stopped_why);
    // Fewer than have failed already: it would stop at once.
    let error = refused(world.resume(9).await, Reason::Invalid);
    assert!(
        error.message.contains("10 records have failed already"),
        "{error}"
    );
    let still = world.status().await;
    assert_eq!(
        (still.phase(), still.failed_max),
        (MigrationPhase::Stopped, 9)
    );
    world.resume(20).await.unwrap();
    let status = world.through().await;
    assert_eq!(
        (status.phase(), status.failed),
        (MigrationPhase::Stopped, 21)
    );
    // As many more as the setting says: enough.
    let going_on = world.resume(0).await.unwrap();
    assert_eq!(going_on.failed_max, 121);
    let status = world.through().await;
    assert_eq!(
        (status.phase(), &*status.stopped_why),
        (MigrationPhase::Rewritten, "")
    );
    assert_eq!(
        (status.seen, status.rewritten, status.failed),
        (100, 66, 34)
    );
    drop::<Server>(world.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_never_ends_for_one_record_fails_that_one_only() {
    let mut world = World::with_players(20).await;
    world
        .call(put("p00007", r#"{"stuck": true}"#))
        .await
        .unwrap();
    let script = COINS.replace(
        "up = function(doc)",
        "up = function(doc) while doc.stuck do end",
    );
    let status = world.migrate(&[&script]).await;
    assert_eq!(
        (status.phase(), status.rewritten, status.failed),
        (MigrationPhase::Rewritten, 19, 1)
    );
    let quarantine = world.quarantine().await;
    assert_eq!(quarantine[0].key.as_ref().unwrap().key, "p00007");
    is(world.stored("p00008").await, 1, r#"{"coins": 8}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_the_job_up_and_refuses_an_apply_until_there_is_room() {
    let mut world = World::with_players(300).await;
    world.publish(&[COINS, LEVEL]).await.unwrap();
    let mut slowly = to(1);
    slowly.rate = 1;
    world.apply(slowly).await.unwrap();

    let mut world = (world.restart_with(|config| config.log.disk_reserve_bytes = u64::MAX)).await;
    let follow = FollowMigrationRequest {
        collection: Some(players(NAMESPACE)),
    };
    let followed = world.admin.follow_migration(follow).await.unwrap();
    let mut told = followed.into_inner();
    let why = loop {
        let message = soon("a word", told.message()).await.unwrap().unwrap();
        let status = message.status.unwrap();
        assert_eq!(status.phase(), MigrationPhase::Rewriting);
        if !status.stopped_why.is_empty() {
            break status.stopped_why;
        }
    };
    assert!(why.contains("log.disk_reserve_bytes"), "{why}");
    let error = refused(world.apply(to(2)).await, Reason::ReadOnly);
    assert!(error.message.contains("could not be labelled"), "{error}");
    is(world.see("p00299").await, 1, r#"{"coins": 299}"#);
    drop(told);

    let mut world = (world.restart_with(|config| config.log.disk_reserve_bytes = 0)).await;
    world.resume(0).await.unwrap();
    let status = world.through().await;
    assert_eq!(
        (status.phase(), status.seen, status.rewritten),
        (MigrationPhase::Rewritten, 300, 300)
    );
    assert_eq!((status.version, &*status.stopped_why), (1, ""));
}
