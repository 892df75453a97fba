//! From a data directory to a store that is ready: check the log, open or rebuild the view, replay what it lacks,
//! rebuild the table of answers.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use thiserror::Error;

use super::{
    checkpoint::{self, Background, CheckpointError, Found},
    clock::now_ms,
    datadir::{DataDir, DataDirError, io_error},
    dedup::Dedup,
    index::Index,
    keys::{self, System},
    record::Record,
    state_hash::StateHash,
    view::{Applied, Namespace, Snapshot, View},
};
use crate::{
    config::{Config, EngineKind},
    engine::{self, Engine, EngineError},
    log::{self, Damage, Entry, LogError, OnTornTail, Recovered},
};

/// Why a store cannot be opened. Nothing was changed, but for a torn tail that may have been cut.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Acknowledged commits cannot be read.
    #[error(
        "{damage}\nThe server refuses to serve, since acknowledged commits would be missing. To see what can be saved:\n  \
         stillpoint repair --data-dir {} --dry-run\nTo save it:\n  stillpoint repair --data-dir {}", .dir.display(), .dir.display()
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What is damaged.
        damage: Damage,
    },
    /// The view has commits that the log does not have.
    #[error(
        "the view has commits up to {applied}, but the log ends with {last}: its end is missing.\nThe server refuses to \
         serve, since acknowledged commits would be missing from the log. To see what can be saved:\n  stillpoint repair \
         --data-dir {} --dry-run\nTo save it:\n  stillpoint repair --data-dir {}", .dir.display(), .dir.display()
    )]
    LogTooShort {
        /// The data directory.
        dir: PathBuf,
        /// Sequence number of the newest commit in the view.
        applied: u64,
        /// Sequence number of the newest commit in the log.
        last: u64,
    },
    /// The view cannot be rebuilt.
    #[error(
        "the view must be rebuilt, but the log begins with commit {first} and no checkpoint covers what was before. \
         Restore {} from a backup", .dir.display()
    )]
    NoBase {
        /// The data directory.
        dir: PathBuf,
        /// Sequence number of the oldest commit in the log.
        first: u64,
    },
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A store that is ready to serve, in parts.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Recovered,
    /// The view, up to the log's end.
    pub view: View,
    /// The table of answers.
    pub dedup: Dedup,
    /// Sessions, claims and timers.
    pub index: Index,
    /// Sequence number the newest checkpoint covers; 0: there is none.
    pub checkpoint_seq: u64,
    /// When the next one is due.
    pub checkpoint: Background,
    /// Sequence number of the newest commit in the engine.
    pub applied_seq: u64,
}

/// What happens to a view that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldView {
    /// It is used if it can be.
    Use,
    /// It is replaced.
    Discard,
}

/// Progress is told every so many commits or records.
const PROGRESS_EVERY: u64 = 100_000;

