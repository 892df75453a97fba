//! Checkpoints: full backups in the data directory, from which the view is rebuilt together with the log behind them.
//!
//! They have the format and the code of full backups: a copy of the records as the engine has them, taken while commits go
//! on and therefore fuzzy, the log that mends it, and a manifest, which is written last ([`archive`](crate::archive)). So
//! the log up to a checkpoint's end can be removed, and `stillpoint restore --from DIR/checkpoint` knows them, too.
//!
//! There is one whole checkpoint, and while the next is taken the beginning of that. Once the next has its manifest, the one
//! before goes; what has no manifest goes before the next is begun.
//!
//! - `take`: how one is taken. `background`: when, on a thread of its own. `load`: how an engine is filled with one.
//! - `old`: the file in which formats 1 and 2 of data directories had it.

mod background;
mod load;
mod old;
mod take;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use uuid::Uuid;

pub use self::{background::Background, load::load, take::take};
use super::{copying::CopyError, keys, view::Applied};
use crate::{
    archive::{
        manifest::Manifest,
        names::{DATA, MANIFESTS, manifest_path},
        sealed::unseal,
    },
    engine::{Engine, EngineError},
    log::segment::{list, sync_dir},
};

/// Why a checkpoint could not be taken or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A file of it is not as it was written, or is missing.
    #[error(
        "{path} is damaged: {detail}.\nThe view cannot be rebuilt from this checkpoint. Restore the store from a backup into \
         another directory, and serve that:\n  stillpoint restore --from BACKUPS --to latest --into {}.restored",
        .data_dir.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// The data directory.
        data_dir: PathBuf,
    },
}

/// A checkpoint.
#[derive(Clone, Debug)]
pub enum Checkpoint {
    /// As this program takes them.
    Archive(Box<Manifest>),
    /// One file, as formats 1 and 2 of data directories had it.
    Old {
        /// The newest commit it covers.
        seq: u64,
        /// The file.
        path: PathBuf,
    },
}

impl Checkpoint {
    /// Sequence number of the newest commit that it covers.
    pub fn seq(&self) -> u64 {
        match self {
            Checkpoint::Archive(manifest) => manifest.last_seq,
            Checkpoint::Old { seq, .. } => *seq,
        }
    }
}

/// The checkpoints that a data directory has.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest that is whole, as far as its manifest tells.
    pub newest: Option<Checkpoint>,
    /// What is wrong with another.
    pub damaged: Option<CheckpointError>,
}

impl Found {
    /// Sequence number of the newest commit that a checkpoint covers; 0: there is none.
    pub fn seq(&self) -> u64 {
        self.newest.as_ref().map_or(0, Checkpoint::seq)
    }
}

/// Looks for the checkpoints in a directory.
pub fn find(dir: &Path, store_id: Uuid) -> Result<Found, CheckpointError> {
    let mut found = Found::default();
    let mut manifests = Vec::new();
    for path in files_in(&dir.join(MANIFESTS), "json")? {
        match read_manifest(dir, &path, store_id) {
            Ok(manifest) => manifests.push(manifest),
            Err(error @ CheckpointError::Damaged { .. }) => found.damaged = Some(error),
            Err(error) => return Err(error),
        }
    }
    manifests.sort_by_key(|m| (m.last_seq, m.begun_ms));
    let old = list(dir, old::EXTENSION).map_err(io_error(dir))?.pop();
    found.newest = match manifests.pop() {
        Some(manifest) => Some(Checkpoint::Archive(Box::new(manifest))),
        None => old.map(|(seq, path)| Checkpoint::Old { seq, path }),
    };
    Ok(found)
}

fn read_manifest(dir: &Path, path: &Path, store_id: Uuid) -> Result<Manifest, CheckpointError> {
    let bytes = fs::read(path).map_err(io_error(path))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let manifest = unseal(&manifest_path(&stem), &bytes)
        .map_err(|error| damaged(dir, path, error.to_string()))?;
    if manifest.store_id != store_id.to_string() {
        let detail = format!("it is of store {}", manifest.store_id);
        return Err(damaged(dir, path, detail));
    }
    Ok(manifest)
}

/// How far an engine is; `None` for a new one.
pub fn read_applied(engine: &dyn Engine) -> Result<Option<Applied>, EngineError> {
    let Some(bytes) = engine.get(keys::APPLIED)? else {
        return Ok(None);
    };
    let decoded = Applied::decode(&bytes);
    decoded.map(Some).map_err(|detail| EngineError {
        engine: engine.name(),
        detail,
    })
}

/// Removes what was begun and not completed. None may be being taken.
pub fn sweep(dir: &Path) -> Result<(), CheckpointError> {
    let manifests = dir.join(MANIFESTS);
    for path in files_in(&manifests, "new")?
        .into_iter()
        .chain(files_in(dir, "new")?)
    {
        fs::remove_file(&path).map_err(io_error(&path))?;
    }
    let data = dir.join(DATA);
    for path in items_in(&data)? {
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        if !dir.join(manifest_path(&id)).exists() {
            fs::remove_dir_all(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

/// Removes all but this one.
fn remove_others(dir: &Path, id: &str) -> Result<(), CheckpointError> {
    let manifests = dir.join(MANIFESTS);
    let kept = dir.join(manifest_path(id));
    let others = files_in(&manifests, "json")?.into_iter();
    let old = files_in(dir, old::EXTENSION)?;
    // Their manifests go first: what is half removed is none.
    for path in others.filter(|path| *path != kept).chain(old) {
        fs::remove_file(&path)
            .and_then(|()| sync_dir(&path))
            .map_err(io_error(&path))?;
    }
    sweep(dir)
}

/// The files of a directory that have this extension; one that is not there has none.
fn files_in(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut found = items_in(dir)?;
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    Ok(found)
}

fn items_in(dir: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let items = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(io_error(dir))?,
    };
    let paths = items.map(|item| item.map(|item| item.path()));
    paths.collect::<io::Result<_>>().map_err(io_error(dir))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + use<> {
    let path = path.to_owned();
    move |source| CheckpointError::Io { path, source }
}

/// The error of a file of a checkpoint, which is in the directory of checkpoints `dir`.
fn damaged(dir: &Path, path: &Path, detail: impl Into<String>) -> CheckpointError {
    CheckpointError::Damaged {
        path: path.to_owned(),
        detail: detail.into(),
        data_dir: dir.parent().unwrap_or(dir).to_owned(),
    }
}
