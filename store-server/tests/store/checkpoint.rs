//! Checkpoints: what a store that has lost its view comes back from.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::{OpenError, Store, repair},
};
use tempfile::TempDir;

use crate::{
    common::{
        Content, ENGINES, NAMESPACE, add, config, copy_dir, count_of, put,
        see_that_the_state_hash_is_right, segments, txn,
    },
    listing::listing,
};

const ACCOUNTS: u64 = 100;

const GOLD_EACH: i64 = 100;

/// Checkpoints all the time, and no log but what they need.
fn eager(dir: &Path, engine: EngineKind) -> Config {
    let mut config = config(dir, engine);
    config.log.checkpoint_bytes = 1;
    config.log.retention_bytes = 0;
    config.log.retention_secs = 0;
    config.log.dedup_window_secs = 0;
    config.view.overlay_bytes = 4 << 10;
    config
}

/// No checkpoints, but for those that are due for another reason.
fn lazy(dir: &Path) -> Config {
    config(dir, EngineKind::Sled)
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).into_iter().flatten() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn manifests(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("checkpoint/manifest"))
}

/// Waits until a checkpoint has everything.
fn wait_for_checkpoint(store: &Store) {
    loop {
        let log = store.status().log;
        if log.checkpoint_seq == log.last_seq {
            return;
        }
        thread::yield_now();
    }
}

/// Closes a store, whose directory is free then.
fn close(store: Store) {
    store.close();
}

fn account(n: u64) -> String {
    format!("account{:03}", n % ACCOUNTS)
}

/// Moves gold about until it is told to stop.
fn transfer(store: &Store, seed: u64, done: &AtomicBool) {
    let mut n = seed;
    while !done.load(Ordering::Relaxed) {
        n += 1;
        let moved = vec![
            add(&account(n * 7), -3),
            add(&account(n * 13 + 5), 1),
            add(&account(n * 29 + 50), 2),
        ];
        store.execute(NAMESPACE, txn(moved)).unwrap();
    }
}

/// A stopped store with a checkpoint of some of its commits, and its content. The log begins somewhere behind the first.
struct Stopped {
    dir: TempDir,
    content: Content,
}

impl Stopped {
    fn new() -> Stopped {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(eager(dir.path(), EngineKind::Sled)).unwrap();
        for n in 0..60 {
            store
                .execute(NAMESPACE, put(&account(n), r#"{"n": 1}"#))
                .unwrap();
        }
        while store.status().log.first_seq == 1 {
            thread::yield_now();
        }
        wait_for_checkpoint(&store);
        close(store);
        let store = Store::open(lazy(dir.path())).unwrap();
        store.execute(NAMESPACE, add("behind", 1)).unwrap();
        let content = Content::of(&store);
        close(store);
        Stopped { dir, content }
    }

    /// A copy of it.
    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        copy
    }

    /// A copy without its view.
    fn without_view(&self) -> TempDir {
        let copy = self.copy();
        fs::remove_dir_all(copy.path().join("view")).unwrap();
        copy
    }

    /// The files of the checkpoint, below a data directory.
    fn checkpoint(&self) -> Vec<PathBuf> {
        let found = files(&self.dir.path().join("checkpoint")).into_iter();
        let below = found.map(|path| path.strip_prefix(self.dir.path()).unwrap().to_owned());
        below.collect()
    }

    fn assert_opens(&self, dir: &Path, what: &str) {
        let store = Store::open(lazy(dir)).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(Content::of(&store), self.content, "{what}");
        see_that_the_state_hash_is_right(&store);
        close(store);
    }
}

#[test]
fn a_view_that_is_gone_comes_back_from_a_checkpoint_that_was_taken_while_gold_was_moved() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(eager(dir.path(), engine)).unwrap();
        let all = (0..ACCOUNTS).map(|n| put(&account(n), &format!(r#"{{"n": {GOLD_EACH}}}"#)));
        store.execute(NAMESPACE, txn(all.collect())).unwrap();
        let done = AtomicBool::new(false);
        let copies = thread::scope(|scope| {
            for seed in [0, 1_000_000] {
                let (store, done) = (&store, &done);
                scope.spawn(move || transfer(store, seed, done));
            }
            let mut copies = Vec::new();
            let mut seen = 0;
            while copies.len() < 4 {
                let checkpoint_seq = store.status().log.checkpoint_seq;
                if checkpoint_seq > seen {
                    seen = checkpoint_seq;
                    copies.push(as_if_killed(dir.path()));
                }
                thread::yield_now();
            }
            done.store(true, Ordering::Relaxed);
            copies
        });
        close(store);
        for copy in copies.iter().map(TempDir::path).chain([dir.path()]) {
            // The memory engine has none.
            let _ = fs::remove_dir_all(copy.join("view"));
            let store = Store::open(config(copy, engine)).unwrap();
            see_that_the_state_hash_is_right(&store);
            let content = Content::of(&store);
            let gold: i64 = content.records.iter().map(|(_, r)| count_of(Some(r))).sum();
            assert_eq!(gold, ACCOUNTS as i64 * GOLD_EACH);
            close(store);
        }
    }
}

/// A copy of a running store's directory without its view, as the death of the server would leave it. The log goes last: it
/// only grows, and what is removed of it is in the checkpoint.
fn as_if_killed(dir: &Path) -> TempDir {
    loop {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(dir.join("store.toml"), copy.path().join("store.toml")).unwrap();
        let parts = ["checkpoint/manifest", "checkpoint/data", "log"];
        let before = manifests(dir);
        let copied = parts
            .iter()
            .all(|part| try_copy(&dir.join(part), &copy.path().join(part)).is_ok());
        // If none was completed meanwhile, nothing that this one needs was removed.
        if copied && manifests(dir) == before {
            return copy;
        }
    }
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => try_copy(&from, &to)?,
            false => drop(fs::copy(from, to)?),
        }
    }
    Ok(())
}

