//! The system's cache of file pages: what is copied once goes through it without pushing out what is read all the time.

use std::{fs::File, path::Path};

use rustix::fs::{Advice, fadvise};

/// Takes a file, whose pages are all on disk, out of the cache. Only advice: where it cannot be given, the cache keeps the
/// pages until it needs room, and nothing else is lost.
pub fn forget(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
