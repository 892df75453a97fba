//! What a start of the server does not change: scripts, versions, what sessions speak, and what a repeat is answered.

use std::{fs, path::Path};

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
