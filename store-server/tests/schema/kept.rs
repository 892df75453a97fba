//! What a start of the server does not change: scripts, versions, what sessions speak, and what a repeat is answered.

use std::{fs, path::Path};

use stillpoint_store_server::backup::{CreateOptions, RestoreOptions, Target, To, create, restore};

use crate::{
    sessions::scripts,
    world::{COLLECTION, NAMESPACE, World, doc, seen},
};

async fn is_kept(between: impl FnOnce(&Path)) {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    let session = world.session("old", None).await.unwrap();
    world.apply(NAMESPACE, 1);
    let mut old = world.holder(&session).await;
    old.put("bob", &doc([("gold", 6)])).await.unwrap();
    let before = world.store.schemas();
    let scripts_before: Vec<_> = before.scripts().cloned().collect();
    let state_before = before.state(NAMESPACE, COLLECTION).cloned();
    drop((anybody, old, before));

    let world = world.reopen(between).await;
    let table = world.store.schemas();
    assert_eq!(table.scripts().cloned().collect::<Vec<_>>(), scripts_before);
    assert_eq!(table.state(NAMESPACE, COLLECTION).cloned(), state_before);
    assert!(state_before.is_some() && scripts_before.len() == 2);
    let mut anybody = world.anybody().await;
    let mut old = world.holder(&session).await;
    for (name, gold) in [("ann", 5), ("bob", 6)] {
        let new = (1, doc([("gold", gold), ("level", 7)]));
        assert_eq!(seen(anybody.read(name).await), new);
        assert_eq!(seen(old.read(name).await), (0, doc([("gold", gold)])));
    }
    old.set("ann", "gold", 9).await.unwrap();
    assert_eq!(world.stored("ann"), (1, doc([("gold", 9), ("level", 7)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_outlive_a_restart() {
    is_kept(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_outlive_the_view() {
    is_kept(|dir| fs::remove_dir_all(dir.join("view")).unwrap()).await;
}

/// As a restore of the running store does it, too: what was restored takes the place of the data directory.
#[tokio::test(flavor = "multi_thread")]
async fn versions_outlive_a_backup_and_its_restore() {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let target = Target::open(elsewhere.path().join("backups").to_str().unwrap()).unwrap();
    let options = CreateOptions::default();
    create(&world.store, &target, &options, &|_| {})
        .await
        .unwrap();
    // Not in the backup.
    world.apply(NAMESPACE, 2);
    let into = elsewhere.path().join("restored");
    let options = RestoreOptions {
        backup: "latest".into(),
        to: To::Latest,
        into: into.clone(),
        dry_run: false,
        reserve_bytes: 0,
    };
    restore(&target, &options, &|_| {}).await.unwrap();
    drop(anybody);
    let world = world
        .reopen(|dir| {
            fs::rename(dir, elsewhere.path().join("before")).unwrap();
            fs::rename(&into, dir).unwrap();
        })
        .await;
    let table = world.store.schemas();
    assert_eq!(table.version(NAMESPACE, COLLECTION), Some(1));
    assert_eq!(table.scripts().count(), 2);
    let mut anybody = world.anybody().await;
    let expected = (1, doc([("gold", 5), ("level", 7)]));
    assert_eq!(seen(anybody.read("ann").await), expected);
    world.apply(NAMESPACE, 2);
}
