//! The data directory: what lies where, its identity, and its lock.
//!
//! ```text
//! DIR/store.toml     format version, store id, incarnation
//! DIR/lock           locked while a server runs
//! DIR/log/           the commit log
//! DIR/checkpoint/    the newest checkpoint: a full backup
//! DIR/view/          the engine's files; can be rebuilt
//! ```

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use stillpoint_migrations::format::{self, Identity};
use thiserror::Error;

use super::swap::{self, Beside};
use crate::log::segment::sync_dir;

/// The file that is locked.
pub(super) const LOCK: &str = "lock";

/// An opened data directory. The lock is held as long as it lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    identity: Identity,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{0} is in use by another process: stop that one, or choose another --data-dir")]
    Locked(PathBuf),
    /// It is not a data directory.
    #[error(
        "{0} has files but no store.toml: it is not a Stillpoint data directory; choose an empty or new one"
    )]
    Foreign(PathBuf),
    /// It is of another version.
    #[error("{path}: {source}")]
    Format {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        source: format::FormatError,
    },
    /// It cannot be replaced by another.
    #[error(
        "{0} is a mount point, which cannot be replaced as a whole: put the data directory one level below it, as in \
         --data-dir {0}/data"
    )]
    MountPoint(PathBuf),
    /// What is in it or about it is in the way.
    #[error("{path} {detail}")]
    Irreplaceable {
        /// What is in the way.
        path: PathBuf,
        /// Why, and what to do.
        detail: &'static str,
    },
    /// There is none.
    #[error("{0} does not exist: name the data directory of a store")]
    Missing(PathBuf),
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Opens the directory, or makes a new store in it if it is missing or empty.
    pub fn open_or_create(root: &Path) -> Result<DataDir, DataDirError> {
        swap::settle(root)?;
        fs::create_dir_all(root).map_err(io_error(root))?;
        let lock = lock_settled(root)?;
        let identity_path = root.join(format::FILE);
        if !identity_path.exists() {
            if !is_new(root).map_err(io_error(root))? {
                return Err(DataDirError::Foreign(root.to_owned()));
            }
            let identity = Identity::new();
            write_identity(root, &identity).map_err(io_error(&identity_path))?;
        }
        Self::with_lock(root, lock)
    }

    /// Opens the directory of an existing store.
    pub fn open_existing(root: &Path) -> Result<DataDir, DataDirError> {
        swap::settle(root)?;
        if !root.join(format::FILE).exists() {
            return Err(DataDirError::Missing(root.to_owned()));
        }
        Self::with_lock(root, lock_settled(root)?)
    }

    /// Makes a directory for a store of this identity, in place of whatever is there.
    pub fn replace(root: &Path, identity: &Identity) -> Result<DataDir, DataDirError> {
        // Nobody else reads what is restored, unless that is asked for.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(io_error(root))?;
        let lock = lock(root)?;
        if let Err(error) = begin_anew(root, identity) {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(root);
            return Err(error);
        }
        Self::with_lock(root, lock)
    }

    /// The directory of an existing store that is locked already.
    pub(super) fn with_lock(root: &Path, lock: File) -> Result<DataDir, DataDirError> {
        let path = root.join(format::FILE);
        let text = fs::read_to_string(&path).map_err(io_error(&path))?;
        let identity =
            Identity::parse(&text).map_err(|source| DataDirError::Format { path, source })?;
        let dir = DataDir {
            root: root.to_owned(),
            identity,
            _lock: lock,
        };
        for part in [dir.log(), dir.checkpoint()] {
            fs::create_dir_all(&part).map_err(io_error(&part))?;
        }
        Ok(dir)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the store a new incarnation, since what clients know of it may no longer be so.
    pub fn raise_incarnation(&self) -> Result<(), DataDirError> {
        let mut identity = self.identity.clone();
        identity.incarnation += 1;
        write_identity(&self.root, &identity).map_err(io_error(&self.root))
    }

    /// Notes that this program's format may be written from now on, so that an older program refuses the directory.
    /// Durable when it returns.
    pub fn raise_format(&mut self) -> Result<(), DataDirError> {
        if let Some(raised) = self.identity.in_current_format() {
            write_identity(&self.root, &raised).map_err(io_error(&self.root))?;
            let (from, to) = (self.identity.format, raised.format);
            tracing::info!(
                from,
                to,
                "the data directory has a newer format now: older programs refuse it"
            );
            self.identity = raised;
        }
        Ok(())
    }

    /// Who this store is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The commit log.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The checkpoints.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// The engine's files.
    pub fn view(&self) -> PathBuf {
        self.root.join("view")
    }
}

/// Attaches a path to an I/O error.
pub fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// Whether the directory has nothing in it but what a server that died early may have left.
fn is_new(root: &Path) -> io::Result<bool> {
    for item in fs::read_dir(root)? {
        let name = item?.file_name();
        let left = [LOCK, "store.new"].iter().any(|left| name == *left);
        if !left && !name.to_string_lossy().ends_with(".sock") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks a directory in which no swap is about to happen, and removes what restores have left beside it.
pub(super) fn lock_settled(root: &Path) -> Result<File, DataDirError> {
    let lock = lock(root)?;
    // It was not when we looked first; the directory that we have locked may be one that is not to be.
    if swap::is_decided(root) {
        return Err(DataDirError::Locked(root.to_owned()));
    }
    Beside::of(root)?.sweep();
    Ok(lock)
}

/// Locks a directory, or says that somebody else has it.
pub(super) fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(io_error(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // What was opened may have been moved away before it was locked.
        Ok(()) if is_at(&file, &path) => Ok(file),
        Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked(root.to_owned())),
        Err(e) => Err(io_error(&path)(e.into())),
    }
}

/// Whether a file is the one that has this name now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(found)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (found.dev(), found.ino())
}

/// Leaves nothing in a locked directory but the lock and the identity.
fn begin_anew(root: &Path, identity: &Identity) -> Result<(), DataDirError> {
    for item in fs::read_dir(root).map_err(io_error(root))? {
        let path = item.map_err(io_error(root))?.path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false if path.ends_with(LOCK) => Ok(()),
            false => fs::remove_file(&path),
        };
        removed.map_err(io_error(&path))?;
    }
    write_identity(root, identity).map_err(io_error(root))
}

fn write_identity(root: &Path, identity: &Identity) -> io::Result<()> {
    let path = root.join(format::FILE);
    let temporary = root.join("store.new");
    let mut file = File::create(&temporary)?;
    file.write_all(identity.to_text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_dir(&path)
}
