//! The content of data files: records or log entries in portions, compressed.
//!
//! A portion of records repeats the length of the view key and of the record (4 bytes each, little-endian), the view key and
//! the record as the view keeps it. A portion of the log repeats the sequence number (8), the length (4) and the entry.

use bytes::{Buf, Bytes};

use super::manifest::{File, FileKind};

/// Bytes of a portion before compression, but for the last entry, which is as long as it is.
pub const PORTION_BYTES: usize = 8 << 20;

/// How hard zstd tries: beyond it, it gets much slower for little.
const LEVEL: i32 = 3;

/// A portion, ready to be stored.
#[derive(Debug)]
pub struct Portion {
    /// What the manifest says of it. Its path is empty.
    pub file: File,
    /// The content of the file.
    pub bytes: Bytes,
    /// The view key of its last record; empty: it has none.
    pub last_key: Bytes,
}

/// A portion that is being filled.
#[derive(Debug)]
pub struct Packer {
    kind: FileKind,
    raw: Vec<u8>,
    last_key: Vec<u8>,
    entries: u64,
    first_seq: u64,
    last_seq: u64,
}

impl Packer {
    /// An empty one.
    pub fn new(kind: FileKind) -> Packer {
        Packer {
            kind,
            raw: Vec::with_capacity(PORTION_BYTES),
            last_key: Vec::new(),
            entries: 0,
            first_seq: 0,
            last_seq: 0,
        }
    }

    /// Adds a record by view key.
    pub fn push_record(&mut self, key: &[u8], record: &[u8]) {
        self.raw.extend((key.len() as u32).to_le_bytes());
        self.raw.extend((record.len() as u32).to_le_bytes());
        self.raw.extend(key);
        self.raw.extend(record);
        self.last_key.clear();
        self.last_key.extend(key);
        self.entries += 1;
    }

    /// Adds a log entry.
    pub fn push_entry(&mut self, seq: u64, entry: &[u8]) {
        if self.entries == 0 {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        self.raw.extend(seq.to_le_bytes());
        self.raw.extend((entry.len() as u32).to_le_bytes());
        self.raw.extend(entry);
        self.entries += 1;
    }

    /// Whether it is time to store it.
    pub fn is_full(&self) -> bool {
        self.raw.len() >= PORTION_BYTES
    }

    /// Packs it, and begins the next; `None`: there is nothing in it.
    pub fn pack(&mut self) -> std::io::Result<Option<Portion>> {
        if self.entries == 0 {
            return Ok(None);
        }
        let bytes = zstd::bulk::compress(&self.raw, LEVEL)?;
        let file = File {
            path: String::new(),
            kind: self.kind,
            bytes: bytes.len() as u64,
            raw_bytes: self.raw.len() as u64,
            entries: self.entries,
            blake3: blake3::hash(&bytes).to_string(),
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            key_id: None,
        };
        self.raw.clear();
        (self.entries, self.first_seq, self.last_seq) = (0, 0, 0);
        Ok(Some(Portion {
            file,
            bytes: bytes.into(),
            last_key: Bytes::copy_from_slice(&self.last_key),
        }))
    }
}

/// Compares a file with what its manifest says; the message says what is wrong.
pub fn check(file: &File, stored: &[u8]) -> Result<(), String> {
    let bytes = stored.len() as u64;
    if bytes != file.bytes {
        return Err(format!("it has {bytes} bytes instead of {}", file.bytes));
    }
    if blake3::hash(stored).to_string() != file.blake3 {
        return Err("its checksum is not the one in the manifest".into());
    }
    Ok(())
}

/// The content of a file, which is checked before.
pub fn unpack(file: &File, stored: &[u8]) -> Result<Bytes, String> {
    check(file, stored)?;
    decompress(file, stored)
}

/// The content of a file as it was packed.
pub fn decompress(file: &File, packed: &[u8]) -> Result<Bytes, String> {
    let raw_bytes = usize::try_from(file.raw_bytes).map_err(|e| e.to_string())?;
    let raw = zstd::bulk::decompress(packed, raw_bytes).map_err(|e| e.to_string())?;
    Ok(raw.into())
}

/// The records of a portion: view key and record.
pub fn records(mut raw: Bytes) -> impl Iterator<Item = Result<(Bytes, Bytes), String>> {
    std::iter::from_fn(move || {
        (!raw.is_empty()).then(|| {
            let key_bytes = raw.try_get_u32_le().map_err(cut_off)? as usize;
            let record_bytes = raw.try_get_u32_le().map_err(cut_off)? as usize;
            if raw.len() < key_bytes.saturating_add(record_bytes) {
                return Err(cut_off(()));
            }
            Ok((raw.split_to(key_bytes), raw.split_to(record_bytes)))
        })
    })
}

/// The log entries of a portion, each with its sequence number.
pub fn entries(mut raw: Bytes) -> impl Iterator<Item = Result<(u64, Bytes), String>> {
    std::iter::from_fn(move || {
        (!raw.is_empty()).then(|| {
            let seq = raw.try_get_u64_le().map_err(cut_off)?;
            let bytes = raw.try_get_u32_le().map_err(cut_off)? as usize;
            if raw.len() < bytes {
                return Err(cut_off(()));
            }
            Ok((seq, raw.split_to(bytes)))
        })
    })
}

fn cut_off<E>(_: E) -> String {
    "an entry is cut off".into()
}
