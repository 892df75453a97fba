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

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{self, Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use rustix::fs::{FlockOperation, flock};
use stillpoint_migrations::format;

use super::{
    clock::now_ms,
    datadir::{DataDir, DataDirError, LOCK, io_error, lock},
    handle::Store,
};
use crate::{engine, log::segment::sync_dir};

/// What is beside a data directory, on the same file system.
#[derive(Clone, Debug)]
pub struct Beside {
    root: PathBuf,
    parent: PathBuf,
    name: OsString,
}

/// Symbolic links that a data directory may be behind.
const LINKS_MAX: usize = 40;

impl Beside {
    /// What is beside this directory, which need not be there. Where it is a symbolic link, what it points to is meant.
    pub fn of(root: &Path) -> Result<Beside, DataDirError> {
        let mut root = path::absolute(root).map_err(io_error(root))?;
        for _ in 0..LINKS_MAX {
            match (fs::read_link(&root), root.parent()) {
                (Ok(link), Some(parent)) => root = parent.join(link),
                _ => break,
            }
        }
        let root = fs::canonicalize(&root).unwrap_or(root);
        match (root.parent(), root.file_name()) {
            (Some(parent), Some(name)) => Ok(Beside {
                parent: parent.to_owned(),
                name: name.to_owned(),
                root,
            }),
            _ => Err(DataDirError::MountPoint(root)),
        }
    }

    /// Where what takes the store's place is built.
    pub fn restored(&self) -> PathBuf {
        self.hidden(".restored")
    }

    /// Under which name the store would be kept that is replaced now.
    pub fn kept(&self) -> PathBuf {
        let time = UNIX_EPOCH + Duration::from_millis(now_ms());
        let mut time = humantime::format_rfc3339_millis(time).to_string();
        time.retain(|c| !matches!(c, '-' | ':'));
        let mut name = self.name.clone();
        name.push(format!(".before-{time}"));
        self.parent.join(name)
    }

    /// Refuses a directory that cannot be replaced.
    pub fn check(&self) -> Result<(), DataDirError> {
        match is_mount_point(&self.root).map_err(io_error(&self.root))? {
            true => Err(DataDirError::MountPoint(self.root.clone())),
            false => Ok(()),
        }
    }

    /// Removes what restores have left that were killed, unless somebody is at it.
    pub fn sweep(&self) {
        for left in [".restored", ".restored.restoring", ".restoring"] {
            let path = self.hidden(left);
            if !path.exists() {
                continue;
            }
            // Who builds there has it locked.
            let Ok(_lock) = lock(&path) else {
                continue;
            };
            match fs::remove_dir_all(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed what a restore left that was killed")
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what a restore left that was killed")
                }
            }
        }
    }

    fn decision(&self) -> PathBuf {
        self.hidden(".swap")
    }

    fn hidden(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(suffix);
        self.parent.join(name)
    }

    fn sync(&self) -> Result<(), DataDirError> {
        sync_dir(&self.root).map_err(io_error(&self.parent))
    }
}

/// Whether a directory is one that a file system is mounted on, so that it cannot be renamed.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::empty());
        // Older kernels do not tell. A directory may be mounted within its own file system, too.
        if let Ok(found) = found
            && (found.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT)
        {
            return Ok((found.stx_attributes).contains(StatxAttributes::MOUNT_ROOT));
        }
    }
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    match path.parent() {
        Some(parent) => Ok(device(path)? != device(parent)?),
        None => Ok(true),
    }
}

/// A swap that is decided: it is carried out now, or when the store is opened next.
#[derive(Debug)]
pub struct Swap {
    beside: Beside,
    kept: PathBuf,
    /// Keeps others away.
    _decision: File,
}

/// A store that takes no writes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Paused(Option<Store>);

impl Paused {
    /// It takes none any more, as long as it is open.
    pub fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(store) = &self.0 {
            store.shared.gate.set_paused(None);
        }
    }
}

/// How long what still reads a store that is closed may take to let go of it, ...
const LET_GO: Duration = Duration::from_secs(30);

/// ... and how often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Store {
    /// Takes no writes from now on, for this reason; the caller sees to it that only one at a time does so.
    pub(crate) fn pause_writes(&self, reason: String) -> Paused {
        self.shared.gate.set_paused(Some(reason));
        Paused(Some(self.clone()))
    }

    /// Closes the store, and waits until nothing has it open any more, so that its directory can be moved: what wrote to it
    /// now would write to another's. Blocks; whether that came about.
    pub(crate) fn retire(self) -> bool {
        self.close();
        let view = self.shared.dir.view();
        let config = self.shared.config.view.clone();
        let shared = Arc::downgrade(&self.shared);
        drop(self);
        let until = Instant::now() + LET_GO;
        while shared.strong_count() > 0 {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        match engine::wait_until_free(&view, &config) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the view is not let go of");
                false
            }
        }
    }

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
        beside.check()?;
        let (path, kept) = (beside.decision(), beside.kept());
        let new = path.with_extension("swap.new");
        let written = || {
            let mut file = File::create(&new)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(kept.file_name().unwrap_or_default().as_encoded_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            Ok(file)
        };
        let decision = written().map_err(io_error(&path))?;
        beside.sync()?;
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
            || path.extension().is_some_and(|e| e == "new");
        let kind = item.file_type().map_err(io_error(&path))?;
        if is_own || !kind.is_file() {
            continue;
        }
        let copy = into.join(name);
        fs::copy(&path, &copy)
            .and_then(|_| File::open(&copy)?.sync_all())
            .map_err(io_error(&path))?;
    }
    sync_dir(&into.join(LOCK)).map_err(io_error(into))
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
