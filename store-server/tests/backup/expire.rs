//! Which backups stay.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use stillpoint_store_server::backup::{Keep, To, expire, list};

use crate::{
    common::add,
    world::{World, content_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kept_backup_continues_is_kept_and_the_rest_goes_with_its_files() {
    let world = World::new();
    let mut ids = Vec::new();
    for n in 0..6 {
        world.execute(add("key", 1));
        let manifest = match n {
            0 | 3 => world.full().await,
            _ => world.incremental().await,
        };
        ids.push(manifest.id);
    }
    let keep = Keep {
        daily: 1,
        ..Keep::default()
    };
    let files = world.files();
    let planned = expire(&world.target, &keep, true).await.unwrap();
    assert_eq!(
        (&planned.kept[..], &planned.removed[..]),
        (&ids[3..], &ids[..3])
    );
    assert_eq!(world.files(), files);
    let expired = expire(&world.target, &keep, false).await.unwrap();
    assert_eq!(
        (expired.removed, expired.bytes),
        (planned.removed, planned.bytes)
    );
    assert!(expired.bytes > 0 && expired.leftovers.is_empty());
    let left = world.files();
    for id in &ids[..3] {
        assert!(
            !left.iter().any(|file| file.contains(&id[..])),
            "{id}: {left:?}"
        );
    }
    let listing = list(&world.target).await.unwrap();
    let listed: Vec<_> = listing.backups.into_iter().map(|m| m.id).collect();
    assert_eq!(listed, ids[3..]);
    content_of(&world.restore(To::Latest, "restored").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_of_a_file_that_was_being_written_goes_and_nothing_else() {
    let world = World::new();
    world.execute(add("key", 1));
    let id = world.full().await.id;
    let root = world.path("backups");
    let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    let write = |path: &str, hours| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "half").unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(hours_ago(hours)).unwrap();
    };
    // Of a backup that is there, and of one that is not.
    let other = "20010203T040506.789Z-7";
    let mut left = vec![
        format!("data/{id}/log-000000.zst#2"),
        format!("data/{other}/records-000001.zst.1.aes#1"),
        format!("manifest/{other}.json#1"),
        "partial.json#12".to_owned(),
        "store.json#1".to_owned(),
    ];
    left.sort();
    left.iter().for_each(|path| write(path, 2));
    let others = [
        format!("data/{id}/log-000001.zst#1"),
        format!("data/{id}/notes#1"),
        format!("data/{id}/records-000000.zst#one"),
        format!("data/{id}/records-000000.zst#"),
        "data/photos/records-000000.zst#1".to_owned(),
        "manifest/notes.json#1".to_owned(),
        "notes/store.json#1".to_owned(),
        "notes.txt#1".to_owned(),
        "store.json#1#2x".to_owned(),
    ];
    // The first may be under way.
    write(&others[0], 0);
    others[1..].iter().for_each(|path| write(path, 2));
    symlink(root.join("notes.txt#1"), root.join("store.json#2")).unwrap();
    fs::create_dir(root.join("store.json#3")).unwrap();

    let keep = Keep::default();
    let before = world.files();
    let planned = expire(&world.target, &keep, true).await.unwrap();
    assert_eq!((&planned.leftovers, planned.bytes), (&left, 20));
    assert_eq!(world.files(), before);
    let expired = expire(&world.target, &keep, false).await.unwrap();
    assert_eq!(expired.leftovers, left);
    let stayed: Vec<_> = (before.into_iter())
        .filter(|path| !left.contains(path))
        .collect();
    assert_eq!(world.files(), stayed);
    assert!(root.join("store.json#3").exists());

    // What no store has taken for its backups is somebody else's.
    write(&left[0], 2);
    fs::rename(root.join("store.json"), root.join("store.txt")).unwrap();
    let expired = expire(&world.target, &keep, false).await.unwrap();
    assert_eq!(expired.leftovers, [""; 0]);
    assert!(root.join(&left[0]).exists());
}
