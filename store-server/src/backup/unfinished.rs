//! Files that were being written to a directory when the program was killed.
//!
//! A file is written under its name, `#` and a number, and gets its name when it is whole. What has such a name yet is in no
//! listing, so the directory itself is read. Only a name that this program could have given is looked at, and only a file that
//! nobody can be writing any more.

use std::{
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::task;

use super::{BackupError, Target, partial::NOTE_FILE, target::STORE_FILE};
use crate::archive::names::{DATA, MANIFESTS, is_data_name, is_id};

/// A file that was being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where it is in the target.
    pub path: String,
    /// How long it got.
    pub bytes: u64,
}

/// A file is not written for longer: those of a backup have some MiB.
const UNFINISHED_AFTER: Duration = Duration::from_secs(3600);

/// Those of a target, by path. There are none in a bucket, nor in a directory that is no store's.
pub async fn unfinished(target: &Target) -> Result<Vec<Unfinished>, BackupError> {
    match target.dir().map(Path::to_owned) {
        Some(dir) if target.has_owner().await? => {
            let found = task::spawn_blocking(move || find(&dir, SystemTime::now())).await;
            found.map_err(|e| BackupError::Store(e.to_string()))?
        }
        _ => Ok(Vec::new()),
    }
}

/// Removes one; it may be gone already.
pub async fn remove(target: &Target, file: &Unfinished) -> Result<(), BackupError> {
    let Some(dir) = target.dir() else {
        return Ok(());
    };
    let path = dir.join(&file.path);
    let removed = task::spawn_blocking(move || match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::Io { path, source })
        }
        _ => Ok(()),
    });
    removed
        .await
        .map_err(|e| BackupError::Store(e.to_string()))?
}

fn find(dir: &Path, now: SystemTime) -> Result<Vec<Unfinished>, BackupError> {
    let mut found = Vec::new();
    let mut look = |folder: PathBuf, is_own: fn(&str) -> bool| {
        for item in items(&dir.join(&folder))? {
            let name = item.file_name();
            let Some(name) = name.to_str().filter(|name| is_unfinished(name, is_own)) else {
                continue;
            };
            let path = folder.join(name);
            // Of the name itself, whatever it links to.
            let meta = match item.metadata() {
                Ok(meta) => meta,
                // It has been completed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error(&dir.join(path))(error)),
            };
            let age = meta.modified().map(|at| now.duration_since(at));
            let is_old = age.is_ok_and(|age| age.is_ok_and(|age| age > UNFINISHED_AFTER));
            if meta.is_file() && is_old {
                found.push(Unfinished {
                    path: path.display().to_string(),
                    bytes: meta.len(),
                });
            }
        }
        Ok(())
    };
    look(PathBuf::new(), |name| {
        [STORE_FILE, NOTE_FILE].contains(&name)
    })?;
    look(MANIFESTS.into(), |name| {
        name.strip_suffix(".json").is_some_and(is_id)
    })?;
    for item in items(&dir.join(DATA))? {
        let id = item.file_name();
        if let Some(id) = id.to_str().filter(|id| is_id(id)) {
            look(Path::new(DATA).join(id), is_data_name)?;
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether a file that is going to have such a name is called so until it is whole.
fn is_unfinished(name: &str, is_own: fn(&str) -> bool) -> bool {
    let Some((name, number)) = name.rsplit_once('#') else {
        return false;
    };
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && is_own(name)
}

/// What is in a directory; nothing if it is not there, or is none.
fn items(dir: &Path) -> Result<Vec<DirEntry>, BackupError> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        items => items.map_err(io_error(dir)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}
