//! Checkpoints: a copy of all records, from which the view is rebuilt together with the log behind it.
//!
//! A checkpoint is copied from the engine while commits go on, so it is fuzzy: it has everything up to its sequence
//! number, and perhaps some newer values. Replaying the log after that number mends this, since log entries hold full
//! values. It lets the log before it be trimmed.
//!
//! The file is framed like a log segment: a header, one frame that tells how far it is, frames of records, and a seal
//! over it all. It gets its name when it is complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use bytes::Bytes;
use thiserror::Error;

use super::{keys, shared::Shared, view::Applied};
use crate::{
    engine::{Engine, EngineError, KeyChange},
    log::{
        frame::{self, FrameBuilder, Kind},
        segment::{SegmentFile, SegmentHeader, list, sync_dir},
    },
};

const MAGIC: [u8; 8] = *b"STILLCKP";

const EXTENSION: &str = "checkpoint";

/// Bytes of records in one frame.
const FRAME_BYTES: usize = 1 << 20;

/// Why a checkpoint could not be taken or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file is not whole.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// The newest checkpoint in a directory: its sequence number and file.
pub fn newest(dir: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    Ok(list(dir, EXTENSION)?.pop())
}

/// Begins to take a checkpoint on a thread of its own, unless one is being taken; whether it did.
pub fn start(shared: &Arc<Shared>) -> bool {
    if shared.checkpoint_running.swap(true, Ordering::AcqRel) {
        return false;
    }
    let worker = shared.clone();
    let spawned = thread::Builder::new().name("checkpoint".into()).spawn(move || {
        match take(worker.view.engine(), &worker.dir.checkpoint(), worker.dir.identity().store_id.into_bytes()) {
            Ok(seq) => {
                worker.checkpoint_seq.store(seq, Ordering::Release);
                tracing::info!(seq, "took a checkpoint");
            }
            Err(error) => tracing::error!(%error, "cannot take a checkpoint; the log keeps growing until one succeeds"),
        }
        worker.checkpoint_running.store(false, Ordering::Release);
    });
    spawned.is_ok()
}

/// Copies the engine's records into a new checkpoint, removes older ones, and gives its sequence number.
pub fn take(engine: &dyn Engine, dir: &Path, store_id: [u8; 16]) -> Result<u64, CheckpointError> {
    let applied = read_applied(engine)?.unwrap_or_default();
    let path = dir.join(format!("{:020}.{EXTENSION}", applied.seq));
    let temporary = path.with_extension("new");
    let io_error = |source| CheckpointError::Io {
        path: temporary.clone(),
        source,
    };
    let file = File::create(&temporary).map_err(io_error)?;
    let header = SegmentHeader {
        magic: MAGIC,
        previous_crc: 0,
        store_id,
        first_seq: applied.seq,
    };
    let mut out = Output {
        file: BufWriter::with_capacity(FRAME_BYTES, file),
        crc: 0,
    };
    out.write(&header.encode()).map_err(io_error)?;
    let mut frame = FrameBuilder::default();
    frame.begin(applied.seq);
    frame.push(|out| out.extend_from_slice(&applied.encode()));
    out.write(frame.finish(applied.seq)).map_err(io_error)?;
    frame.begin(applied.seq);
    for pair in engine.scan(keys::all_records(), false) {
        let (key, value) = pair?;
        frame.push(|out| {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(&key);
            out.extend_from_slice(&value);
        });
        if frame.len_bytes() >= FRAME_BYTES {
            out.write(frame.finish(applied.seq)).map_err(io_error)?;
            frame.begin(applied.seq);
        }
    }
    out.write(frame.finish(applied.seq)).map_err(io_error)?;
    let seal = frame::seal(applied.seq, applied.seq, out.crc);
    out.write(&seal).map_err(io_error)?;
    let file = out
        .file
        .into_inner()
        .map_err(|e| io_error(e.into_error()))?;
    file.sync_all().map_err(io_error)?;
    fs::rename(&temporary, &path)
        .and_then(|()| sync_dir(&path))
        .map_err(io_error)?;
    for (seq, older) in list(dir, EXTENSION).map_err(io_error)? {
        if seq < applied.seq {
            fs::remove_file(older).map_err(io_error)?;
        }
    }
    Ok(applied.seq)
}

/// Fills an empty engine from a checkpoint, calling `progress` with the records so far.
pub fn load(
    path: &Path,
    engine: &dyn Engine,
    mut progress: impl FnMut(u64),
) -> Result<Applied, CheckpointError> {
    let damaged = |detail: &str| CheckpointError::Damaged {
        path: path.to_owned(),
        detail: detail.into(),
    };
    let file = SegmentFile::read(path).map_err(|source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    })?;
    let header = SegmentHeader::decode(file.bytes(), MAGIC).map_err(|e| damaged(&e))?;
    let mut applied = None;
    let mut sealed = false;
    let mut records = 0;
    let mut changes: Vec<KeyChange> = Vec::new();
    for (offset, frame) in file.frames() {
        if frame.kind == Kind::Seal {
            sealed = frame::sealed_crc(&frame) == Some(crc32c::crc32c(&file.bytes()[..offset]));
            break;
        }
        for (_, entry) in frame.entries() {
            if applied.is_none() {
                applied = Some(Applied::decode(entry).map_err(|e| damaged(&e))?);
                continue;
            }
            let (key, value) = split_entry(entry).ok_or_else(|| damaged("an entry is cut off"))?;
            if let Some((expires_at_ms, key)) = expiry_of(&key, &value) {
                changes.push((keys::expiry(expires_at_ms, &key), Some(Bytes::new())));
            }
            changes.push((key, Some(value)));
            records += 1;
        }
        changes.sort();
        engine.apply(&changes)?;
        changes.clear();
        progress(records);
    }
    match applied {
        Some(applied) if sealed && applied.seq == header.first_seq => Ok(applied),
        _ => Err(damaged("it ends early, or its checksum is wrong")),
    }
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

fn split_entry(entry: &[u8]) -> Option<(Bytes, Bytes)> {
    let (length, rest) = entry.split_first_chunk::<4>()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
}

fn expiry_of(key: &Bytes, value: &Bytes) -> Option<(u64, Bytes)> {
    let record = super::record::Record::decode(value).ok()?;
    (record.expires_at_ms > 0).then(|| (record.expires_at_ms, key.clone()))
}

/// A file being written, and the checksum of what it has.
struct Output {
    file: BufWriter<File>,
    crc: u32,
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.file.write_all(bytes)
    }
}