/// Brings everything up to the end of the log.
pub fn open(dir: &DataDir, config: &Config, old_view: OldView) -> Result<Opened, OpenError> {
    let root = dir.root();
    let found = checkpoint::find(&dir.checkpoint(), dir.identity().store_id)?;
    let checkpoint = Background::new(&found);
    let checkpoint_seq = found.seq();
    let log = check_log(dir, config, OnTornTail::Cut)?;
    remove_unfinished(&dir.log())?;
    checkpoint::sweep(&dir.checkpoint())?;
    if let Some(cut) = &log.cut {
        tracing::warn!(
            segment = %cut.path.display(),
            bytes = cut.bytes,
            saved_to = %cut.saved_to.display(),
            "cut an unfinished write off the log's end, as a crash leaves it; no acknowledged commit was in it"
        );
    }
    let (engine, applied) = open_engine(dir, config, &log, found, old_view)?;
    if applied.seq >= log.next_seq {
        return Err(OpenError::LogTooShort {
            dir: root.into(),
            applied: applied.seq,
            last: log.next_seq - 1,
        });
    }
    let view = View::new(engine, &applied, config.view.record_cache_bytes);
    let mut dedup = Dedup::new(
        config.log.dedup_entries,
        config.log.dedup_window_secs.saturating_mul(1000),
    );
    let mut replay = Replay::new(&view, &applied, config.view.overlay_bytes);
    let dedup_from_ms = remembered_since_ms(&log, dedup.window_ms());
    let dedup_seq = first_seq_since(&log, dedup_from_ms).unwrap_or(log.next_seq);
    let mut is_remembered = false;
    let mut named_since = HashSet::new();
    let replayed = log::recovery::replay(
        &log.segments,
        dedup_seq.min(applied.seq + 1),
        |seq, entry| {
            let damaged = |detail| {
                LogError::Damaged(Damage {
                    path: dir.log(),
                    offset: 0,
                    seq,
                    detail,
                })
            };
            // What follows is later, though the clock, which may have been set back, says otherwise: the table must have
            // no hole behind its floor.
            is_remembered |= entry.time_ms >= dedup_from_ms;
            if is_remembered {
                if !named_since.contains(entry.namespace) {
                    let namespace: Arc<str> = entry.namespace.into();
                    dedup.once.raise_floor(&namespace, entry.revision - 1);
                    named_since.insert(namespace);
                }
                dedup.insert_from_log(entry).map_err(damaged)?;
            }
            if seq > applied.seq {
                replay.entry(seq, entry)?.map_err(damaged)?;
            }
            Ok::<(), ReplayError>(())
        },
    );
    replayed.map_err(|e| e.into_open(root))?;
    let applied_seq = replay.finish()?;
    if view.applied().state_hash.is_none() {
        let counted = count_state_hash(&view.read())?;
        view.know(counted);
        // So that the next start need not.
        mark(view.engine(), &view.applied())?;
    }
    for (namespace, state) in view.read().namespaces() {
        if !named_since.contains(namespace) {
            dedup.once.raise_floor(&namespace.into(), state.revision);
        }
    }
    Ok(Opened {
        index: build_index(&view)?,
        log,
        view,
        dedup,
        checkpoint_seq,
        checkpoint,
        applied_seq,
    })
}

/// Reads all records for their hash: of a store whose last commit was made by a program that did not know it.
pub fn count_state_hash(snapshot: &Snapshot<'_>) -> Result<StateHash, EngineError> {
    let mut hash = StateHash::default();
    for (pair, count) in snapshot.scan(keys::all_records(), false).zip(1..) {
        let (key, value) = pair?;
        let record = Record::decode(&value).map_err(|detail| EngineError {
            engine: "view",
            detail,
        })?;
        hash.add(&key, &record);
        if u64::is_multiple_of(count, PROGRESS_EVERY) {
            tracing::info!(records = count, "computing the hash of the records");
        }
    }
    Ok(hash)
}

/// Reads sessions, claims and timers from the view.
pub fn build_index(view: &View) -> Result<Index, EngineError> {
    let snapshot = view.read();
    let mut index = Index::default();
    for (namespace, _) in snapshot.namespaces() {
        let ranges = System::INDEXED.map(|system| keys::systems(namespace, system, b""));
        for pair in ranges
            .into_iter()
            .flat_map(|range| snapshot.scan(range, false))
        {
            let (key, value) = pair?;
            let applied =
                Record::decode(&value).and_then(|record| index.apply(&key, Some(&record)));
            let engine = view.engine().name();
            applied.map_err(|detail| EngineError { engine, detail })?;
        }
    }
    Ok(index)
}

/// Checks the log as far as the settings say.
pub fn check_log(dir: &DataDir, config: &Config, torn: OnTornTail) -> Result<Recovered, OpenError> {
    let found = checkpoint::find(&dir.checkpoint(), dir.identity().store_id)?;
    let expected = log::recovery::Expected {
        store_id: dir.identity().store_id.into_bytes(),
        first_seq: found.seq() + 1,
        verify_all: config.log.verify_at_start,
        torn,
    };
    let log = log::recover(&dir.log(), &expected).map_err(|e| log_error(dir.root(), e))?;
    match found.damaged {
        // Where the log goes on, nothing else tells.
        Some(error) if !log.is_known => Err(error.into()),
        _ => Ok(log),
    }
}

/// Writes down how far an engine is, durably.
pub fn mark(engine: &dyn Engine, applied: &Applied) -> Result<(), EngineError> {
    engine.flush()?;
    let key = bytes::Bytes::from_static(keys::APPLIED);
    engine.apply(&[(key, Some(applied.encode().into()))])?;
    engine.flush()
}

