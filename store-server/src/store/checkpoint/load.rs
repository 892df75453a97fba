//! Filling an engine with a checkpoint.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{Checkpoint, CheckpointError, damaged, io_error, old};
use crate::{
    archive::{
        manifest::{FileKind, Manifest},
        names::manifest_path,
        portion::unpack,
    },
    engine::Engine,
    page_cache,
    store::{
        fill::{FillError, Filling},
        view::Applied,
    },
};

/// Fills an empty engine with a checkpoint of the directory `dir`; so many bytes may wait in memory for the engine. Gives how
/// far the engine is then.
pub fn load(
    dir: &Path,
    checkpoint: &Checkpoint,
    engine: &Arc<dyn Engine>,
    overlay_bytes: usize,
) -> Result<Applied, CheckpointError> {
    match checkpoint {
        Checkpoint::Archive(manifest) => load_archive(dir, manifest, engine, overlay_bytes),
        Checkpoint::Old { path, .. } => old::load(dir, path, &**engine),
    }
}

fn load_archive(
    dir: &Path,
    manifest: &Manifest,
    engine: &Arc<dyn Engine>,
    overlay_bytes: usize,
) -> Result<Applied, CheckpointError> {
    let applied = (BASE64.decode(&manifest.applied).map_err(|e| e.to_string()))
        .and_then(|bytes| Applied::decode(&bytes))
        .map_err(|detail| damaged(dir, &dir.join(manifest_path(&manifest.id)), detail))?;
    let mut told = Told::new(manifest);
    let mut filling = Filling::new(engine.clone(), &applied, overlay_bytes);
    for file in &manifest.files {
        let path = dir.join(&file.path);
        let stored = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(dir, &path, "it is missing"));
            }
            stored => stored.map_err(io_error(&path))?,
        };
        page_cache::forget(&path);
        let raw = unpack(file, &stored).map_err(|detail| damaged(dir, &path, detail))?;
        filling.add(file, raw).map_err(|error| match error {
            FillError::Engine(error) => error.into(),
            FillError::Content(detail) => damaged(dir, &path, detail),
        })?;
        if file.kind == FileKind::Records {
            told.records += file.entries;
        }
        told.loaded(file.raw_bytes);
    }
    let applied = filling.view().applied();
    match applied.seq == manifest.last_seq {
        true => Ok(applied),
        false => Err(damaged(
            dir,
            &dir.join(manifest_path(&manifest.id)),
            format!(
                "it should end with commit {}, its files end with {}",
                manifest.last_seq, applied.seq
            ),
        )),
    }
}

/// What is told of the progress to whoever waits for the start.
struct Told {
    begun: Instant,
    last: Instant,
    records: u64,
    records_total: u64,
    bytes: u64,
    bytes_total: u64,
}

/// How often it is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Told {
    fn new(manifest: &Manifest) -> Told {
        let now = Instant::now();
        Told {
            begun: now,
            last: now,
            records: 0,
            records_total: manifest.records,
            bytes: 0,
            bytes_total: manifest.raw_bytes(),
        }
    }

    fn loaded(&mut self, bytes: u64) {
        self.bytes += bytes;
        let is_last = self.bytes >= self.bytes_total;
        if self.last.elapsed() < TELL_EVERY && !is_last {
            return;
        }
        self.last = Instant::now();
        let mib_per_second =
            self.bytes as f64 / f64::from(1 << 20) / self.begun.elapsed().as_secs_f64();
        tracing::info!(
            "rebuilding the view from the checkpoint: {} of {} records, {} %, {mib_per_second:.1} MiB/s",
            self.records,
            self.records_total,
            self.bytes * 100 / self.bytes_total.max(1),
        );
    }
}
