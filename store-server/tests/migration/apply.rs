//! A version counts at once, and the records follow.

use std::collections::BTreeSet;

use stillpoint_proto::v1::{
    ListActionsRequest, ListMarksRequest, MigrationPhase, Reason, WatchEventType, WatchRequest,
    backup_service_client::BackupServiceClient, management_service_client::ManagementServiceClient,
    watch_response::Kind, watch_service_client::WatchServiceClient,
};

use crate::{
    peer::{NAMESPACE, context, refused},
    server::soon,
    world::{COINS, LEVEL, TITLE, World, all, is, player, put, script, to},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_read_gives_the_new_version_at_once_and_the_records_follow() {
    let mut world = World::with_players(1000).await;
    world.publish(&[COINS, LEVEL]).await.unwrap();
    let mut slowly = all();
    slowly.rate = 1;
    let applied = world.apply(slowly).await.unwrap();
    assert_eq!((applied[0].version, applied[0].from_version), (2, 0));
    assert_eq!(applied[0].newest_published, 2);
    assert!(applied[0].label.starts_with("before-migration-"));
    // One record a second is rewritten, in the order of keys: so this one is not.
    is(world.see(&player(999)).await, 2, r#"{"level": 99}"#);
    is(world.stored(&player(999)).await, 0, r#"{"gold": 999}"#);
    world.call(put("z", r#"{"level": 3}"#)).await.unwrap();
    is(world.stored("z").await, 2, r#"{"level": 3}"#);

    world.pause().await.unwrap();
    world.resume(0).await.unwrap();
    let status = world.through().await;
    assert_eq!(status.phase(), MigrationPhase::Rewritten);
    assert_eq!((status.seen, status.total, status.failed), (1001, 1001, 0));
    assert_eq!(status.rewritten, 1000);
    let stored = world.all_stored().await;
    assert!(stored.values().all(|record| record.schema == 2));
    is(world.stored(&player(999)).await, 2, r#"{"level": 99}"#);

    assert_eq!(
        world.apply(all()).await,
        Ok(vec![]),
        "there is nothing left to apply"
    );
    assert_eq!(world.apply(to(2)).await, Ok(vec![]));
    let error = refused(world.apply(to(1)).await, Reason::Invalid);
    assert!(
        error.message.contains("stillpoint migrate rollback"),
        "{error}"
    );
    let error = refused(world.apply(to(3)).await, Reason::Invalid);
    assert!(
        error.message.contains("the newest script is number 2"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_rests_while_it_is_paused_and_goes_on_after_a_restart() {
    let mut world = World::with_players(600).await;
    world.publish(&[COINS]).await.unwrap();
    let mut slowly = all();
    slowly.rate = 20;
    world.apply(slowly).await.unwrap();
    let paused = world.pause().await.unwrap();
    assert_eq!(paused.phase(), MigrationPhase::Paused);
    assert_eq!(
        world.through().await.phase(),
        MigrationPhase::Paused,
        "it rests"
    );
    assert!(paused.rewritten < 600);
    let mut world = world.restart().await;
    let still = world.status().await;
    assert_eq!(still.phase(), MigrationPhase::Paused);
    assert_eq!(still.rewritten, paused.rewritten);

    world.resume(0).await.unwrap();
    let mut world = world.restart().await;
    let status = world.through().await;
    assert_eq!(status.phase(), MigrationPhase::Rewritten);
    assert_eq!((status.seen, status.rewritten), (600, 600));
    refused(world.pause().await, Reason::Invalid);
    let schemas: BTreeSet<_> = (world.all_stored().await.values())
        .map(|record| record.schema)
        .collect();
    assert_eq!(schemas, BTreeSet::from([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_the_records_being_rewritten() {
    let mut world = World::with_players(3).await;
    let mut client = WatchServiceClient::new(world.server.channel("stillpoint.sock").await);
    let request = WatchRequest {
        context: Some(context("", 0)),
        collection: "player".into(),
        ..WatchRequest::default()
    };
    let mut told = client.watch(request).await.unwrap().into_inner();
    soon("the watch", told.message()).await.unwrap();
    world.migrate(&[COINS]).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let message = soon("the rewriting", told.message()).await.unwrap();
        let Some(Kind::Commits(commits)) = message.and_then(|message| message.kind) else {
            continue;
        };
        for commit in commits.commits {
            for event in commit.events {
                assert_eq!(event.r#type(), WatchEventType::Migrate);
                seen.insert(event.key.unwrap().key);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_moment_before_has_a_label_and_what_was_asked_is_in_the_audit() {
    let mut world = World::with_players(1).await;
    let label = world.migrate(&[COINS]).await.label;
    world.finish().await.unwrap();
    let admin = world.server.channel("admin.sock").await;
    let marks = BackupServiceClient::new(admin.clone())
        .list_marks(ListMarksRequest::default())
        .await;
    let marks = marks.unwrap().into_inner().marks;
    assert_eq!(marks[0].label, label);
    let mut management = ManagementServiceClient::new(admin);
    let actions = management.list_actions(ListActionsRequest {
        namespace: NAMESPACE.into(),
        ..ListActionsRequest::default()
    });
    let actions = actions.await.unwrap().into_inner().actions;
    let words: Vec<_> = actions
        .iter()
        .map(|action| (&*action.action, &*action.actor, &*action.subject))
        .collect();
    let expected = [
        ("migrate finish", "ann", "world/player"),
        ("migrate apply", "ann", "world/player 0 -> 1"),
        ("migrate publish", "ann", "world/player/0001_step.lua"),
    ];
    assert_eq!(words, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_scripts_is_not_applied() {
    let mut world = World::with_players(1).await;
    let error = refused(world.apply(to(1)).await, Reason::Invalid);
    assert!(
        error.message.contains("stillpoint migrate publish"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_long_name_gets_a_label_all_the_same() {
    let mut world = World::with_players(1).await;
    world.publish(&[COINS]).await.unwrap();
    let mut request = all();
    request.actor = "\u{e4}nn".repeat(100);
    let statuses = world.apply(request).await.unwrap();
    assert!(
        statuses[0].label.starts_with("before-migration-"),
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_from_before_the_first_script_are_not_left_behind() {
    let mut world = World::with_players(3).await;
    let second = vec![script(NAMESPACE, 2, TITLE)];
    world.publish_all(second).await.unwrap();
    let error = refused(world.apply(to(2)).await, Reason::Invalid);
    for part in [
        "player/p00000 of version 0",
        "its scripts begin at version 1",
        "stillpoint migrate publish",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    world
        .publish_all(vec![script(NAMESPACE, 1, COINS)])
        .await
        .unwrap();
    world.apply(to(2)).await.unwrap();
    world.through().await;
    is(world.stored("p00002").await, 2, r#"{"coins": 4}"#);
}
