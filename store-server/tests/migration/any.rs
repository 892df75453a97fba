//! Scripts of `_any` serve all namespaces, those to come, too.

use stillpoint_proto::v1::{
    ApplyMigrationsRequest, FinishMigrationRequest, FollowMigrationRequest, MigrationPhase,
    MigrationStatus, PauseMigrationRequest, Reason, RequestContext, ResumeMigrationRequest,
    RollBackMigrationRequest,
};

use crate::{
    peer::refused,
    server::soon,
    world::{
        COINS, LEVEL, TITLE, World, all, applied, get, is, players, put, record, script,
        stored_error, waits,
    },
};

fn within(namespace: &str) -> RequestContext {
    RequestContext {
        namespace: namespace.into(),
        ..RequestContext::default()
    }
}

async fn see(world: &World, namespace: &str, raw: bool) -> Option<stillpoint_proto::v1::Record> {
    record(
        world
            .call_with(within(namespace), get("p", raw))
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_all_namespaces_are_applied_there_and_count_for_those_to_come() {
    let mut world = World::start().await;
    for namespace in ["east", "west"] {
        let put = put("p", r#"{"gold": 5}"#);
        world.call_with(within(namespace), put).await.unwrap();
    }
    world
        .publish_all(vec![script("_any", 1, COINS)])
        .await
        .unwrap();
    let statuses = world.apply(all()).await.unwrap();
    let namespaces: Vec<_> = statuses
        .iter()
        .map(|status| &*status.collection.as_ref().unwrap().namespace)
        .collect();
    assert_eq!(namespaces, ["east", "west", "_any"]);
    let sum = world.through_of("_any").await;
    assert_eq!(sum.phase(), MigrationPhase::Rewritten);
    assert_eq!((sum.seen, sum.rewritten), (2, 2));
    for namespace in ["east", "west"] {
        is(see(&world, namespace, true).await, 1, r#"{"coins": 5}"#);
    }
    let put = put("p", r#"{"coins": 7}"#);
    world.call_with(within("south"), put).await.unwrap();
    is(see(&world, "south", true).await, 1, r#"{"coins": 7}"#);
    assert_eq!(
        world.apply(all()).await,
        Ok(vec![]),
        "south is there already"
    );

    let back = RollBackMigrationRequest {
        collection: Some(players("_any")),
        ..RollBackMigrationRequest::default()
    };
    world.roll_back(back).await.unwrap();
    world.through_of("_any").await;
    for (namespace, gold) in [("east", 5), ("west", 5), ("south", 7)] {
        let value = format!(r#"{{"gold": {gold}}}"#);
        is(see(&world, namespace, true).await, 0, &value);
    }

    let again = ApplyMigrationsRequest {
        collections: vec![players("_any")],
        ..all()
    };
    assert_eq!(world.apply(again).await.unwrap().len(), 4);
    world.through_of("_any").await;
    let finish = FinishMigrationRequest {
        collection: Some(players("_any")),
        ..FinishMigrationRequest::default()
    };
    world.admin.finish_migration(finish).await.unwrap();
    for namespace in ["east", "west", "south", "_any"] {
        let status = world.through_of(namespace).await;
        assert_eq!(status.phase(), MigrationPhase::Finished, "{namespace}");
    }
}

/// A player in each namespace, and scripts of all.
async fn world(namespaces: &[&str], scripts: &[&str]) -> World {
    let mut world = World::start().await;
    for namespace in namespaces {
        let put = put("p", r#"{"gold": 5}"#);
        world.call_with(within(namespace), put).await.unwrap();
    }
    let scripts = (1..)
        .zip(scripts)
        .map(|(number, text)| script("_any", number, text));
    world.publish_all(scripts.collect()).await.unwrap();
    world
}

/// How the players of a namespace are going.
async fn status(world: &mut World, namespace: &str) -> MigrationStatus {
    let request = FollowMigrationRequest {
        collection: Some(players(namespace)),
    };
    let followed = world.admin.follow_migration(request).await;
    let mut told = followed.unwrap().into_inner();
    let first = soon("a word", told.message()).await.unwrap().unwrap();
    first.status.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_namespace_does_not_hold_up_the_others() {
    let mut world = world(&["east", "west"], &[COINS]).await;
    for n in 0..20 {
        let put = put(&format!("p{n}"), r#"{"gold": 5}"#);
        world.call_with(within("east"), put).await.unwrap();
    }
    for (namespace, rate) in [("east", 1), ("west", 1000)] {
        let one = ApplyMigrationsRequest {
            collections: vec![players(namespace)],
            rate,
            ..all()
        };
        world.apply(one).await.unwrap();
    }
    let west = world.through_of("west").await;
    assert_eq!(west.phase(), MigrationPhase::Rewritten);
    let east = status(&mut world, "east").await;
    assert_eq!(east.phase(), MigrationPhase::Rewriting);
    assert!(east.rewritten < 21, "{east:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_held_up_where_all_is_through() {
    let mut world = world(&["east"], &[COINS]).await;
    world.apply(all()).await.unwrap();
    world.through_of("_any").await;
    let pause = PauseMigrationRequest {
        collection: Some(players("_any")),
        ..PauseMigrationRequest::default()
    };
    let paused = world.admin.pause_migration(pause).await;
    refused(paused.map_err(stored_error), Reason::Invalid);
    let resume = ResumeMigrationRequest {
        collection: Some(players("_any")),
        ..ResumeMigrationRequest::default()
    };
    let resumed = world.admin.resume_migration(resume).await;
    refused(resumed.map_err(stored_error), Reason::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_do_not_go_back_behind_what_one_has_finished() {
    let mut world = world(&["east", "west"], &[COINS, TITLE]).await;
    world.apply(all()).await.unwrap();
    world.through_of("_any").await;
    let finish = FinishMigrationRequest {
        collection: Some(players("east")),
        ..FinishMigrationRequest::default()
    };
    world.admin.finish_migration(finish).await.unwrap();
    let back = RollBackMigrationRequest {
        collection: Some(players("_any")),
        to_version: Some(1),
        ..RollBackMigrationRequest::default()
    };
    let error = refused(world.roll_back(back).await, Reason::Invalid);
    assert!(
        error
            .message
            .contains("east/player was finished at version 2"),
        "{error}"
    );
    is(see(&world, "west", true).await, 2, r#"{"coins": 10}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_appears_while_sessions_are_waited_for_goes_with_the_others() {
    let mut world = world(&["world"], &[COINS, LEVEL]).await;
    let old = world.open("old", None).await.unwrap();
    let patient = ApplyMigrationsRequest {
        collections: vec![players("_any")],
        wait_ms: 60_000,
        ..all()
    };
    let mut told = world.begin(patient).await.unwrap();
    waits(&mut told).await;
    let put = put("p", r#"{"gold": 70}"#);
    world.call_with(within("south"), put).await.unwrap();
    world.peer.close(&old, false, 0).await.unwrap();
    applied(&mut told).await.unwrap();
    is(see(&world, "south", false).await, 2, r#"{"level": 7}"#);
    let south = world.through_of("south").await;
    assert_eq!(south.phase(), MigrationPhase::Rewritten);
    let all = world.through_of("_any").await;
    assert_eq!((all.seen, all.rewritten), (2, 2));
    is(see(&world, "south", true).await, 2, r#"{"level": 7}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_all_holds_up_each_and_they_go_on_together() {
    let mut world = world(&["east", "west"], &[COINS]).await;
    for n in 0..20 {
        for namespace in ["east", "west"] {
            let put = put(&format!("p{n}"), r#"{"gold": 5}"#);
            world.call_with(within(namespace), put).await.unwrap();
        }
    }
    let slowly = ApplyMigrationsRequest { rate: 1, ..all() };
    world.apply(slowly).await.unwrap();
    let pause = PauseMigrationRequest {
        collection: Some(players("_any")),
        ..PauseMigrationRequest::default()
    };
    let paused = world.admin.pause_migration(pause).await.unwrap();
    let paused = paused.into_inner().status.unwrap();
    assert_eq!(paused.phase(), MigrationPhase::Paused);
    for namespace in ["east", "west", "_any"] {
        let rests = world.through_of(namespace).await;
        assert_eq!(rests.phase(), MigrationPhase::Paused, "{namespace}");
    }
    let resume = ResumeMigrationRequest {
        collection: Some(players("_any")),
        rate: 1_000_000,
        ..ResumeMigrationRequest::default()
    };
    world.admin.resume_migration(resume).await.unwrap();
    let through = world.through_of("_any").await;
    assert_eq!(
        (through.phase(), through.rewritten),
        (MigrationPhase::Rewritten, 42)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_finished_for_all_stays_so_for_who_goes_on_alone() {
    let mut world = world(&["east"], &[COINS]).await;
    world.apply(all()).await.unwrap();
    world.through_of("_any").await;
    let finish = FinishMigrationRequest {
        collection: Some(players("_any")),
        ..FinishMigrationRequest::default()
    };
    world.admin.finish_migration(finish).await.unwrap();
    let put = put("p", r#"{"coins": 7}"#);
    world.call_with(within("south"), put).await.unwrap();
    world
        .publish_all(vec![script("south", 2, TITLE)])
        .await
        .unwrap();
    world.apply(all()).await.unwrap();
    world.through_of("south").await;
    is(see(&world, "south", true).await, 2, r#"{"coins": 14}"#);
    let back = RollBackMigrationRequest {
        collection: Some(players("south")),
        to_version: Some(0),
        ..RollBackMigrationRequest::default()
    };
    let error = refused(world.roll_back(back).await, Reason::Invalid);
    assert!(
        error
            .message
            .contains("south/player was finished at version 1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_all_are_finished_leaves_none_half_done() {
    let names: Vec<_> = (0..60).map(|n| format!("n{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut world = world(&names, &[COINS]).await;
    world.apply(all()).await.unwrap();
    world.through_of("_any").await;
    let finish = FinishMigrationRequest {
        collection: Some(players("_any")),
        ..FinishMigrationRequest::default()
    };
    let mut admin = world.admin.clone();
    let asked = tokio::spawn(async move { admin.finish_migration(finish).await });
    let first =
        async { while status(&mut world, "n00").await.phase() != MigrationPhase::Finished {} };
    soon("the first", first).await;
    asked.abort();
    let rest =
        async { while status(&mut world, "_any").await.phase() != MigrationPhase::Finished {} };
    soon("the end of all", rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_have_as_many_records_as_each_of_them_together() {
    let mut world = world(&["east", "west"], &[COINS]).await;
    for n in 0..9 {
        let put = put(&format!("p{n}"), r#"{"gold": 5}"#);
        world.call_with(within("east"), put).await.unwrap();
    }
    world
        .apply(ApplyMigrationsRequest { rate: 1, ..all() })
        .await
        .unwrap();
    let counted = async {
        loop {
            let all = status(&mut world, "_any").await;
            assert_eq!(all.phase(), MigrationPhase::Rewriting);
            if all.total == 11 {
                break all.seen;
            }
        }
    };
    assert!(soon("all are counted", counted).await < 11);
}