/// What is in a directory that changes: one that is read only once may have the second of two new files without the first.
fn names(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let read = || -> std::io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(dir)?
            .map(|item| Ok(item?.file_name()))
            .collect::<std::io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let mut before = read()?;
    loop {
        let names = read()?;
        if names == before {
            return Ok(names);
        }
        before = names;
    }
}

#[test]
fn one_is_taken_when_the_last_is_old_and_it_has_all_commits() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lazy(dir.path());
    config.log.checkpoint_secs = 1;
    let store = Store::open(config).unwrap();
    for n in 0..3 {
        store.execute(NAMESPACE, add("count", n)).unwrap();
        wait_for_checkpoint(&store);
        assert_eq!(manifests(dir.path()).len(), 1, "the one before is gone");
    }
    close(store);
}

#[test]
fn a_damaged_checkpoint_is_told_with_the_file_and_the_command_when_the_view_is_gone() {
    let stopped = Stopped::new();
    let files = stopped.checkpoint();
    assert!(files.len() >= 2, "{files:?}");
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("a bit is flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("it is cut off", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("it is removed", |path| fs::remove_file(path).unwrap()),
    ];
    for file in &files {
        for (what, damage) in &damages {
            let what = format!("{}: {what}", file.display());
            let copy = stopped.without_view();
            damage(&copy.path().join(file));
            let Err(error) = Store::open(lazy(copy.path())) else {
                panic!("{what}: it opened")
            };
            let is_manifest = file.extension().is_some_and(|e| e == "json");
            if is_manifest && what.ends_with("removed") {
                // Nothing tells that there was one.
                assert!(matches!(error, OpenError::NoBase { .. }), "{what}: {error}");
                continue;
            }
            let told = error.to_string();
            let name = copy.path().join(file).display().to_string();
            assert!(told.contains(&name), "{what}: {told}");
            let command = format!(
                "stillpoint restore --from BACKUPS --to latest --into {}.restored",
                copy.path().display()
            );
            assert!(told.contains(&command), "{what}: {told}");
            // Whoever has the file still, puts it back.
            fs::copy(stopped.dir.path().join(file), copy.path().join(file)).unwrap();
            stopped.assert_opens(copy.path(), &what);
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_no_matter_where_the_view_is_whole_and_is_taken_anew() {
    let stopped = Stopped::new();
    let copy = stopped.copy();
    let before = manifests(copy.path());
    fs::write(&before[0], "{").unwrap();
    let store = Store::open(lazy(copy.path())).unwrap();
    assert_eq!(Content::of(&store), stopped.content);
    wait_for_checkpoint(&store);
    close(store);
    assert_ne!(manifests(copy.path()), before);
    fs::remove_dir_all(copy.path().join("view")).unwrap();
    stopped.assert_opens(copy.path(), "from the new one");
}

/// All segments with commits were trimmed, and the empty one that is left tells where the log goes on.
#[test]
fn a_damaged_checkpoint_is_no_matter_where_the_view_is_whole_and_the_log_is_empty() {
    let stopped = Stopped::new();
    let dir = stopped.dir.path();
    let store = Store::open(eager(dir, EngineKind::Sled)).unwrap();
    loop {
        let log = store.status().log;
        if log.first_seq > log.last_seq {
            break;
        }
        thread::yield_now();
    }
    close(store);
    let left = segments(dir);
    assert_eq!(left.len(), 1);
    let manifest = manifests(dir).remove(0);
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, "{").unwrap();
    let copy = stopped.copy();
    stopped.assert_opens(copy.path(), "with its view");
    fs::remove_dir_all(dir.join("view")).unwrap();
    let refused = Store::open(lazy(dir)).err().unwrap().to_string();
    assert!(
        refused.contains(&manifest.display().to_string()),
        "{refused}"
    );
    assert_eq!(segments(dir), left);
    fs::write(&manifest, whole).unwrap();
    stopped.assert_opens(dir, "with the checkpoint again");
}

#[test]
fn a_damaged_checkpoint_is_no_matter_where_the_log_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = lazy(dir.path());
    settings.log.checkpoint_secs = 1;
    let store = Store::open(settings).unwrap();
    store.execute(NAMESPACE, add("count", 1)).unwrap();
    wait_for_checkpoint(&store);
    let content = Content::of(&store);
    close(store);
    for file in files(&dir.path().join("checkpoint")) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        fs::remove_dir_all(copy.path().join("view")).unwrap();
        let file = copy.path().join(file.strip_prefix(dir.path()).unwrap());
        fs::write(&file, "{").unwrap();
        let store = Store::open(lazy(copy.path())).unwrap();
        assert_eq!(Content::of(&store), content, "{}", file.display());
        close(store);
    }
}