/// Opens the engine if it can be used, else rebuilds it from the checkpoint.
fn open_engine(
    dir: &DataDir,
    config: &Config,
    log: &Recovered,
    found: Found,
    old_view: OldView,
) -> Result<(Arc<dyn Engine>, Applied), OpenError> {
    if old_view == OldView::Discard {
        return rebuild(dir, config, log, found, "it was asked for");
    }
    let opened = engine::open(&dir.view(), &config.view).and_then(|engine| {
        let applied = checkpoint::read_applied(&*engine)?;
        Ok((engine, applied))
    });
    let usable = match opened {
        Ok((engine, Some(applied))) if applied.seq + 1 >= log.first_seq => Ok((engine, applied)),
        Ok((engine, None)) if log.first_seq == 1 && found.newest.is_none() => {
            Ok((engine, Applied::default()))
        }
        Ok((_, Some(_))) => Err("it is older than the log".into()),
        Ok((_, None)) => Err("it is missing".into()),
        Err(error) => Err(error.to_string()),
    };
    match (usable, &found.damaged) {
        (Ok(usable), None) => Ok(usable),
        (Ok(usable), Some(error)) => {
            tracing::warn!(%error, "the view is whole, so the store opens all the same, and takes a new checkpoint");
            Ok(usable)
        }
        (Err(why), _) => rebuild(dir, config, log, found, &why),
    }
}

/// Makes a new engine from the newest checkpoint; the old one stays until the new one is complete.
fn rebuild(
    dir: &DataDir,
    config: &Config,
    log: &Recovered,
    found: Found,
    why: &str,
) -> Result<(Arc<dyn Engine>, Applied), OpenError> {
    let base_seq = found.seq();
    if base_seq + 1 < log.first_seq {
        return Err(match found.damaged {
            Some(error) => error.into(),
            None => OpenError::NoBase {
                dir: dir.root().into(),
                first: log.first_seq,
            },
        });
    }
    let is_kept = config.view.engine != EngineKind::Memory;
    let begun = Instant::now();
    if is_kept {
        tracing::info!(why, from_checkpoint = base_seq, "rebuilding the view");
    }
    // Built aside: the old view may have what nothing else has, so it goes last.
    let path = dir.view();
    let (aside, old) = (path.with_extension("rebuilt"), path.with_extension("old"));
    let (engine, applied) = fill(dir, config, log, &found, &aside)?;
    mark(&*engine, &applied)?;
    if !is_kept {
        return Ok((engine, applied));
    }
    drop(engine);
    remove_dir(&old)?;
    if path.exists() {
        fs::rename(&path, &old).map_err(io_error(&path))?;
    }
    fs::rename(&aside, &path).map_err(io_error(&path))?;
    remove_dir(&old)?;
    tracing::info!(
        seq = applied.seq,
        secs = begun.elapsed().as_secs_f32(),
        "rebuilt the view; the log behind the checkpoint follows"
    );
    Ok((engine::open(&path, &config.view)?, applied))
}

