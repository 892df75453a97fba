//! Records that were migrated since the moment that they are brought back to.

use stillpoint_proto::v1::{
    ApplyMigrationsRequest, MigrationScript, PublishScriptsRequest, Reason,
    migration_service_client::MigrationServiceClient,
};

use crate::{
    operator::{World, label, one, put, value},
    peer::{NAMESPACE, refused},
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
async fn one_that_cannot_be_migrated_stays_as_it_is_now() {
    let mut world = World::new().await;
    world.does(put("42", r#"{"debt": 5}"#)).await;
    world.mark("then").await;
    migrate(&world).await;
    world.does(put("42", r#"{"coins": 1}"#)).await;
    let restored = world.restore(one("42", label("then"))).await;
    let error = refused(restored, Reason::MigrationFailed);
    assert!(error.message.contains("0001_coins.lua"), "{error}");
    let records = world.records("doc").await;
    assert_eq!(records[&b"42"[..]].value, value(r#"{"coins": 1}"#));
}
