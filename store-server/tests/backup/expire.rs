//! Which backups stay.

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