/// Fills a new engine from the newest checkpoint. One that is damaged is not needed while the log has everything.
fn fill(
    dir: &DataDir,
    config: &Config,
    log: &Recovered,
    found: &Found,
    path: &Path,
) -> Result<(Arc<dyn Engine>, Applied), OpenError> {
    let new_engine = || {
        remove_dir(path)?;
        Ok::<_, OpenError>(engine::open(path, &config.view)?)
    };
    if let Some(newest) = &found.newest {
        let engine = new_engine()?;
        let loaded = checkpoint::load(
            &dir.checkpoint(),
            newest,
            &engine,
            config.view.overlay_bytes,
        );
        match loaded {
            Ok(applied) => return Ok((engine, applied)),
            Err(error @ CheckpointError::Damaged { .. }) if log.first_seq == 1 => {
                tracing::warn!(%error, "rebuilding the view from the log, which has everything");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((new_engine()?, Applied::default()))
}

/// Removes what a server that was killed had not finished writing.
fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    for item in fs::read_dir(dir).map_err(io_error(dir))? {
        let path = item.map_err(io_error(dir))?.path();
        if path.extension().is_some_and(|e| e == "new") {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

fn remove_dir(path: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(path)(e).into()),
        _ => Ok(()),
    }
}

/// Since when the answers of commits are remembered: for the window before the newest commit. It is not counted from now,
/// since a clock that was set forward would make a new commit an old one, and its repeat a new write.
fn remembered_since_ms(log: &Recovered, window_ms: u64) -> u64 {
    let segments = log.segments.snapshot();
    let mut times = segments.iter().rev().map(|segment| segment.newest_ms);
    let now_ms = now_ms();
    // A segment without a commit has no time.
    let newest_ms = times.find(|newest_ms| *newest_ms > 0).unwrap_or(now_ms);
    now_ms.min(newest_ms).saturating_sub(window_ms)
}

/// Sequence number from which on there may be commits younger than `since_ms`.
fn first_seq_since(log: &Recovered, since_ms: u64) -> Option<u64> {
    let segments = log.segments.snapshot();
    segments
        .iter()
        .find(|segment| segment.newest_ms >= since_ms)
        .map(|segment| segment.first_seq)
}

/// Brings log entries into a view.
pub struct Replay<'a> {
    view: &'a View,
    namespaces: std::collections::HashMap<Arc<str>, Namespace>,
    overlay_bytes: usize,
    applied_seq: u64,
    count: u64,
}

impl<'a> Replay<'a> {
    /// Replays onto `view`, which is as far as `applied`.
    pub fn new(view: &'a View, applied: &Applied, overlay_bytes: usize) -> Self {
        let namespaces = applied
            .namespaces
            .iter()
            .map(|(name, ns)| (name.as_str().into(), *ns))
            .collect();
        Replay {
            view,
            namespaces,
            overlay_bytes,
            applied_seq: applied.seq,
            count: 0,
        }
    }

    /// Brings in one entry; the inner error tells what is wrong with it.
    pub fn entry(
        &mut self,
        seq: u64,
        entry: &Entry<'_>,
    ) -> Result<Result<(), String>, EngineError> {
        let name: Arc<str> = entry.namespace.into();
        let namespace = self.namespaces.entry(name.clone()).or_default();
        if entry.revision != namespace.revision + 1 {
            return Ok(Err(format!(
                "namespace {name} is at revision {}, the entry is revision {}",
                namespace.revision, entry.revision
            )));
        }
        namespace.revision = entry.revision;
        namespace.records = namespace.records.saturating_add_signed(entry.records_delta);
        let mut changes = Vec::with_capacity(entry.changes.len());
        for change in &entry.changes {
            let key = keys::record(entry.namespace, change.collection, change.key);
            let record = change
                .written
                .as_ref()
                .map(|w| Record::from_log(entry.revision, w));
            if let Some(record) = &record
                && record.expires_at_ms > 0
            {
                changes.push((
                    keys::expiry(record.expires_at_ms, &key),
                    Some(bytes::Bytes::new()),
                ));
            }
            changes.push((key, record.map(|r| r.encode())));
        }
        let state_hash = StateHash::from_bytes(entry.state_hash);
        (self.view).publish(changes, [(name, *namespace)], seq, state_hash);
        self.count += 1;
        if self.count.is_multiple_of(PROGRESS_EVERY) {
            tracing::info!(commits = self.count, "replaying the log");
        }
        if self.view.read().active_bytes() >= self.overlay_bytes {
            self.apply()?;
        }
        Ok(Ok(()))
    }

    fn apply(&mut self) -> Result<(), EngineError> {
        if let Some(frozen) = self.view.freeze() {
            self.view.apply(&frozen)?;
            self.applied_seq = frozen.seq();
        }
        Ok(())
    }

    /// Brings the rest into the engine; gives the sequence number it has then.
    pub fn finish(mut self) -> Result<u64, EngineError> {
        self.apply()?;
        Ok(self.applied_seq)
    }
}

/// Why replay stopped.
enum ReplayError {
    Engine(EngineError),
    Log(LogError),
}

impl ReplayError {
    fn into_open(self, dir: &Path) -> OpenError {
        match self {
            ReplayError::Engine(error) => error.into(),
            ReplayError::Log(error) => log_error(dir, error),
        }
    }
}

impl From<LogError> for ReplayError {
    fn from(error: LogError) -> Self {
        ReplayError::Log(error)
    }
}

impl From<EngineError> for ReplayError {
    fn from(error: EngineError) -> Self {
        ReplayError::Engine(error)
    }
}

fn log_error(dir: &Path, error: LogError) -> OpenError {
    match error {
        LogError::Damaged(damage) => OpenError::Damaged {
            dir: dir.to_owned(),
            damage,
        },
        LogError::Io { path, source } => OpenError::Io { path, source },
    }
}
