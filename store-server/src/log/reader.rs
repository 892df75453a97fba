//! The reading end of the log, for those who follow what is appended, each at its own pace.
//!
//! A [`Reader`] is a place: a segment and an offset in it. It holds no file open and no bytes between two calls, so that
//! there may be thousands. Meanwhile the log is appended to and segments are sealed and removed. What was not synced yet
//! is never looked at: the caller says how far the log is durable, and that is always the end of a frame.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    frame::{self, Frame, HEADER_BYTES, Kind},
    recovery::Damage,
    segment::{SEGMENT_HEADER_BYTES, SegmentInfo, Segments},
};

/// Bytes of frames that one call reads, unless the first frame alone has more.
pub const PORTION_BYTES: usize = 1 << 20;

/// Why the log cannot be read on.
#[derive(Debug, Error)]
pub enum ReadError {
    /// What comes next was removed.
    #[error("the log begins with commit {first_seq}: what was before was removed")]
    Removed {
        /// The oldest commit that is there.
        first_seq: u64,
    },
    /// What comes next cannot be read.
    #[error("{0}")]
    Damaged(Damage),
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    /// First sequence number of the segment; 0: nowhere yet.
    segment_seq: u64,
    /// Where the next frame begins ...
    offset: u64,
    /// ... and the sequence number of its first entry.
    next_seq: u64,
}

impl Reader {
    /// Calls `each` with the entries behind `after_seq`, in order, none beyond `synced_seq`, until it breaks or a portion
    /// is read. A portion may end before the first of these entries was reached; calling again goes on.
    pub fn read(
        &mut self,
        segments: &Segments,
        after_seq: u64,
        synced_seq: u64,
        each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if after_seq >= synced_seq {
            return Ok(());
        }
        let list = segments.snapshot();
        let info = segment_with(&list, after_seq + 1)?;
        if self.segment_seq != info.first_seq || self.next_seq > after_seq + 1 {
            *self = Reader {
                segment_seq: info.first_seq,
                offset: SEGMENT_HEADER_BYTES as u64,
                next_seq: info.first_seq,
            };
        }
        let last_seq = synced_seq.min(info.last_seq);
        self.read_in(&info.path, after_seq, last_seq, each)
            .map_err(|error| match error {
                // Removed since the list was looked at.
                ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    let segments = segments.snapshot();
                    let first_seq = segments.first().map_or(0, |s| s.first_seq);
                    ReadError::Removed { first_seq }
                }
                error => error,
            })
    }

    fn read_in(
        &mut self,
        path: &Path,
        after_seq: u64,
        last_seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let io_error = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io_error)?;
        let mut portion = read_from(&file, self.offset, PORTION_BYTES).map_err(io_error)?;
        if let Some(whole) = frame_bytes(&portion)
            && whole > portion.len()
        {
            portion = read_from(&file, self.offset, whole).map_err(io_error)?;
        }
        let mut rest = &portion[..];
        while self.next_seq <= last_seq {
            let cut_off = frame_bytes(rest).is_none_or(|whole| whole > rest.len());
            if cut_off && rest.len() < portion.len() {
                return Ok(());
            }
            let frame = Frame::decode(rest, self.offset)
                .filter(|frame| frame.kind == Kind::Entries && frame.first_seq == self.next_seq)
                .ok_or_else(|| self.damaged(path))?;
            for (seq, bytes) in frame.entries().filter(|(seq, _)| *seq > after_seq) {
                if each(seq, bytes).is_break() {
                    return Ok(());
                }
            }
            rest = &rest[frame.len_bytes()..];
            self.offset += frame.len_bytes() as u64;
            self.next_seq = frame.last_seq() + 1;
        }
        Ok(())
    }

    fn damaged(&self, path: &Path) -> ReadError {
        ReadError::Damaged(Damage {
            path: path.to_owned(),
            offset: self.offset,
            seq: self.next_seq,
            detail: "a checksum is wrong or bytes are missing".into(),
        })
    }
}

/// The segment that has an entry, or will have it.
fn segment_with(list: &[SegmentInfo], seq: u64) -> Result<&SegmentInfo, ReadError> {
    let behind = list.partition_point(|info| info.first_seq <= seq);
    list[..behind].last().ok_or_else(|| ReadError::Removed {
        first_seq: list.first().map_or(0, |info| info.first_seq),
    })
}

/// Bytes of the frame that begins here, if it can be told.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    frame::payload_bytes(bytes).map(|payload| HEADER_BYTES + payload)
}

/// Up to `bytes` bytes from `offset` on; fewer at the file's end.
fn read_from(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}
