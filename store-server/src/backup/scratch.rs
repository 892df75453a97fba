//! Room for a trial restore: a directory of its own that goes when it is no longer needed.
//!
//! It is locked while it is in use. What a killed program has left is not, and goes when the next one makes its own in the
//! same place.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statvfs};
use uuid::Uuid;

use super::BackupError;

/// A directory that is removed with all that is in it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// The directory it is in, if that was made for it.
    made: Option<PathBuf>,
    _lock: File,
}

/// What the names of such directories begin with.
const PREFIX: &str = "stillpoint-trial-";

impl Scratch {
    /// A new one in this directory. Waits for the disk.
    pub fn new(place: &Path) -> Result<Scratch, BackupError> {
        let made = (!place.exists()).then(|| place.to_owned());
        fs::create_dir_all(place).map_err(io_error(place))?;
        remove_leftovers(place);
        let path = place.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).map_err(io_error(&path))?;
        let lock = lock(&path).map_err(io_error(&path))?;
        let lock = lock.ok_or_else(|| BackupError::Into {
            path: path.clone(),
            detail: "was taken for what a killed program has left; try again".into(),
        })?;
        Ok(Scratch {
            path,
            made,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove what was restored for trial: remove it by hand");
        }
        if let Some(place) = &self.made {
            // Another trial may have come there since.
            let _ = fs::remove_dir(place);
        }
    }
}

/// Removes the directories that nobody uses any more.
fn remove_leftovers(place: &Path) {
    for item in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = item.path();
        if !item.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let removed = match lock(&path) {
            Ok(Some(_unused)) => fs::remove_dir_all(&path),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removed what a trial restore had left");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a trial restore has left");
            }
        }
    }
}

/// Locks a directory as long as the file is open; none: it is in use, or is gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let directory = File::open(path)?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let is_there = fs::metadata(path).is_ok_and(|found| {
        (directory.metadata())
            .is_ok_and(|ours| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
    });
    Ok(is_there.then_some(directory))
}

/// Refuses a place that has not so much free room, in bytes. It need not be there yet.
pub fn check_room(place: &Path, needed: u64) -> Result<(), BackupError> {
    let disk = place.ancestors().find(|path| path.exists());
    let disk = disk.unwrap_or(Path::new("."));
    let found = statvfs(disk).map_err(|error| io_error(disk)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    match free >= needed {
        true => Ok(()),
        false => Err(BackupError::NoRoom {
            path: place.to_owned(),
            needed,
            free,
        }),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_one_has_left_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("trials");
        fs::create_dir_all(place.join("stillpoint-trial-left/store")).unwrap();
        fs::create_dir_all(place.join("somebody-elses")).unwrap();
        let used = place.join("stillpoint-trial-used");
        fs::create_dir(&used).unwrap();
        let _using = lock(&used).unwrap().unwrap();

        let scratch = Scratch::new(&place).unwrap();
        assert!(scratch.path().is_dir());
        assert!(!place.join("stillpoint-trial-left").exists());
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        assert!(used.exists() && place.join("somebody-elses").exists());
    }

    #[test]
    fn the_directory_that_was_made_for_it_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(".world1.trial");
        let scratch = Scratch::new(&place).unwrap();
        fs::write(scratch.path().join("a file"), "").unwrap();
        drop(scratch);
        assert!(!place.exists());
    }

    #[test]
    fn room_is_looked_for_where_the_directory_is_going_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b/c");
        check_room(&place, 1).unwrap();
        let error = check_room(&place, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("a/b/c") && error.contains("free"), "{error}");
    }
}
