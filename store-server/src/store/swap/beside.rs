//! What is beside a data directory.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::{Access, access};

use crate::{
    log::segment::sync_dir,
    store::{
        clock::now_ms,
        datadir::{DataDirError, io_error, lock},
    },
};

/// What is beside a data directory, on the same file system.
#[derive(Clone, Debug)]
pub struct Beside {
    pub(super) root: PathBuf,
    pub(super) parent: PathBuf,
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

    /// Refuses a directory that cannot be replaced, or not without losing what others have put there.
    pub fn check(&self) -> Result<(), DataDirError> {
        if is_mount_point(&self.root).map_err(io_error(&self.root))? {
            return Err(DataDirError::MountPoint(self.root.clone()));
        }
        if access(&self.parent, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            return Err(irreplaceable(
                &self.parent,
                "may not be written to, so that the data directory in it cannot be replaced: let the server's user write there",
            ));
        }
        for item in fs::read_dir(&self.root).map_err(io_error(&self.root))? {
            let item = item.map_err(io_error(&self.root))?;
            self.check_item(&item.path(), &item.file_name())?;
        }
        Ok(())
    }

    fn check_item(&self, path: &Path, name: &OsStr) -> Result<(), DataDirError> {
        let kind = match fs::symlink_metadata(path) {
            Ok(found) => found.file_type(),
            // The store has files that come and go.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io_error(path)(e)),
        };
        if kind.is_symlink() {
            return match is_own_part(name) {
                true => Err(irreplaceable(
                    path,
                    "is a symbolic link, and what takes the store's place has a directory there: restore with the server \
                     stopped",
                )),
                false => Ok(()),
            };
        }
        if is_mount_point(path).unwrap_or(false) {
            return Err(irreplaceable(
                path,
                "is a mount point, which would be moved away with the old store: mount it elsewhere, or restore with the \
                 server stopped",
            ));
        }
        if kind.is_dir() && !is_own_part(name) {
            return Err(irreplaceable(
                path,
                "is no directory of the store's, and would be moved away with the old one: move it out of the data directory",
            ));
        }
        let gone = Err(rustix::io::Errno::NOENT);
        let read = access(path, Access::READ_OK);
        if kind.is_file() && read.is_err() && read != gone {
            return Err(irreplaceable(
                path,
                "cannot be read, so that the new store cannot have it: let the server's user read it, or move it out of the \
                 data directory",
            ));
        }
        Ok(())
    }

    /// Removes what restores have left that were killed, unless somebody is at it.
    pub fn sweep(&self) {
        // One that was not written to its end decides nothing.
        let _ = fs::remove_file(self.hidden(".swap.new"));
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

    /// Where it is written that what was restored takes the store's place.
    pub(super) fn decision(&self) -> PathBuf {
        self.hidden(".swap")
    }

    pub(super) fn hidden(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(suffix);
        self.parent.join(name)
    }

    /// Makes durable what was renamed.
    pub(super) fn sync(&self) -> Result<(), DataDirError> {
        sync_dir(&self.root).map_err(io_error(&self.parent))
    }
}

/// Whether a store keeps what it has under this name, in a directory.
pub(super) fn is_own_part(name: &OsStr) -> bool {
    let own = ["log", "checkpoint", "view"].iter().any(|own| name == *own);
    // What a repair has put aside.
    own || name.as_encoded_bytes().starts_with(b"view.")
}

fn irreplaceable(path: &Path, detail: &'static str) -> DataDirError {
    DataDirError::Irreplaceable {
        path: path.to_owned(),
        detail,
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
