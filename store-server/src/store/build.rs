//! A data directory made of records and log entries: what a restore does.
//!
//! The records may be fuzzy: as of some commit, and some of them newer. The log entries behind that commit mend this, as they
//! do for a checkpoint. The result is compared with the state hash that the last entry has; a store opens it from the
//! checkpoint that is taken of it, and begins its log behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use stillpoint_migrations::format::Identity;
use thiserror::Error;

use super::{
    checkpoint::{self, CheckpointError},
    datadir::{DataDir, DataDirError, io_error},
    keys,
    open::{self, Replay, count_state_hash},
    record::Record,
    view::{Applied, View},
};
use crate::{
    config::ViewConfig,
    engine::{self, Engine, EngineError, KeyChange},
    log::{Entry, segment::sync_dir},
};

/// Why a data directory could not be made.
#[derive(Debug, Error)]
pub(crate) enum BuildError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The checkpoint could not be taken.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What was given makes no sense.
    #[error("{0}")]
    Content(String),
    /// The records are not those that the log speaks of.
    #[error("its state hash is {found}, the log has {expected}")]
    Differs {
        /// What the log has.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// A data directory being made. It is removed when it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct Builder {
    // Dropped in this order: the engine lets go of its files, they are removed, and only then may another have the directory.
    view: View,
    engine: Arc<dyn Engine>,
    unfinished: Unfinished,
    dir: DataDir,
    config: ViewConfig,
    time_ms: u64,
}

/// Changes given to the engine at once.
const CHANGES_MAX: usize = 1024;

impl Builder {
    /// Begins a store of this identity in `root`, in place of whatever is there. The records that are going to be added are
    /// at least as far as `applied`.
    pub fn new(root: &Path, identity: &Identity, applied: &Applied) -> Result<Builder, BuildError> {
        let dir = DataDir::replace(root, identity)?;
        let unfinished = Unfinished(Some(root.to_owned()));
        let config = ViewConfig::default();
        let engine = engine::open(&dir.view(), &config)?;
        Ok(Builder {
            view: View::new(engine.clone(), applied, 0),
            engine,
            unfinished,
            dir,
            config,
            time_ms: 0,
        })
    }

    /// Adds records by view key, in order; gives their number.
    pub fn add_records(
        &self,
        records: impl Iterator<Item = Result<(Bytes, Bytes), String>>,
    ) -> Result<u64, BuildError> {
        let mut changes: Vec<KeyChange> = Vec::with_capacity(CHANGES_MAX);
        let mut count = 0;
        for pair in records {
            let (key, value) = pair.map_err(BuildError::Content)?;
            let record = Record::decode(&value).map_err(BuildError::Content)?;
            if record.expires_at_ms > 0 {
                let expiry = keys::expiry(record.expires_at_ms, &key);
                changes.push((expiry, Some(Bytes::new())));
            }
            changes.push((key, Some(value)));
            count += 1;
            if changes.len() >= CHANGES_MAX {
                self.apply(&mut changes)?;
            }
        }
        self.apply(&mut changes)?;
        Ok(count)
    }

    fn apply(&self, changes: &mut Vec<KeyChange>) -> Result<(), BuildError> {
        changes.sort();
        self.engine.apply(changes)?;
        changes.clear();
        Ok(())
    }

    /// Brings in log entries behind those it has.
    pub fn add_entries(
        &mut self,
        entries: impl Iterator<Item = Result<(u64, Bytes), String>>,
    ) -> Result<(), BuildError> {
        let applied = self.view.applied();
        let mut replay = Replay::new(&self.view, &applied, self.config.overlay_bytes);
        for (expected, item) in (applied.seq + 1..).zip(entries) {
            let (seq, bytes) = item.map_err(BuildError::Content)?;
            if seq != expected {
                let detail = format!("commit {seq} follows where {expected} was expected");
                return Err(BuildError::Content(detail));
            }
            let unreadable = |detail| {
                BuildError::Content(format!("commit {seq} cannot be brought in: {detail}"))
            };
            let entry = Entry::decode(&bytes).map_err(unreadable)?;
            self.time_ms = entry.time_ms;
            replay.entry(seq, &entry)?.map_err(unreadable)?;
        }
        replay.finish()?;
        Ok(())
    }

    /// The newest commit that it has.
    pub fn seq(&self) -> u64 {
        self.view.applied().seq
    }

    /// Compares the state with what the log says of it, makes it durable, and gives the directory its name, which nothing but
    /// an empty directory has yet. Gives the state, and the time of the last entry that was added.
    pub fn finish(self, into: &Path) -> Result<(Applied, u64), BuildError> {
        let mut applied = self.view.applied();
        let found = count_state_hash(&self.view.read())?;
        match applied.state_hash.replace(found) {
            Some(expected) if expected != found => {
                return Err(BuildError::Differs {
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
            _ => {}
        }
        open::mark(&*self.engine, &applied)?;
        checkpoint::take(
            &*self.engine,
            &self.dir.checkpoint(),
            self.dir.identity().store_id.into_bytes(),
            &AtomicBool::new(false),
        )?;
        let Builder {
            view,
            engine,
            mut unfinished,
            dir,
            ..
        } = self;
        drop((view, engine));
        fs::rename(dir.root(), into)
            .and_then(|()| {
                unfinished.0 = None;
                File::open(into)?.sync_all()?;
                sync_dir(into)
            })
            .map_err(io_error(into))?;
        Ok((applied, self.time_ms))
    }
}

/// A directory that goes unless it is finished.
#[derive(Debug)]
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove what was built in vain: remove it by hand");
        }
    }
}
