//! Taking a checkpoint: from portions to files in the data directory, and to the manifest.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::fs::statvfs;

use super::{CheckpointError, background::Stop, io_error, read_applied, remove_others, sweep};
use crate::{
    archive::{
        manifest::{self, Manifest},
        names::{DATA, MANIFESTS, data_path, manifest_path},
        portion::Portion,
        sealed::seal,
    },
    engine::Engine,
    log::segment::{create, sync_dir},
    page_cache,
    store::{
        clock::now_ms,
        copy::CopySource,
        copying::{CopyError, Outline, Reached, copy_log, copy_records},
        datadir::DataDir,
        keys,
        shared::Shared,
    },
};

/// Copies a store that works into a new checkpoint, no faster than the settings allow, and removes older ones. `None`: it was
/// told to stop before it was complete.
pub fn take_live(shared: &Arc<Shared>) -> Result<Option<Manifest>, CheckpointError> {
    let source = CopySource::new(shared.clone());
    let applied = source.applied()?;
    let outline = Outline::full(source.identity(), now_ms(), source.last_seq(), &applied);
    let beside = Beside {
        pace: Pace {
            stop: &shared.checkpoint.stop,
            begun: Instant::now(),
            bytes_per_second: shared.config.log.checkpoint_bytes_per_second,
        },
        root: shared.dir.root(),
        reserve: shared.config.log.disk_reserve_bytes,
    };
    write(&shared.dir.checkpoint(), outline, Some(beside), |take| {
        copy_records(source.records_after(&Bytes::new()), &mut *take)?;
        copy_log(&source, Reached::applied(&applied), take)
    })
}

/// Copies a store that does nothing into a checkpoint, and removes older ones. What it has is in `engine`.
pub fn take(engine: &dyn Engine, dir: &DataDir) -> Result<(), CheckpointError> {
    let applied = read_applied(engine)?.unwrap_or_default();
    let as_of_ms = now_ms();
    let outline = Outline::full(dir.identity(), as_of_ms, applied.seq, &applied);
    let taken = write(&dir.checkpoint(), outline, None, |take| {
        copy_records(engine.scan(keys::all_records(), false), take)?;
        Ok(Reached {
            as_of_ms,
            ..Reached::applied(&applied)
        })
    });
    // Nobody tells it to stop.
    taken.map(drop)
}

/// Where portions go.
type Take<'a> = dyn FnMut(Portion) -> Result<(), Ended> + 'a;

/// Why no more portions are taken.
enum Ended {
    /// It was told to stop.
    Told,
    /// It failed.
    Failed(CheckpointError),
}

impl From<CopyError> for Ended {
    fn from(error: CopyError) -> Self {
        Ended::Failed(error.into())
    }
}

impl From<CheckpointError> for Ended {
    fn from(error: CheckpointError) -> Self {
        Ended::Failed(error)
    }
}

fn write(
    dir: &Path,
    outline: Outline,
    beside: Option<Beside<'_>>,
    copy: impl FnOnce(&mut Take<'_>) -> Result<Reached, Ended>,
) -> Result<Option<Manifest>, CheckpointError> {
    // What another left that was killed.
    sweep(dir)?;
    let mut writing = Writing {
        dir,
        id: outline.id.clone(),
        files: Vec::new(),
        raw_bytes: 0,
        beside,
    };
    let written = copy(&mut |portion| writing.store(portion))
        .and_then(|end| Ok(writing.complete(outline, end)?));
    match written {
        Ok(manifest) => return Ok(Some(manifest)),
        // It may be large, and the disk may be full of it. The first error is the one to tell.
        Err(_) => drop(sweep(dir)),
    }
    match written {
        Err(Ended::Failed(error)) => Err(error),
        _ => Ok(None),
    }
}

/// A checkpoint that is being written.
struct Writing<'a> {
    dir: &'a Path,
    id: String,
    files: Vec<manifest::File>,
    raw_bytes: u64,
    beside: Option<Beside<'a>>,
}

