//! Backups that are encrypted: read with their key, listed and checked without, and never taken one for another.

use std::{fs, path::Path};

use stillpoint_store_server::backup::{
    BackupError, Key, Manifest, RestoreOptions, Target, To, Verify, list, restore, verify,
};

use crate::{
    common::{Content, NAMESPACE, add, put},
    world::{World, content_of, options, silent},
};

/// A store whose backups are encrypted, and its key's file.
fn encrypted() -> World {
    let mut world = World::new();
    world.target = with_new_key(&world, "key");
    for n in 0..50 {
        world.execute(put(&format!("key{n}"), r#"{"n": 1}"#));
    }
    world
}

fn with_new_key(world: &World, name: &str) -> Target {
    Key::generate(&world.path(name)).unwrap();
    with_key(world, Some(name))
}

fn with_key(world: &World, name: Option<&str>) -> Target {
    let key = name.map(|name| Key::read(&world.path(name)).unwrap());
    world.target.clone().with_key(key)
}

fn key_id(manifest: &Manifest) -> &str {
    &manifest.encryption.as_ref().unwrap().key_id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_comes_back_with_its_key_only() {
    let world = encrypted();
    let full = world.full().await;
    world.execute(add("key7", 1));
    let next = world.incremental().await;
    let id = Key::read(&world.path("key")).unwrap().id().to_owned();
    assert_eq!((key_id(&full), key_id(&next)), (&*id, &*id));
    assert!(full.files.iter().all(|file| file.path.ends_with(".aes")));

    let report = world.restore(To::Latest, "restored").await.unwrap();
    assert_eq!(content_of(&report), Content::of(&world.store));

    let keyless = with_key(&world, None);
    let listed = list(&keyless).await.unwrap();
    assert_eq!(listed.backups, [full, next]);
    verify(&keyless, "latest", &Verify::Checksums, &silent)
        .await
        .unwrap();
    let other = with_new_key(&world, "other");
    let other_id = Key::read(&world.path("other")).unwrap().id().to_owned();
    for (target, given) in [(&keyless, "no key is given"), (&other, &*other_id)] {
        let in_the_log = To::Revision {
            namespace: NAMESPACE.into(),
            revision: 51,
        };
        for (to, dry_run) in [(To::Latest, false), (To::Latest, true), (in_the_log, true)] {
            let options = RestoreOptions {
                dry_run,
                ..options(to, world.path("in-vain"))
            };
            let error = restore(target, &options, &silent).await.unwrap_err();
            assert!(matches!(error, BackupError::Key { .. }), "{error}");
            let error = error.to_string();
            for part in [given, &id, "--key-file", "backup.key_file"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            assert!(!world.path("in-vain").exists());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_backup_has_the_key_of_what_it_continues() {
    let mut world = encrypted();
    world.full().await;
    world.execute(add("key7", 1));
    let own = world.target.clone();
    for target in [with_key(&world, None), with_new_key(&world, "other")] {
        world.target = target;
        let refused = world.create(&crate::world::incremental()).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("take a full backup first"), "{error}");
    }
    world.target = own;
    world.incremental().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_taken_for_that_of_another_backup_even_if_the_manifest_says_so() {
    let world = encrypted();
    let (old, new) = (world.full().await, world.full().await);
    let root = world.path("backups");
    let (from, to) = (&old.files[0], &new.files[0]);
    fs::copy(root.join(&from.path), root.join(&to.path)).unwrap();
    let told = world.restore(To::Latest, "restored").await.unwrap_err();
    assert!(told.to_string().contains(&to.path), "{told}");

    // Whoever can write to the target can make its manifests fit.
    forge(&root.join(format!("manifest/{}.json", new.id)), |text| {
        text.replace(&to.blake3, &from.blake3).replace(
            &format!("\"bytes\":{}", to.bytes),
            &format!("\"bytes\":{}", from.bytes),
        )
    });
    verify(&world.target, "latest", &Verify::Checksums, &silent)
        .await
        .unwrap();
    let told = world.restore(To::Latest, "restored").await.unwrap_err();
    let told = told.to_string();
    assert!(
        told.contains(&to.path) && told.contains("encrypted as another file"),
        "{told}"
    );
    assert!(!world.path("restored").exists());
}

/// Changes a manifest, with a checksum that is right.
fn forge(path: &Path, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let begin = text.find("\"manifest\":").unwrap() + "\"manifest\":".len();
    let forged = change(&text[begin..text.len() - 1]);
    let hash = blake3::hash(forged.as_bytes());
    fs::write(
        path,
        format!("{{\"blake3\":\"{hash}\",\"manifest\":{forged}}}"),
    )
    .unwrap();
}
