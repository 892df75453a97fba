//! One segment file: its name, its header, reading it frame by frame; and the list of all segments.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::frame::{Frame, HEADER_BYTES, Kind, SEAL_BYTES};

/// Bytes of a segment's header: magic 8, format 4, checksum of the segment before 4, store id 16, first sequence
/// number 8, unused 20, CRC32C of all that 4.
pub const SEGMENT_HEADER_BYTES: usize = 64;

/// Which file this is and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What the file holds.
    pub magic: [u8; 8],
    /// Checksum of the segment before; 0 for the first one.
    pub previous_crc: u32,
    /// The store it belongs to.
    pub store_id: [u8; 16],
    /// Sequence number of its first entry.
    pub first_seq: u64,
}

/// Magic of a log segment.
pub const LOG_MAGIC: [u8; 8] = *b"STILLLOG";

/// Format number in the header.
const FORMAT: u32 = 1;

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.magic);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store_id);
        bytes[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; the message says what is wrong with it.
    pub fn decode(bytes: &[u8], magic: [u8; 8]) -> Result<SegmentHeader, String> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes
            .first_chunk()
            .ok_or_else(|| format!("the header is cut off after {} bytes", bytes.len()))?;
        let u32_at =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if crc32c::crc32c(&bytes[..60]) != u32_at(60) {
            return Err("the header's checksum is wrong".into());
        }
        if bytes[0..8] != magic {
            return Err("it is a file of another kind".into());
        }
        if u32_at(8) != FORMAT {
            return Err(format!(
                "its format is {}, this program reads {FORMAT}",
                u32_at(8)
            ));
        }
        Ok(SegmentHeader {
            magic,
            previous_crc: u32_at(12),
            store_id: bytes[16..32].try_into().expect("16 bytes"),
            first_seq: u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes")),
        })
    }
}

/// The name of the segment whose first entry has this sequence number.
pub fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}

/// The segment files of a directory by first sequence number, in order.
pub fn list(dir: &Path, extension: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        let number = path
            .file_stem()
            .and_then(|s| s.to_str())
            .and_then(|s| s.parse().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|e| e == extension)
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a file with this beginning appear whole or not at all, and opens it for appending.
pub fn create(path: &Path, beginning: &[u8]) -> io::Result<File> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(beginning)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path)?;
    Ok(file)
}

/// Makes the directory entry of `path` durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// A segment file, read whole. Segments are small enough (tens of MiB) to be read at once.
#[derive(Debug)]
pub struct SegmentFile {
    /// Its path.
    pub path: PathBuf,
    bytes: Vec<u8>,
}

impl SegmentFile {
    /// Reads the file.
    pub fn read(path: &Path) -> io::Result<SegmentFile> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(SegmentFile {
            path: path.to_owned(),
            bytes,
        })
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its frames from the first on, each with its offset, up to the first that is not intact or the end.
    pub fn frames(&self) -> Frames<'_> {
        Frames {
            bytes: &self.bytes,
            offset: SEGMENT_HEADER_BYTES.min(self.bytes.len()),
        }
    }
}

/// The intact frames of a segment.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Frames<'a> {
    /// Where the next frame begins, or where reading ended.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (usize, Frame<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let frame = Frame::decode(self.bytes.get(self.offset..)?, self.offset as u64)?;
        let at = self.offset;
        self.offset += frame.len_bytes();
        Some((at, frame))
    }
}

/// The seal at the end of a file, if there is an intact one: the next segment's first sequence number and this
/// segment's checksum.
pub fn read_seal(path: &Path) -> io::Result<Option<(u64, u32)>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length < (SEGMENT_HEADER_BYTES + SEAL_BYTES) as u64 {
        return Ok(None);
    }
    let mut bytes = [0; SEAL_BYTES];
    let offset = length - SEAL_BYTES as u64;
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Frame::decode(&bytes, offset)
        .filter(|frame| frame.kind == Kind::Seal && frame.len_bytes() == HEADER_BYTES + 4)
        .and_then(|frame| Some((frame.first_seq, super::frame::sealed_crc(&frame)?))))
}

/// A segment as the rest of the store knows it.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    /// Its path.
    pub path: PathBuf,
    /// Sequence number of its first entry.
    pub first_seq: u64,
    /// Sequence number of its last entry.
    pub last_seq: u64,
    /// Its size.
    pub bytes: u64,
    /// Time of its newest entry, in milliseconds since 1970.
    pub newest_ms: u64,
}

/// The list of segments, shared by the appender, retention and status. The last one is being written.
#[derive(Clone, Debug, Default)]
pub struct Segments(Arc<Mutex<Vec<SegmentInfo>>>);

impl Segments {
    /// A copy of the list.
    pub fn snapshot(&self) -> Vec<SegmentInfo> {
        self.0.lock().clone()
    }

    /// Adds one at the end.
    pub fn push(&self, info: SegmentInfo) {
        self.0.lock().push(info);
    }

    /// Updates the last one.
    pub fn update_last(&self, update: impl FnOnce(&mut SegmentInfo)) {
        if let Some(last) = self.0.lock().last_mut() {
            update(last);
        }
    }

    /// Forgets the oldest one.
    pub fn pop_first(&self) {
        let mut list = self.0.lock();
        if !list.is_empty() {
            list.remove(0);
        }
    }
}
