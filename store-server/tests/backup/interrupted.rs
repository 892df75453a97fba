//! Backups and restores that fail or are given up at every one of their steps.

use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path,
};
use stillpoint_store_server::backup::{
    BackupError, CreateOptions, Target, To, create, list, restore,
};
use tokio::sync::Notify;

use crate::{
    common::{Content, put},
    damage::names,
    world::{World, content_of, incremental, options, silent},
};

/// What happens to the request that is one too many.
#[derive(Clone, Copy, Debug)]
enum Then {
    Fails,
    NeverEnds,
}

/// An object store in memory that answers so many requests.
#[derive(Debug)]
struct Unreliable {
    inner: Arc<InMemory>,
    left: AtomicUsize,
    then: Then,
    stuck: Arc<Notify>,
}

impl Unreliable {
    async fn request(&self) -> Result<()> {
        let left = |left: usize| left.checked_sub(1);
        if self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
        {
            return Ok(());
        }
        match self.then {
            Then::Fails => Err(Error::Generic {
                store: "test",
                source: "the bucket burns".into(),
            }),
            Then::NeverEnds => {
                self.stuck.notify_one();
                std::future::pending().await
            }
        }
    }
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreliable")
    }
}

#[async_trait]
impl ObjectStore for Unreliable {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.request().await?;
        self.inner.put_opts(at, bytes, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.request().await?;
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn target(inner: &Arc<InMemory>, left: usize, then: Then) -> (Target, Arc<Notify>) {
    let stuck = Arc::new(Notify::new());
    let store = Unreliable {
        inner: inner.clone(),
        left: left.into(),
        then,
        stuck: stuck.clone(),
    };
    (
        Target::new(
            Arc::new(store),
            Path::from("backups"),
            "test://bucket/backups",
        ),
        stuck,
    )
}

/// More than any backup or restore of these tests asks for.
const ENOUGH: usize = 1000;

/// A store with some MiB, so that there are several portions.
fn filled() -> World {
    let world = World::new();
    let mut noise = 1_u64;
    for n in 0..25 {
        let mut text = String::new();
        while text.len() < 800_000 {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text += &format!("{noise:016x}");
        }
        world.execute(put(&format!("book{n}"), &format!("{text:?}")));
    }
    // The directory that other tests use.
    fs::create_dir(world.path("backups")).unwrap();
    world
}

/// Every backup that is listed is whole.
async fn see_that_what_is_listed_is_whole(target: &Target, world: &World, count: usize) {
    let listing = list(target).await.unwrap();
    assert!(listing.damaged.is_empty());
    assert_eq!(listing.backups.len(), count);
    for backup in &listing.backups {
        let options = stillpoint_store_server::backup::RestoreOptions {
            backup: backup.id.clone(),
            dry_run: false,
            reserve_bytes: 0,
            ..options(To::Latest, world.path("restored"))
        };
        let report = restore(target, &options, &silent).await.unwrap();
        assert_eq!(report.state_hash, backup.state_hash);
        fs::remove_dir_all(&report.into).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_at_any_step_is_none_and_the_next_one_is_whole() {
    for then in [Then::Fails, Then::NeverEnds] {
        let (world, bucket) = (filled(), Arc::new(InMemory::new()));
        let (sound, _) = target(&bucket, ENOUGH, then);
        let mut steps = 0;
        loop {
            let (target, stuck) = target(&bucket, steps, then);
            let options = CreateOptions::default();
            let done = tokio::select! {
                done = create(&world.store, &target, &options, &silent) => Some(done),
                () = stuck.notified() => None,
            };
            match done {
                Some(Ok(_)) => break,
                Some(Err(error)) => {
                    assert!(
                        error.to_string().contains("test://bucket/backups/"),
                        "{error}"
                    );
                    assert!(matches!(error, BackupError::Target { .. }), "{error}");
                }
                None => {}
            }
            assert_eq!(list(&sound).await.unwrap().backups, []);
            steps += 1;
        }
        assert!(
            steps >= 5,
            "store.json, records, log and the manifest: {steps}"
        );
        world.execute(put("book0", "1"));
        create(&world.store, &sound, &incremental(), &silent)
            .await
            .unwrap();
        see_that_what_is_listed_is_whole(&sound, &world, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_at_any_step_leaves_nothing() {
    let (world, bucket) = (filled(), Arc::new(InMemory::new()));
    let (sound, _) = target(&bucket, ENOUGH, Then::Fails);
    create(&world.store, &sound, &CreateOptions::default(), &silent)
        .await
        .unwrap();
    for then in [Then::Fails, Then::NeverEnds] {
        let mut steps = 0;
        let report = loop {
            let (target, stuck) = target(&bucket, steps, then);
            let options = options(To::Latest, world.path(&format!("restored{steps}")));
            let done = tokio::select! {
                done = restore(&target, &options, &silent) => Some(done),
                () = stuck.notified() => None,
            };
            match done {
                Some(Ok(report)) => break report,
                Some(Err(error)) => {
                    assert!(
                        error.to_string().contains("test://bucket/backups/"),
                        "{error}"
                    );
                }
                None => {}
            }
            wait_until_nothing_is_there(&world);
            steps += 1;
        };
        assert!(steps >= 4, "the manifest, records and log: {steps}");
        assert_eq!(content_of(&report), Content::of(&world.store));
        fs::remove_dir_all(&report.into).unwrap();
    }
}

/// The builder's thread removes what it has built when it finds that nobody waits.
fn wait_until_nothing_is_there(world: &World) {
    let begun = Instant::now();
    while names(world) != ["backups", "store"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", names(world));
        std::thread::yield_now();
    }
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
