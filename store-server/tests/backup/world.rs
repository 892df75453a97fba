//! A store, a directory for its backups, and what is restored from them.

use std::path::{Path, PathBuf};

use stillpoint_proto::v1::Op;
use stillpoint_store_server::{
    backup::{
        BackupError, CreateOptions, Manifest, Progress, RestoreOptions, RestoreReport, Target, To,
        create, restore,
    },
    config::{Config, EngineKind},
    store::Store,
};
use tempfile::TempDir;

use crate::common::{Content, NAMESPACE, config};

/// A store and a directory for its backups.
pub struct World {
    pub store: Store,
    pub target: Target,
    pub dir: TempDir,
}

impl World {
    /// An empty store with little room in memory, so that much is always on its way to the engine.
    pub fn new() -> World {
        World::with(|_| {})
    }

    /// The same with other settings.
    pub fn with(change: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir.path().join("store"), EngineKind::Sled);
        config.view.overlay_bytes = 4 << 10;
        config.log.segment_bytes = 64 << 10;
        change(&mut config);
        World {
            store: Store::open(config).unwrap(),
            target: Target::open(dir.path().join("backups").to_str().unwrap()).unwrap(),
            dir,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn execute(&self, op: Op) {
        self.store.execute(NAMESPACE, op).unwrap();
    }

    pub async fn full(&self) -> Manifest {
        self.create(&CreateOptions::default()).await.unwrap()
    }

    pub async fn incremental(&self) -> Manifest {
        self.create(&incremental()).await.unwrap()
    }

    pub async fn create(&self, options: &CreateOptions) -> Result<Manifest, BackupError> {
        create(&self.store, &self.target, options, &silent).await
    }

    /// Restores into a new directory of this name.
    pub async fn restore(&self, to: To, into: &str) -> Result<RestoreReport, BackupError> {
        restore(&self.target, &options(to, self.path(into)), &silent).await
    }

    /// The files of backups, by path in the target.
    pub fn files(&self) -> Vec<String> {
        let root = self.path("backups");
        let mut found = Vec::new();
        walk(&root, &mut found);
        let below = found.iter().map(|path| path.strip_prefix(&root).unwrap());
        let mut below: Vec<String> = below.map(|path| path.display().to_string()).collect();
        below.sort();
        below
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(dir).into_iter().flatten() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false => found.push(path),
        }
    }
}

/// Nobody looks at the progress.
pub fn silent(_: Progress) {}

/// An incremental backup.
pub fn incremental() -> CreateOptions {
    CreateOptions {
        incremental: true,
        ..CreateOptions::default()
    }
}

/// The newest backup, restored to a state.
pub fn options(to: To, into: PathBuf) -> RestoreOptions {
    RestoreOptions {
        backup: "latest".into(),
        to,
        into,
        dry_run: false,
        reserve_bytes: 0,
    }
}

/// Opens what was restored, sees that it is sound and can be written, and gives what it had at first.
pub fn content_of(report: &RestoreReport) -> Content {
    let store = Store::open(config(&report.into, EngineKind::Sled)).unwrap();
    let state = store.state();
    assert_eq!(state, store.counted_state().unwrap());
    assert_eq!(state.seq, report.seq);
    assert_eq!(state.namespaces, report.namespaces);
    assert_eq!(Some(state.state_hash.to_string()), report.state_hash);
    assert_eq!(store.header().incarnation, report.incarnation);
    let content = Content::of(&store);
    let one_more = crate::common::add("one-more", 1);
    store.execute(NAMESPACE, one_more).unwrap();
    assert_eq!(Content::of(&store).revision, content.revision + 1);
    store.close();
    content
}
