//! Another data directory in the place of a store's own: the last step of a restore of the running store.
//!
//! ```text
//! PARENT/NAME                the store
//! PARENT/.NAME.restored      what takes its place: complete, and compared with the log that it comes from
//! PARENT/.NAME.swap          the decision, and the name under which the store is kept; locked by whoever carries it out
//! PARENT/NAME.before-TIME    the store that was there before
//! ```
//!
//! The decision is written while the store is still open and locked. From then on the swap happens, whoever dies: it is two
//! renames, each of which tells by what is there afterwards that it was done, and who opens the store first carries out what
//! is missing. Who finds the decision locked stays away, so nobody makes a store in the moment in which there is none. Nothing
//! is ever removed but what was built and not decided for.

mod beside;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, chown, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use stillpoint_migrations::format;

pub use self::beside::{Beside, is_mount_point};
use super::{
    datadir::{DataDir, DataDirError, LOCK, io_error, lock},
    handle::Store,
};
use crate::log::segment::sync_dir;

/// A swap that is decided: it is carried out now, or when the store is opened next.
#[derive(Debug)]
pub struct Swap {
    beside: Beside,
    kept: PathBuf,
    /// Keeps others away.
    _decision: File,
}

impl Store {
    /// What is beside the data directory.
    pub(crate) fn beside(&self) -> Result<Beside, DataDirError> {
        Beside::of(self.shared.dir.root())
    }

    /// Decides that what was restored beside the data directory takes its place.
    pub(crate) fn decide_swap(&self) -> Result<Swap, DataDirError> {
        Swap::decide(self.beside()?)
    }
}

impl Swap {
    /// Decides it, durably. The store's directory is locked by the caller, and what takes its place is complete.
    fn decide(beside: Beside) -> Result<Swap, DataDirError> {
        // Opened before anything is decided: there may be no room for one more open file afterwards.
        let parent = File::open(&beside.parent).map_err(io_error(&beside.parent))?;
        Self::decide_with(beside, || parent.sync_all())
    }

    fn decide_with(
        beside: Beside,
        sync: impl Fn() -> io::Result<()>,
    ) -> Result<Swap, DataDirError> {
        beside.check()?;
        let (path, kept) = (beside.decision(), beside.kept());
        let new = beside.hidden(".swap.new");
        let written = || {
            let mut file = File::create(&new)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(kept.file_name().unwrap_or_default().as_encoded_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            Ok(file)
        };
        let decision = written().map_err(io_error(&path))?;
        if let Err(error) = sync() {
            // Who is told that it failed goes on writing to the old store, which the next start must not replace then.
            match fs::remove_file(&path) {
                Ok(()) => {
                    let _ = sync();
                    return Err(io_error(&beside.parent)(error));
                }
                Err(stays) => tracing::error!(
                    path = %path.display(), %error, %stays,
                    "what was decided may not be on disk and cannot be taken back: the store is replaced"
                ),
            }
        }
        Ok(Swap {
            beside,
            kept,
            _decision: decision,
        })
    }

    /// Where the store that is replaced is kept.
    pub fn kept(&self) -> &Path {
        &self.kept
    }

    /// Carries it out; gives the store's new directory, locked. Nothing may have the old one open any more. After an error
    /// the old one is in its place and the decision taken back, or else both are for the next start.
    pub(crate) fn finish(self) -> Result<DataDir, DataDirError> {
        self.perform().inspect_err(|_| self.take_back())
    }

    fn perform(&self) -> Result<DataDir, DataDirError> {
        let Beside { root, .. } = &self.beside;
        let restored = self.beside.restored();
        let lock = match restored.exists() {
            true => lock(&restored)?,
            // It has its place already.
            false => lock(root)?,
        };
        if restored.exists() {
            if !self.kept.exists() {
                carry_over(root, &restored)?;
                take_after(root, &restored)?;
                fs::rename(root, &self.kept).map_err(io_error(root))?;
                self.beside.sync()?;
            }
            make_way(root)?;
            fs::rename(&restored, root).map_err(io_error(root))?;
            self.beside.sync()?;
        }
        let decision = self.beside.decision();
        fs::remove_file(&decision).map_err(io_error(&decision))?;
        self.beside.sync()?;
        DataDir::with_lock(root, lock)
    }

    fn take_back(&self) {
        let root = &self.beside.root;
        if self.kept.exists() && !root.exists() && fs::rename(&self.kept, root).is_err() {
            return;
        }
        if !self.kept.exists() {
            let _ = fs::remove_file(self.beside.decision());
            let _ = self.beside.sync();
        }
    }
}

/// Carries out a swap that is decided and not complete, as after a kill. Fails if somebody is at it.
pub fn settle(root: &Path) -> Result<(), DataDirError> {
    let beside = Beside::of(root)?;
    let path = beside.decision();
    let decision = match File::open(&path) {
        Ok(decision) => decision,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error(&path)(e)),
    };
    match flock(&decision, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataDirError::Locked(root.to_owned())),
        Err(e) => return Err(io_error(&path)(e.into())),
    }
    let name = match fs::read(&path) {
        Ok(name) => name,
        // Whoever had it locked is done.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error(&path)(e)),
    };
    let name = OsString::from_vec(name);
    let swap = Swap {
        kept: beside.parent.join(name),
        beside,
        _decision: decision,
    };
    // Who decided it may still be draining, with the store open in the directory that is moved.
    let moved = swap.beside.restored().exists() && !swap.kept.exists() && root.exists();
    let _old = moved.then(|| lock(&swap.beside.root)).transpose()?;
    swap.perform()?;
    tracing::info!(
        kept_in = %swap.kept.display(),
        "finished a restore that was decided: the store is as of the moment that it was brought back to"
    );
    Ok(())
}