#[test]
fn a_repair_removes_no_checkpoint_that_it_cannot_read() {
    let stopped = Stopped::new();
    let copy = stopped.without_view();
    let manifest = manifests(copy.path()).remove(0);
    fs::write(&manifest, "{").unwrap();
    let log = segments(copy.path()).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let before = files(&copy.path().join("checkpoint"));
    let options = repair::RepairOptions::default();
    let error = repair::repair(&lazy(copy.path()), options).unwrap_err();
    assert!(
        error.to_string().contains(&manifest.display().to_string()),
        "{error}"
    );
    assert_eq!(files(&copy.path().join("checkpoint")), before);
}

#[test]
fn a_repair_keeps_the_view_if_the_checkpoint_turns_out_to_be_damaged() {
    let stopped = Stopped::new();
    let dir = stopped.dir.path();
    let view = dir.join("view");
    let older = tempfile::tempdir().unwrap();
    copy_dir(&view, older.path());
    let store = Store::open(eager(dir, EngineKind::Sled)).unwrap();
    for n in 0..60 {
        store.execute(NAMESPACE, add(&account(n), 1)).unwrap();
    }
    wait_for_checkpoint(&store);
    close(store);
    // The checkpoint reaches further than the view and the log, and a repair takes it.
    fs::remove_dir_all(&view).unwrap();
    fs::create_dir(&view).unwrap();
    copy_dir(older.path(), &view);
    fs::write(view.join("ours"), "").unwrap();
    let log = segments(dir).pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let data = files(&dir.join("checkpoint/data")).remove(0);
    let kept = fs::read(&data).unwrap();
    fs::remove_file(&data).unwrap();
    let options = repair::RepairOptions::default();
    let error = repair::repair(&lazy(dir), options).unwrap_err();
    let told = error.to_string();
    assert!(told.contains(&data.display().to_string()), "{told}");
    assert!(view.join("ours").exists(), "the view is the one that was");
    // Whoever has the file still, puts it back.
    fs::write(&data, kept).unwrap();
    let report = repair::repair(&lazy(dir), options).unwrap();
    assert_eq!(report.source, repair::StateSource::Checkpoint);
    assert!(!view.join("ours").exists());
    assert_eq!(report.lost_commits, 0, "{report:?}");
}

#[test]
fn what_a_killed_server_has_left_of_a_checkpoint_goes_and_the_one_before_is_used() {
    let stopped = Stopped::new();
    let copy = stopped.without_view();
    let checkpoint = copy.path().join("checkpoint");
    let whole = files(&checkpoint);
    let begun = checkpoint.join("data/20991231T235959.999Z-77");
    fs::create_dir(&begun).unwrap();
    fs::write(begun.join("records-000000.zst"), "half a fi").unwrap();
    fs::write(checkpoint.join("manifest/20991231T235959.new"), "{").unwrap();
    stopped.assert_opens(copy.path(), "with leftovers");
    assert_eq!(files(&checkpoint), whole);
    assert!(!begun.exists());
}

#[test]
fn a_store_that_is_closed_while_one_is_taken_gives_it_up_and_keeps_the_one_before() {
    let stopped = Stopped::new();
    let copy = stopped.copy();
    let before = files(&copy.path().join("checkpoint"));
    let mut slow = eager(copy.path(), EngineKind::Sled);
    slow.log.checkpoint_bytes_per_second = 1;
    let store = Store::open(slow).unwrap();
    let data = copy.path().join("checkpoint/data");
    // It has stored what it has, and waits hours for its turn.
    while files(&data).len() < 2 {
        thread::yield_now();
    }
    close(store);
    assert_eq!(files(&copy.path().join("checkpoint")), before);
    stopped.assert_opens(copy.path(), "closed");
}

#[test]
fn the_file_of_an_older_format_goes_when_there_is_a_checkpoint_of_ours() {
    for format in ["format-1", "format-2"] {
        let dir = tempfile::tempdir().unwrap();
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/fixtures");
        copy_dir(&Path::new(fixtures).join(format), dir.path());
        let store = Store::open(lazy(dir.path())).unwrap();
        wait_for_checkpoint(&store);
        let content = listing(&store);
        close(store);
        let old = fs::read_dir(dir.path().join("checkpoint")).unwrap();
        let old = old.map(|item| item.unwrap().file_name());
        let mut left: Vec<_> = old.collect();
        left.sort();
        assert_eq!(left, ["data", "manifest"], "{format}");
        fs::remove_dir_all(dir.path().join("view")).unwrap();
        let store = Store::open(lazy(dir.path())).unwrap();
        assert_eq!(listing(&store), content, "{format}");
        see_that_the_state_hash_is_right(&store);
        close(store);
    }
}