impl Writing<'_> {
    /// Stores a portion durably, and waits until it is time for the next.
    fn store(&mut self, portion: Portion) -> Result<(), Ended> {
        let Portion {
            mut file, bytes, ..
        } = portion;
        file.path = data_path(&self.id, file.kind, &self.files);
        let path = self.dir.join(&file.path);
        if let Some(beside) = &self.beside {
            beside
                .has_room(bytes.len() as u64)
                .map_err(io_error(&path))?;
        }
        store(&path, &bytes).map_err(io_error(&path))?;
        page_cache::forget(&path);
        self.raw_bytes += file.raw_bytes;
        self.files.push(file);
        match &self.beside {
            Some(beside) if beside.pace.is_told_to_stop_before(self.raw_bytes) => Err(Ended::Told),
            _ => Ok(()),
        }
    }

    /// Writes the manifest, which makes it a checkpoint, and removes the others.
    fn complete(self, outline: Outline, end: Reached) -> Result<Manifest, CheckpointError> {
        let manifest = outline.complete(end, self.files);
        let path = self.dir.join(manifest_path(&manifest.id));
        let written = seal(&manifest).map_err(io::Error::from).and_then(|text| {
            // The files' entries are durable; now those of their directories.
            let (data, manifests) = (self.dir.join(DATA), self.dir.join(MANIFESTS));
            fs::create_dir_all(&data)?;
            fs::create_dir_all(&manifests)?;
            sync_dir(&data.join(&self.id))?;
            sync_dir(&manifests)?;
            create(&path, &text).map(drop)
        });
        written.map_err(io_error(&path))?;
        remove_others(self.dir, &manifest.id)?;
        Ok(manifest)
    }
}

/// Writes a file durably.
fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_dir(path)
}

/// What a checkpoint owes the store that works beside it.
struct Beside<'a> {
    pace: Pace<'a>,
    root: &'a Path,
    reserve: u64,
}

impl Beside<'_> {
    /// Refuses a portion that could take the store's reserve.
    fn has_room(&self, portion: u64) -> io::Result<()> {
        let stat = statvfs(self.root)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        leaves_reserve(free, self.reserve, portion)
    }
}

/// Twice the reserve stays free: what follows a portion at once, such as the end of the log and the engine's own writes, must
/// not use it up, since the store does not take writes then, and an engine whose write fails does not recover.
fn leaves_reserve(free: u64, reserve: u64, portion: u64) -> io::Result<()> {
    if free >= reserve.saturating_mul(2).saturating_add(portion) {
        return Ok(());
    }
    let message = format!(
        "the disk has {free} bytes free; a checkpoint leaves twice the reserve of {reserve} (log.disk_reserve_bytes) beside \
         its next {portion}: make room, and it is tried again by itself"
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, message))
}

/// How fast a checkpoint may be taken.
struct Pace<'a> {
    stop: &'a Stop,
    begun: Instant,
    bytes_per_second: u64,
}

impl Pace<'_> {
    /// Waits until so many bytes, since the beginning, are not too many; whether it was told to stop before.
    fn is_told_to_stop_before(&self, bytes: u64) -> bool {
        let wait = match self.bytes_per_second {
            0 => 0.0,
            rate => bytes as f64 / rate as f64,
        };
        let wait = Duration::from_secs_f64(wait.min(WAIT_MAX_SECS));
        self.stop.wait_until(self.begun + wait)
    }
}

/// As good as for ever: thirty years.
const WAIT_MAX_SECS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_leaves_twice_the_reserve() {
        for (free, reserve, portion, is_let) in [
            (208, 100, 8, true),
            (207, 100, 8, false),
            (8, 0, 8, true),
            (7, 0, 8, false),
            (u64::MAX - 1, u64::MAX, 8, false),
        ] {
            match leaves_reserve(free, reserve, portion) {
                Ok(()) => assert!(is_let, "{free} {reserve} {portion}"),
                Err(error) => {
                    assert!(!is_let, "{free} {reserve} {portion}: {error}");
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                    assert!(error.to_string().contains("log.disk_reserve_bytes"));
                }
            }
        }
    }
}
