//! What is wrong with a target is told by the file's name, and nothing is restored.

use std::{fs, sync::Arc};

use object_store::{RetryConfig, aws::AmazonS3Builder};
use stillpoint_store_server::backup::{BackupError, Target, To, Verify, create, list, verify};

use crate::{
    common::{add, put},
    world::{World, incremental, silent},
};

/// A store with a full backup and an incremental one.
async fn backed_up() -> World {
    let world = World::new();
    for n in 0..50 {
        world.execute(put(&format!("key{n}"), r#"{"n": 1}"#));
    }
    world.full().await;
    world.execute(add("key7", 1));
    world.incremental().await;
    world
}

/// Neither check nor restore pass, and both name the file.
async fn see_that_it_is_told(world: &World, file: &str) {
    let error = verify(&world.target, "latest", &Verify::Checksums, &silent).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(file), "{file}: {error}");
    let error = world
        .restore(To::Latest, "restored")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(file), "{file}: {error}");
    see_that_nothing_is_there(world);
}

/// No directory, and no traces of one.
fn see_that_nothing_is_there(world: &World) {
    assert_eq!(names(world), ["backups", "store"]);
}

/// What is there beside the store.
pub fn names(world: &World) -> Vec<std::ffi::OsString> {
    let names = fs::read_dir(world.dir.path())
        .unwrap()
        .map(|item| item.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn data_files(world: &World) -> Vec<String> {
    let files = world.files().into_iter();
    files.filter(|file| file.starts_with("data/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_told_wherever_it_is() {
    let world = backed_up().await;
    for file in data_files(&world) {
        let path = world.path("backups").join(&file);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            see_that_it_is_told(&world, &file).await;
        }
        fs::write(&path, &whole).unwrap();
    }
    world.restore(To::Latest, "restored").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_any_byte_changed_is_no_backup() {
    let world = backed_up().await;
    let manifests = world
        .files()
        .into_iter()
        .filter(|file| file.starts_with("manifest/"));
    let newest = manifests.max().unwrap();
    let path = world.path("backups").join(&newest);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let listing = list(&world.target).await.unwrap();
        assert_eq!(
            (listing.backups.len(), listing.damaged.len()),
            (1, 1),
            "byte {at}"
        );
        let error = listing.damaged[0].to_string();
        assert!(error.contains(&newest), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_a_truncated_and_an_exchanged_file_are_told() {
    let world = backed_up().await;
    let files = data_files(&world);
    for file in &files {
        let path = world.path("backups").join(file);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        see_that_it_is_told(&world, file).await;
        for bytes in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..bytes]).unwrap();
            see_that_it_is_told(&world, file).await;
        }
        fs::write(&path, &whole).unwrap();
    }
    // The log of another backup in its place: the records may be the same, as long as the engine has nothing new.
    world.execute(add("key8", 1));
    world.full().await;
    let newest: Vec<_> = data_files(&world)
        .into_iter()
        .filter(|f| !files.contains(f))
        .collect();
    let log = |files: &[String]| files.iter().find(|f| f.contains("log")).unwrap().clone();
    let (old, new) = (log(&files), log(&newest));
    let backups = world.path("backups");
    fs::copy(backups.join(old), backups.join(&new)).unwrap();
    see_that_it_is_told(&world, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_exchanged_between_two_backups_are_told() {
    let world = backed_up().await;
    let first = data_files(&world);
    world.execute(add("key9", 1));
    world.full().await;
    world.execute(add("key9", 1));
    world.incremental().await;
    let second = data_files(&world).into_iter();
    let second: Vec<_> = second.filter(|file| !first.contains(file)).collect();
    let backups = world.path("backups");
    let is_log = |file: &String| file.contains("/log-");
    let content = |file: &String| fs::read(backups.join(file)).unwrap();
    let mut exchanged = 0;
    for file in &second {
        let of_its_kind = first.iter().filter(|other| is_log(other) == is_log(file));
        for other in of_its_kind {
            // The records may be the same, as long as the engine has nothing new.
            if content(file) == content(other) {
                continue;
            }
            exchanged += 1;
            let exchange = || {
                let [a, b] = [file, other].map(|file| backups.join(file));
                let kept = fs::read(&a).unwrap();
                fs::copy(&b, &a).unwrap();
                fs::write(&b, kept).unwrap();
            };
            exchange();
            see_that_it_is_told(&world, file).await;
            exchange();
        }
    }
    assert!(exchanged > 0, "all files are the same");
    world.restore(To::Latest, "restored").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_another_backup_is_none() {
    let world = backed_up().await;
    let ids: Vec<_> = (list(&world.target).await.unwrap().backups.into_iter())
        .map(|manifest| manifest.id)
        .collect();
    let [old, new] = [0, 1].map(|nth| format!("manifest/{}.json", ids[nth]));
    let backups = world.path("backups");
    fs::copy(backups.join(&old), backups.join(&new)).unwrap();
    let listing = list(&world.target).await.unwrap();
    assert_eq!((listing.backups.len(), listing.damaged.len()), (1, 1));
    let told = listing.damaged[0].to_string();
    let names_both = told.contains(&new) && told.contains(&format!("that of backup {}", ids[0]));
    assert!(names_both, "{told}");
    // Whoever asks for it is told, too.
    let error = verify(&world.target, &ids[1], &Verify::Checksums, &silent).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&new), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_not_an_older_one_when_its_manifest_is_damaged() {
    let world = backed_up().await;
    let older = list(&world.target).await.unwrap().backups[1].id.clone();
    world.execute(add("one-more", 1));
    let newest = world.incremental().await.id;
    let damage = |id: &str| {
        let path = world.path("backups").join(format!("manifest/{id}.json"));
        fs::write(path, "{}").unwrap();
    };
    damage(&newest);
    let error = world.restore(To::Latest, "restored").await.unwrap_err();
    assert!(matches!(error, BackupError::NoBackup { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains(&newest) && told.contains(&older), "{told}");
    // Whoever names it gets it.
    verify(&world.target, &older, &Verify::Checksums, &silent)
        .await
        .unwrap();
    // What is continued and damaged was not removed.
    let full = list(&world.target).await.unwrap().backups[0].id.clone();
    damage(&full);
    let error = verify(&world.target, &older, &Verify::Checksums, &silent).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, BackupError::Damaged { file, .. } if file.contains(&full)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_parent_is_gone_is_told_from_the_one_that_is_missing() {
    let world = backed_up().await;
    let listing = list(&world.target).await.unwrap();
    let manifest = format!("manifest/{}.json", listing.backups[0].id);
    fs::remove_file(world.path("backups").join(&manifest)).unwrap();
    see_that_it_is_told(&world, &manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_another_store_is_refused_and_left_as_it_is() {
    let (world, other) = (backed_up().await, World::new());
    let before = world.files();
    let refused = create(&other.store, &world.target, &incremental(), &silent).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, BackupError::ForeignStore { .. }), "{error}");
    assert!(error.to_string().contains(world.target.url()), "{error}");
    assert_eq!(world.files(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_backup_needs_one_to_continue() {
    let world = World::new();
    let error = world.create(&incremental()).await.unwrap_err();
    assert!(
        error.to_string().contains("take a full backup first"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_has_files_is_not_restored_into() {
    let world = backed_up().await;
    fs::create_dir(world.path("restored")).unwrap();
    fs::write(world.path("restored/diary"), "dear").unwrap();
    let error = world.restore(To::Latest, "restored").await.unwrap_err();
    assert!(
        error.to_string().contains("restored is not empty"),
        "{error}"
    );
    fs::remove_file(world.path("restored/diary")).unwrap();
    world.restore(To::Latest, "restored").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_used_is_named() {
    let world = World::new();
    fs::write(world.path("file"), "").unwrap();
    let below_a_file = world.path("file/backups");
    let target = Target::open(below_a_file.to_str().unwrap()).unwrap();
    let failed = create(&world.store, &target, &Default::default(), &silent).await;
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("file/backups/store.json"), "{error}");
    let error = Target::open("ftp://host/x").unwrap_err().to_string();
    assert!(error.contains("ftp://host/x"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_is_named() {
    let world = World::new();
    // It needs no bucket to say where one is.
    let target = Target::open("s3://bucket/prefix").unwrap();
    assert_eq!(target.url(), "s3://bucket/prefix");
    // Nobody listens on port 1.
    let silent_bucket = AmazonS3Builder::new()
        .with_bucket_name("bucket")
        .with_endpoint("http://127.0.0.1:1")
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
        .build()
        .unwrap();
    let target = Target::new(
        Arc::new(silent_bucket),
        "prefix".into(),
        "s3://bucket/prefix",
    );
    let failed = create(&world.store, &target, &Default::default(), &silent).await;
    let error = failed.unwrap_err();
    assert!(matches!(error, BackupError::Target { .. }), "{error}");
    assert!(
        error.to_string().contains("s3://bucket/prefix/store.json"),
        "{error}"
    );
    assert!(list(&target).await.is_err());
}
