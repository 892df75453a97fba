//! Records that were migrated since the moment that they are brought back to.

use stillpoint_proto::v1::{
    ApplyMigrationsRequest, MigrationScript, PublishScriptsRequest, RestoreChange,
    RestoreRecordsRequest, migration_service_client::MigrationServiceClient,
};

use crate::{
    operator::{World, all, label, name_of, one, put, value},
    peer::{NAMESPACE, of, wish},
    server::soon,
};

const SCRIPT: &str = "return { from = 0, to = 1, \
    up = function(doc) doc.coins = doc.gold + 0; doc.gold = nil end, \
    samples = { { gold = 1 } } }";

/// Takes `doc` to version 1.
async fn migrate(world: &World) {
    let channel = world.server.channel("admin.sock").await;
    let mut operator = MigrationServiceClient::new(channel);
    let script = MigrationScript {
        namespace: NAMESPACE.into(),
        collection: "doc".into(),
        number: 1,
        name: "coins".into(),
        text: SCRIPT.into(),
        ..MigrationScript::default()
    };
    let publish = PublishScriptsRequest {
        scripts: vec![script],
        ..PublishScriptsRequest::default()
    };
    operator.publish_scripts(publish).await.unwrap();
    let apply = ApplyMigrationsRequest::default();
    let mut told = operator.apply_migrations(apply).await.unwrap().into_inner();
    while soon("the apply", told.message()).await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_back_as_it_was_in_the_version_of_now() {
    let mut world = World::new().await;
    world.does(put("42", r#"{"gold": 5}"#)).await;
    world.mark("then").await;
    migrate(&world).await;
    world.does(put("42", r#"{"coins": 1}"#)).await;
    let restored = world.restore(one("42", label("then"))).await.unwrap();
    assert_eq!(restored.end.changed, 1);
    let records = world.records("doc").await;
    let record = &records[&b"42"[..]];
    assert_eq!(record.value, value(r#"{"coins": 5}"#));
    assert_eq!(record.schema, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_migrated_is_told_by_itself_and_stays_as_it_is_now() {
    let mut world = World::new().await;
    world.does(put("42", r#"{"debt": 5}"#)).await;
    world.does(put("43", r#"{"gold": 5}"#)).await;
    world.mark("then").await;
    migrate(&world).await;
    world.does(put("42", r#"{"coins": 1}"#)).await;
    world.does(put("43", r#"{"coins": 1}"#)).await;
    for dry_run in [true, false] {
        let all = RestoreRecordsRequest {
            dry_run,
            ..all(label("then"))
        };
        let restored = world.restore(all).await.unwrap();
        assert_eq!((restored.end.changed, restored.end.unreadable), (1, 1));
        let is_broken = |change: &&RestoreChange| change.key == Some(name_of("doc", "42"));
        let change = restored.changes.iter().find(is_broken).unwrap();
        assert_eq!(change.now.as_ref().unwrap().value, value(r#"{"coins": 1}"#));
        let then = change.then.as_ref().unwrap();
        assert!(then.value.is_empty());
        assert!(then.unreadable.contains("0001_coins.lua"), "{then:?}");
    }
    let records = world.records("doc").await;
    assert_eq!(records[&b"42"[..]].value, value(r#"{"coins": 1}"#));
    assert_eq!(records[&b"43"[..]].value, value(r#"{"coins": 5}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_only_migrated_since_is_not_written_and_keeps_its_owner() {
    let mut world = World::new().await;
    world.does(put("42", r#"{"gold": 5}"#)).await;
    world.does(put("43", r#"{"gold": 5}"#)).await;
    world.mark("then").await;
    world.back_up(false).await;
    migrate(&world).await;
    let (session, _attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&session)).await;
    owner.claim("42").await;
    // As the background job does it, which may have come to it or not.
    owner.call(put("42", r#"{"coins": 5}"#)).await.unwrap();
    let from_backup = RestoreRecordsRequest {
        target: world.target(),
        ..all(None)
    };
    for request in [all(label("then")), from_backup] {
        world.does(put("43", r#"{"coins": 1}"#)).await;
        let restored = world.restore(request).await.unwrap();
        assert_eq!((restored.end.changed, restored.end.owned), (1, 0));
        assert_eq!(restored.changes[0].key, Some(name_of("doc", "43")));
        owner.call(put("42", r#"{"coins": 5}"#)).await.unwrap();
    }
}