/// Whether a swap is decided and not complete.
pub fn is_decided(root: &Path) -> bool {
    Beside::of(root).is_ok_and(|beside| beside.decision().exists())
}

/// Copies what operators have put into the directory. What the store itself keeps there is in directories, and belongs to the
/// state.
fn carry_over(from: &Path, into: &Path) -> Result<(), DataDirError> {
    for item in fs::read_dir(from).map_err(io_error(from))? {
        let item = item.map_err(io_error(from))?;
        let (path, name) = (item.path(), item.file_name());
        let is_own = [format::FILE, LOCK].iter().any(|own| name == *own)
            || beside::is_own_part(&name)
            || path.extension().is_some_and(|e| e == "new");
        let kind = item.file_type().map_err(io_error(&path))?;
        if is_own || !(kind.is_file() || kind.is_symlink()) {
            continue;
        }
        let copy = into.join(name);
        // One that was killed has made it before, and what is read-only cannot be written over.
        match fs::remove_file(&copy) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&copy)(e)),
            _ => {}
        }
        let copied = match kind.is_symlink() {
            true => fs::read_link(&path).and_then(|to| symlink(to, &copy)),
            false => fs::copy(&path, &copy).and_then(|_| File::open(&copy)?.sync_all()),
        };
        copied.map_err(io_error(&copy))?;
    }
    sync_dir(&into.join(LOCK)).map_err(io_error(into))
}

/// Gives a directory the owner, group and mode of the one whose place it takes.
fn take_after(old: &Path, new: &Path) -> Result<(), DataDirError> {
    let was = fs::metadata(old).map_err(io_error(old))?;
    let is = fs::metadata(new).map_err(io_error(new))?;
    if (was.uid(), was.gid()) != (is.uid(), is.gid())
        && let Err(error) = chown(new, Some(was.uid()), Some(was.gid()))
    {
        // Only root may give files away. The store works as it is.
        tracing::warn!(
            uid = was.uid(), gid = was.gid(), %error,
            "cannot give the restored data directory the owner and group that it had: do so by hand"
        );
    }
    // Behind the owner, whose change takes bits of the mode away.
    fs::set_permissions(new, was.permissions()).map_err(io_error(new))
}

/// Removes the directory that somebody has made who came in the moment in which there was none, and then stayed away.
fn make_way(root: &Path) -> Result<(), DataDirError> {
    for result in [fs::remove_file(root.join(LOCK)), fs::remove_dir(root)] {
        match result {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(root)(e)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
