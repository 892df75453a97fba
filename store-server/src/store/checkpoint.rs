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
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

use super::{keys, shared::Shared, view::Applied};
use crate::{
    engine::{Engine, EngineError, KeyChange},
    log::{
        frame::{self, Frame, FrameBuilder, HEADER_BYTES, Kind},
        segment::{SEGMENT_HEADER_BYTES, SegmentHeader, list, sync_dir},
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

/// The checkpoint being taken, on a thread of its own; one at a time.
#[derive(Debug, Default)]
pub struct Background {
    thread: Mutex<Option<JoinHandle<()>>>,
    stopping: AtomicBool,
    /// When the last one failed.
    failed: Mutex<Option<Instant>>,
}

/// A checkpoint that failed is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Background {
    /// Whether the last one failed, and it is time to try again.
    pub fn wants_retry(&self) -> bool {
        let failed = *self.failed.lock();
        failed.is_some_and(|at| at.elapsed() >= RETRY_AFTER)
    }

    /// Begins to take a checkpoint, unless one is being taken; whether it did.
    pub fn start(&self, shared: &Arc<Shared>) -> bool {
        let mut thread = self.thread.lock();
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        *self.failed.lock() = None;
        let worker = shared.clone();
        let work = move || take_in_background(&worker);
        *thread = thread::Builder::new()
            .name("checkpoint".into())
            .spawn(work)
            .ok();
        thread.is_some()
    }

    /// Gives up a checkpoint that is being taken, and waits for that.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            // One that panicked took no checkpoint, which harms nothing.
            let _ = thread.join();
        }
    }
}

fn take_in_background(shared: &Shared) {
    let (engine, dir) = (shared.view.engine(), shared.dir.checkpoint());
    let store_id = shared.dir.identity().store_id.into_bytes();
    match take(engine, &dir, store_id, &shared.checkpoint.stopping) {
        Ok(Some(seq)) => {
            shared.checkpoint_seq.store(seq, Ordering::Release);
            tracing::info!(seq, "took a checkpoint");
        }
        Ok(None) => {}
        Err(error) => {
            *shared.checkpoint.failed.lock() = Some(Instant::now());
            tracing::error!(%error, "cannot take a checkpoint; the log keeps growing until one succeeds");
        }
    }
}

/// Copies the engine's records into a new checkpoint, removes older ones, and gives its sequence number; `None` if it was
/// told to stop before it was complete.
pub fn take(
    engine: &dyn Engine,
    dir: &Path,
    store_id: [u8; 16],
    stopping: &AtomicBool,
) -> Result<Option<u64>, CheckpointError> {
    let applied = read_applied(engine)?.unwrap_or_default();
    let path = dir.join(format!("{:020}.{EXTENSION}", applied.seq));
    let temporary = path.with_extension("new");
    let io_error = |source| CheckpointError::Io {
        path: temporary.clone(),
        source,
    };
    let complete = write(engine, &temporary, &applied, store_id, stopping);
    if !matches!(complete, Ok(true)) {
        // It may be large, and the disk may be full of it. The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return complete.map(|_| None);
    }
    fs::rename(&temporary, &path)
        .and_then(|()| sync_dir(&path))
        .map_err(io_error)?;
    for (seq, older) in list(dir, EXTENSION).map_err(io_error)? {
        if seq < applied.seq {
            fs::remove_file(older).map_err(io_error)?;
        }
    }
    Ok(Some(applied.seq))
}

/// Writes a whole checkpoint; whether it was not told to stop.
fn write(
    engine: &dyn Engine,
    path: &Path,
    applied: &Applied,
    store_id: [u8; 16],
    stopping: &AtomicBool,
) -> Result<bool, CheckpointError> {
    let io_error = |source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    };
    let mut out = Output::create(path).map_err(io_error)?;
    let header = SegmentHeader {
        magic: MAGIC,
        previous_crc: 0,
        store_id,
        first_seq: applied.seq,
    };
    out.write(&header.encode()).map_err(io_error)?;
    let mut frame = FrameBuilder::default();
    frame.begin(applied.seq + 1);
    frame.push(|out| out.extend_from_slice(&applied.encode()));
    out.frame(&mut frame, applied.seq).map_err(io_error)?;
    for pair in engine.scan(keys::all_records(), false) {
        let (key, value) = pair?;
        frame.push(|out| {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(&key);
            out.extend_from_slice(&value);
        });
        if frame.len_bytes() >= FRAME_BYTES {
            out.frame(&mut frame, applied.seq).map_err(io_error)?;
            if stopping.load(Ordering::Acquire) {
                return Ok(false);
            }
        }
    }
    out.frame(&mut frame, applied.seq).map_err(io_error)?;
    out.seal(applied.seq).map_err(io_error)?;
    Ok(true)
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
    let io_error = |source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = Input::open(path).map_err(io_error)?;
    let mut header = [0; SEGMENT_HEADER_BYTES];
    file.read(&mut header).map_err(io_error)?;
    let header = SegmentHeader::decode(&header, MAGIC).map_err(|e| damaged(&e))?;
    let mut applied = None;
    let mut records = 0;
    let mut changes: Vec<KeyChange> = Vec::new();
    let mut buffer = Vec::new();
    let sealed = loop {
        let crc = file.crc;
        let Some(frame) = file.frame(&mut buffer).map_err(io_error)? else {
            break false;
        };
        if frame.kind == Kind::Seal {
            break frame::sealed_crc(&frame) == Some(crc);
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
    };
    match applied {
        Some(applied) if sealed && applied.seq == header.first_seq => Ok(applied),
        _ => Err(damaged("it ends early, or a checksum is wrong")),
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

/// A file being written: how long it is, and the checksum of what it has.
struct Output {
    file: BufWriter<File>,
    bytes: u64,
    crc: u32,
}

impl Output {
    fn create(path: &Path) -> io::Result<Output> {
        let file = BufWriter::with_capacity(FRAME_BYTES, File::create(path)?);
        Ok(Output {
            file,
            bytes: 0,
            crc: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes a frame, and begins the next one.
    fn frame(&mut self, frame: &mut FrameBuilder, seq: u64) -> io::Result<()> {
        let written = self.write(frame.finish(seq, self.bytes));
        frame.begin(seq + 1);
        written
    }

    /// Ends the file, durably.
    fn seal(mut self, seq: u64) -> io::Result<()> {
        let seal = frame::seal(seq + 1, seq, self.bytes, self.crc);
        self.write(&seal)?;
        self.file
            .into_inner()
            .map_err(|e| e.into_error())?
            .sync_all()
    }
}

/// A file being read, frame by frame, since it may be larger than memory.
struct Input {
    file: BufReader<File>,
    bytes: u64,
    crc: u32,
}

impl Input {
    fn open(path: &Path) -> io::Result<Input> {
        let file = BufReader::with_capacity(FRAME_BYTES, File::open(path)?);
        Ok(Input {
            file,
            bytes: 0,
            crc: 0,
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, buffer);
        self.bytes += buffer.len() as u64;
        Ok(())
    }

    /// The next frame; `None` if it is not intact, or the file ends.
    fn frame<'b>(&mut self, buffer: &'b mut Vec<u8>) -> io::Result<Option<Frame<'b>>> {
        let offset = self.bytes;
        buffer.resize(HEADER_BYTES, 0);
        let read = self.read(buffer).and_then(|()| {
            let length = frame::payload_bytes(buffer).unwrap_or(0);
            buffer.resize(HEADER_BYTES + length, 0);
            self.read(&mut buffer[HEADER_BYTES..])
        });
        match read {
            Ok(()) => Ok(Frame::decode(buffer, offset)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }
}
