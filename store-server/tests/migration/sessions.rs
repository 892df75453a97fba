//! Who is waited for, and who goes on.

use stillpoint_proto::v1::{ApplyMigrationsRequest, ClaimOp, Reason, op::Kind};

use crate::{
    peer::{op, refused},
    world::{
        COINS, LEVEL, TITLE, World, all, applied, back_to, get, is, key, put, record, to, waits,
    },
};

fn patient(request: ApplyMigrationsRequest) -> ApplyMigrationsRequest {
    ApplyMigrationsRequest {
        wait_ms: 60_000,
        ..request
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_sessions_work_side_by_side() {
    let mut world = World::with_players(2).await;
    let old = world.open("old", None).await.unwrap();
    world.migrate(&[COINS]).await;
    let new = world.open("new", Some(1)).await.unwrap();
    assert_eq!(
        world.status().await.other_sessions,
        ["battle/old (version 0)"]
    );

    world
        .call_of(&old, put("p00001", r#"{"gold": 70}"#))
        .await
        .unwrap();
    let seen = world.call_of(&new, get("p00001", false)).await.unwrap();
    is(record(seen), 1, r#"{"coins": 70}"#);
    world
        .call_of(&new, put("p00001", r#"{"coins": 71}"#))
        .await
        .unwrap();
    let seen = world.call_of(&old, get("p00001", false)).await.unwrap();
    is(record(seen), 0, r#"{"gold": 71}"#);
    is(world.stored("p00001").await, 1, r#"{"coins": 71}"#);

    let error = refused(
        world.open("newer", Some(2)).await,
        Reason::SchemaUnsupported,
    );
    assert!(
        error.message.contains("stillpoint migrate apply"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_without_a_way_back_waits_for_old_sessions_and_names_them() {
    let mut world = World::with_players(1).await;
    world.publish(&[COINS, LEVEL]).await.unwrap();
    let old = world.open("old", None).await.unwrap();
    // This one goes on: there is a way back.
    world.apply(to(1)).await.unwrap();

    let error = refused(world.apply(to(2)).await, Reason::SchemaUnsupported);
    for part in [
        "battle/old (version 0)",
        "world/player/0002_step.lua",
        "stillpoint restart",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    let mut told = world.begin(patient(to(2))).await.unwrap();
    let waiting = waits(&mut told).await;
    assert_eq!(waiting.sessions, ["battle/old (version 0)"]);
    assert!(
        waiting.reason.contains("has no `down`"),
        "{}",
        waiting.reason
    );
    // What is wrong with an order is looked at when it is its turn.
    refused(world.apply(all()).await, Reason::RateLimited);
    refused(world.apply(to(9)).await, Reason::RateLimited);
    refused(
        world.roll_back(back_to(7, false)).await,
        Reason::RateLimited,
    );
    // It comes too late to be there first, so it is waited for as well.
    let between = world.open("between", None).await.unwrap();
    let waiting = waits(&mut told).await;
    assert_eq!(
        waiting.sessions,
        ["battle/between (version 1)", "battle/old (version 0)"]
    );
    assert_eq!(world.status().await.version, 1, "nothing counts yet");

    world.peer.close(&old, false, 0).await.unwrap();
    world.peer.close(&between, false, 0).await.unwrap();
    let statuses = applied(&mut told).await.unwrap();
    assert_eq!(statuses[0].version, 2);
    world.through().await;
    let error = refused(world.open("old", Some(1)).await, Reason::SchemaUnsupported);
    assert!(
        error.message.contains("world/player/0002_step.lua"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_script_waits_for_old_sessions_that_own_records() {
    let mut world = World::with_players(2).await;
    world.migrate(&[COINS]).await;
    world.publish(&[COINS, TITLE]).await.unwrap();
    let owner = world.open("owner", None).await.unwrap();
    let reader = world.open("reader", None).await.unwrap();
    let claim = |name| {
        op(Kind::Claim(ClaimOp {
            key: key(name),
            ..ClaimOp::default()
        }))
    };
    world.call_of(&owner, claim("p00001")).await.unwrap();
    let error = refused(world.apply(to(2)).await, Reason::SchemaUnsupported);
    assert!(
        error.message.contains("battle/owner (version 1)"),
        "{error}"
    );
    assert!(!error.message.contains("battle/reader"), "{error}");
    world.peer.close(&owner, false, 0).await.unwrap();
    world.apply(to(2)).await.unwrap();
    refused(
        world.call_of(&reader, claim("p00001")).await,
        Reason::SchemaUnsupported,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_a_version_that_goes_is_waited_for() {
    let mut world = World::with_players(1).await;
    world.migrate(&[COINS]).await;
    let new = world.open("new", Some(1)).await.unwrap();
    let error = refused(
        world.roll_back(back_to(0, false)).await,
        Reason::SchemaUnsupported,
    );
    assert!(error.message.contains("battle/new (version 1)"), "{error}");
    world.peer.close(&new, false, 0).await.unwrap();
    world.roll_back(back_to(0, false)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_the_time_that_was_given() {
    let mut world = World::with_players(1).await;
    world.publish(&[COINS, LEVEL]).await.unwrap();
    world.open("old", None).await.unwrap();
    let request = ApplyMigrationsRequest {
        wait_ms: 60,
        ..all()
    };
    let error = refused(world.apply(request).await, Reason::SchemaUnsupported);
    assert!(error.message.contains("waited for 0.1 s"), "{error}");
    assert_eq!(world.status().await.version, 0);
}
