//! Reads the checkpoints of formats 1 and 2: one file, framed like a log segment. A header, one frame that tells how far it
//! is, frames of records, and a seal over it all. None is written any more.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use bytes::Bytes;

use super::{CheckpointError, damaged, io_error};
use crate::{
    engine::{Engine, KeyChange},
    log::{
        frame::{self, Frame, HEADER_BYTES, Kind},
        segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
    },
    store::{keys, record::Record, view::Applied},
};

const MAGIC: [u8; 8] = *b"STILLCKP";

/// The extension of such a file.
pub const EXTENSION: &str = "checkpoint";

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Fills an empty engine from a checkpoint of the directory `dir`.
pub fn load(dir: &Path, path: &Path, engine: &dyn Engine) -> Result<Applied, CheckpointError> {
    let mut file = Input::open(path).map_err(io_error(path))?;
    let mut header = [0; SEGMENT_HEADER_BYTES];
    file.read(&mut header).map_err(io_error(path))?;
    let header = SegmentHeader::decode(&header, MAGIC).map_err(|e| damaged(dir, path, e))?;
    let mut applied = None;
    let mut changes: Vec<KeyChange> = Vec::new();
    let mut buffer = Vec::new();
    let sealed = loop {
        let crc = file.crc;
        let Some(frame) = file.frame(&mut buffer).map_err(io_error(path))? else {
            break false;
        };
        if frame.kind == Kind::Seal {
            break frame::sealed_crc(&frame) == Some(crc);
        }
        for (_, entry) in frame.entries() {
            if applied.is_none() {
                applied = Some(Applied::decode(entry).map_err(|e| damaged(dir, path, e))?);
                continue;
            }
            let (key, value) =
                split_entry(entry).ok_or_else(|| damaged(dir, path, "an entry is cut off"))?;
            let record = Record::decode(&value).map_err(|e| damaged(dir, path, e))?;
            if record.expires_at_ms > 0 {
                let expiry = keys::expiry(record.expires_at_ms, &key);
                changes.push((expiry, Some(Bytes::new())));
            }
            changes.push((key, Some(value)));
        }
        changes.sort();
        engine.apply(&changes)?;
        changes.clear();
    };
    match applied {
        Some(applied) if sealed && applied.seq == header.first_seq => Ok(applied),
        _ => Err(damaged(dir, path, "it ends early, or a checksum is wrong")),
    }
}

fn split_entry(entry: &[u8]) -> Option<(Bytes, Bytes)> {
    let (length, rest) = entry.split_first_chunk::<4>()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
}

/// A file being read, frame by frame, since it may be larger than memory.
struct Input {
    file: BufReader<File>,
    bytes: u64,
    crc: u32,
}

impl Input {
    fn open(path: &Path) -> io::Result<Input> {
        let file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
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
