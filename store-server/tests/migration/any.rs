//! Scripts of `_any` serve all namespaces, those to come, too.

use stillpoint_proto::v1::{
    ApplyMigrationsRequest, FinishMigrationRequest, MigrationPhase, RequestContext,
    RollBackMigrationRequest,
};

use crate::world::{COINS, World, all, get, is, players, put, record, script};

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
