//! A dry run foretells what an apply does, and changes nothing.

use stillpoint_proto::v1::{
    ApplyMigrationsRequest, DryRunMigrationRequest, DryRunMigrationResponse, DryRunSummary, Reason,
    RequestContext, dry_run_migration_response::Kind,
};

use crate::{
    notation,
    peer::{NAMESPACE, refused},
    server::soon,
    world::{COINS, LEVEL, TITLE, World, all, is, players, put, script, stored_error},
};

async fn dry_run(world: &mut World, request: DryRunMigrationRequest) -> (DryRunSummary, Vec<Kind>) {
    let begun = world.admin.dry_run_migration(DryRunMigrationRequest {
        collection: request.collection.or(Some(players(NAMESPACE))),
        ..request
    });
    let mut told = begun.await.unwrap().into_inner();
    let mut kinds = Vec::new();
    loop {
        let message: DryRunMigrationResponse =
            soon("the dry run", told.message()).await.unwrap().unwrap();
        match message.kind.unwrap() {
            Kind::Done(done) => return (done, kinds),
            Kind::Progress(_) => {}
            kind => kinds.push(kind),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foretold_is_what_comes() {
    let mut world = World::with_players(500).await;
    for name in ["p00003", "p00333"] {
        world.call(put(name, r#"{"poor": true}"#)).await.unwrap();
    }
    let before = world.all_stored().await;
    // The scripts are not even published.
    let scripts = vec![script(NAMESPACE, 1, COINS), script(NAMESPACE, 2, LEVEL)];
    let (foretold, told) = dry_run(
        &mut world,
        DryRunMigrationRequest {
            scripts,
            examples: 3,
            ..DryRunMigrationRequest::default()
        },
    )
    .await;
    assert_eq!(world.all_stored().await, before, "nothing is changed");
    assert_eq!((foretold.to_version, foretold.records), (2, 500));
    assert_eq!((foretold.changed, foretold.failed), (498, 2));
    assert_eq!(foretold.failures.len(), 1);
    assert_eq!(foretold.failures[0].records, 2);
    assert!(foretold.micros > 0);
    let differences: Vec<_> = (told.iter())
        .filter_map(|kind| match kind {
            Kind::Difference(difference) => Some(difference),
            _ => None,
        })
        .collect();
    assert_eq!((differences.len(), told.len()), (3, 5));

    let applied = world.migrate(&[COINS, LEVEL]).await;
    assert_eq!(
        (applied.rewritten, applied.failed),
        (foretold.changed, foretold.failed)
    );
    let after = world.all_stored().await;
    let changed = after.iter().filter(|(_, record)| record.schema == 2);
    let bytes_of = |records: &std::collections::BTreeMap<String, stillpoint_proto::v1::Record>| {
        let changed = records.iter().filter(|(key, _)| after[*key].schema == 2);
        changed
            .map(|(_, record)| record.value.len() as u64)
            .sum::<u64>()
    };
    assert_eq!(foretold.bytes_before, bytes_of(&before));
    assert_eq!(foretold.bytes_after, bytes_of(&after));
    let largest = changed.map(|(_, record)| record.value.len() as u64).max();
    assert_eq!(Some(foretold.largest_after), largest);
    for difference in differences {
        let key = String::from_utf8(difference.key.as_ref().unwrap().key.to_vec()).unwrap();
        assert_eq!(difference.before, before[&key].value);
        assert_eq!(
            notation::decode(&difference.after),
            notation::decode(&after[&key].value)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_from_all_over_the_collection() {
    let mut world = World::with_players(500).await;
    world.publish(&[COINS]).await.unwrap();
    let (foretold, told) = dry_run(
        &mut world,
        DryRunMigrationRequest {
            sample: 50,
            examples: 100,
            ..DryRunMigrationRequest::default()
        },
    )
    .await;
    assert_eq!((foretold.to_version, foretold.records), (1, 50));
    assert_eq!(told.len(), 50);
    let Some(Kind::Difference(last)) = told.last() else {
        panic!("{told:?}");
    };
    assert_eq!(last.key.as_ref().unwrap().key, "p00490");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_needs_scripts_that_can_be_loaded_and_finds_those_that_are_not_pure() {
    let mut world = World::with_players(5).await;
    let none = world.admin.dry_run_migration(DryRunMigrationRequest {
        collection: Some(players(NAMESPACE)),
        ..DryRunMigrationRequest::default()
    });
    let error = refused(none.await.map_err(stored_error), Reason::Invalid);
    assert!(error.message.contains("there are no scripts"), "{error}");
    let impure = r#"local n = 0
        return { from = 0, to = 1, samples = { {} }, up = function(doc) n = n + 1; doc.n = n end }"#;
    let (foretold, _) = dry_run(
        &mut world,
        DryRunMigrationRequest {
            scripts: vec![script(NAMESPACE, 1, impure)],
            ..DryRunMigrationRequest::default()
        },
    )
    .await;
    assert_eq!(foretold.failed, 5);
    world.publish(&[COINS]).await.unwrap();
    world.apply(all()).await.unwrap();
    is(world.see("p00004").await, 1, r#"{"coins": 4}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_tried_each_goes_as_far_as_the_scripts_of_all() {
    let mut world = World::start().await;
    for namespace in ["east", "west"] {
        let put = put("p", r#"{"gold": 5}"#);
        let context = RequestContext {
            namespace: namespace.into(),
            ..RequestContext::default()
        };
        world.call_with(context, put).await.unwrap();
    }
    let request = DryRunMigrationRequest {
        collection: Some(players("_any")),
        scripts: vec![script("_any", 1, COINS), script("east", 2, TITLE)],
        ..DryRunMigrationRequest::default()
    };
    let (foretold, told) = dry_run(&mut world, request).await;
    assert_eq!((foretold.records, foretold.changed), (2, 2));
    let becomes: Vec<_> = (told.iter())
        .map(|kind| match kind {
            Kind::Difference(told) => (&*told.namespace, notation::decode(&told.after)),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["east", "west"].map(|name| (name, r#"{"coins": 5}"#));
    let expected = expected.map(|(name, text)| (name, notation::parse(text).unwrap()));
    assert_eq!(becomes, expected);

    let own = DryRunMigrationRequest {
        collection: Some(players("east")),
        scripts: vec![script("_any", 1, COINS), script("east", 2, TITLE)],
        ..DryRunMigrationRequest::default()
    };
    let (foretold, _) = dry_run(&mut world, own).await;
    assert_eq!((foretold.to_version, foretold.changed), (2, 1));

    // As an apply of all does.
    let scripts = vec![script("_any", 1, COINS), script("east", 2, TITLE)];
    world.publish_all(scripts).await.unwrap();
    let order = ApplyMigrationsRequest {
        collections: vec![players("_any")],
        ..all()
    };
    let applied = world.apply(order).await.unwrap();
    assert!(
        applied.iter().all(|status| status.version == 1),
        "{applied:?}"
    );
}
