//! A data directory made of records and log entries: what a restore does.
//!
//! The records may be fuzzy: as of some commit, and some of them newer. The log entries behind that commit mend this, as they
//! do for a checkpoint. The result is compared with the state hash that the last entry has; a store opens it from the
//! checkpoint that is taken of it, and begins its log behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use stillpoint_migrations::format::Identity;
use thiserror::Error;

use super::{
    checkpoint::{self, CheckpointError},
    datadir::{DataDir, DataDirError, io_error},
    fill::{FillError, Filling},
    open::{self, count_state_hash},
    view::Applied,
};
use crate::{
    archive::manifest,
    config::ViewConfig,
    engine::{self, EngineError},
    log::segment::sync_dir,
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

impl From<FillError> for BuildError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Engine(error) => error.into(),
            FillError::Content(detail) => BuildError::Content(detail),
        }
    }
}

/// A data directory being made. It is removed when it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct Builder {
    // Dropped in this order: the engine lets go of its files, they are removed, and only then may another have the directory.
    filling: Filling,
    unfinished: Unfinished,
    dir: DataDir,
}

impl Builder {
    /// Begins a store of this identity in `root`, in place of whatever is there. The records that are going to be added are
    /// at least as far as `applied`.
    pub fn new(root: &Path, identity: &Identity, applied: &Applied) -> Result<Builder, BuildError> {
        let dir = DataDir::replace(root, identity)?;
        let unfinished = Unfinished(Some(root.to_owned()));
        let config = ViewConfig::default();
        let engine = engine::open(&dir.view(), &config)?;
        Ok(Builder {
            filling: Filling::new(engine, applied, config.overlay_bytes),
            unfinished,
            dir,
        })
    }

    /// Adds the content of a file: all records, or the commits that `file` names.
    pub fn add(&mut self, file: &manifest::File, raw: Bytes) -> Result<(), BuildError> {
        Ok(self.filling.add(file, raw)?)
    }

    /// The newest commit that it has.
    pub fn seq(&self) -> u64 {
        self.filling.view().applied().seq
    }

    /// Compares the state with what the log says of it, makes it durable, and gives the directory its name, which nothing but
    /// an empty directory has yet. Gives the state, and the time of the last entry that was added.
    pub fn finish(self, into: &Path) -> Result<(Applied, u64), BuildError> {
        let mut applied = self.filling.view().applied();
        let found = count_state_hash(&self.filling.view().read())?;
        match applied.state_hash.replace(found) {
            Some(expected) if expected != found => {
                return Err(BuildError::Differs {
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
            _ => {}
        }
        open::mark(self.filling.engine(), &applied)?;
        checkpoint::take(self.filling.engine(), &self.dir)?;
        let time_ms = self.filling.time_ms();
        let Builder {
            filling,
            mut unfinished,
            dir,
        } = self;
        drop(filling);
        fs::rename(dir.root(), into)
            .and_then(|()| {
                unfinished.0 = None;
                File::open(into)?.sync_all()?;
                sync_dir(into)
            })
            .map_err(io_error(into))?;
        Ok((applied, time_ms))
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
