//! What happens to the log at start: check it, cut a torn tail, refuse damage.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    entry::Entry,
    frame::{self, Frame, Kind},
    segment::{
        LOG_MAGIC, SEGMENT_HEADER_BYTES, SegmentFile, SegmentHeader, SegmentInfo, Segments, create,
        list, read_seal,
    },
};

/// Why a log cannot be used.
#[derive(Debug, Error)]
pub enum LogError {
    /// Something that had been acknowledged cannot be read.
    #[error("{0}")]
    Damaged(Damage),
    /// The disk failed; nothing is known to be lost.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a log is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path} is damaged at byte {offset}, from commit {seq} on: {detail}")]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Offset in it.
    pub offset: u64,
    /// Sequence number of the first commit that cannot be read.
    pub seq: u64,
    /// What is wrong.
    pub detail: String,
}

/// A log that was found whole, up to a torn tail that was cut. Every segment is sealed.
#[derive(Debug)]
pub struct Recovered {
    /// The segments.
    pub segments: Segments,
    /// Sequence number of the oldest commit in the log; that of the next one if there is none.
    pub first_seq: u64,
    /// Sequence number that the next commit gets.
    pub next_seq: u64,
    /// Whether a segment tells that, if only an empty one; else it is what was expected.
    pub is_known: bool,
    /// Checksum of the last segment, for the header of the next one.
    pub previous_crc: u32,
    /// What was cut off the end.
    pub cut: Option<Cut>,
}

/// A torn tail that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// Bytes cut.
    pub bytes: u64,
    /// Where these bytes were saved.
    pub saved_to: PathBuf,
}

/// What the log is expected to be like, and how much of it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The store it belongs to.
    pub store_id: [u8; 16],
    /// What an empty log begins with.
    pub first_seq: u64,
    /// Check sealed segments whole; else only their ends.
    pub verify_all: bool,
    /// What happens to a torn tail.
    pub torn: OnTornTail,
}

/// What happens to a torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTornTail {
    /// It is saved and cut, and the last segment is sealed.
    Cut,
    /// The files stay as they are.
    Leave,
}

/// Checks the log in `dir`, cuts a torn tail, seals the last segment.
pub fn recover(dir: &Path, log: &Expected) -> Result<Recovered, LogError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Io { path, source }
    };
    let files = list(dir, "log").map_err(io_error(dir))?;
    let segments = Segments::default();
    let mut first = None;
    let mut next_seq = log.first_seq;
    let mut previous_crc = 0;
    let mut cut = None;
    for (i, (named_seq, path)) in files.iter().enumerate() {
        let last = i + 1 == files.len();
        let check = Check { path, log };
        let sealed = read_seal(path).map_err(io_error(path))?;
        let expected = (i > 0).then_some((next_seq, previous_crc));
        let segment = match (sealed, last) {
            (Some(seal), _) => check.sealed(*named_seq, expected, seal)?,
            (None, true) => {
                let (segment, torn) = check.open_end(*named_seq, expected)?;
                cut = torn;
                segment
            }
            (None, false) => {
                let found = check.first_bad_frame()?;
                return Err(LogError::Damaged(found));
            }
        };
        if segment.info.last_seq < segment.info.first_seq && last {
            // The one to come has the same name and takes its place. Until then it stays: nothing else may tell where the
            // log goes on.
            if i == 0 {
                next_seq = segment.info.first_seq;
            }
            previous_crc = segment.previous_crc;
            break;
        }
        first.get_or_insert(segment.info.first_seq);
        next_seq = segment.info.last_seq + 1;
        previous_crc = segment.crc;
        segments.push(segment.info);
    }
    Ok(Recovered {
        segments,
        first_seq: first.unwrap_or(next_seq),
        next_seq,
        is_known: !files.is_empty(),
        previous_crc,
        cut,
    })
}

/// Calls `each` with every commit from `from_seq` on, in order. The log must have been recovered.
pub fn replay<E: From<LogError>>(
    segments: &Segments,
    from_seq: u64,
    mut each: impl FnMut(u64, &Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for info in segments.snapshot() {
        if info.last_seq < from_seq {
            continue;
        }
        let file = SegmentFile::read(&info.path).map_err(|source| LogError::Io {
            path: info.path.clone(),
            source,
        })?;
        let mut frames = file.frames();
        let mut next_seq = info.first_seq;
        for (offset, frame) in frames.by_ref() {
            if frame.kind == Kind::Entries {
                next_seq = frame.last_seq() + 1;
            }
            if frame.kind == Kind::Seal || frame.last_seq() < from_seq {
                continue;
            }
            for (seq, bytes) in frame.entries().filter(|(seq, _)| *seq >= from_seq) {
                let entry = Entry::decode(bytes).map_err(|detail| {
                    let offset = offset as u64;
                    LogError::Damaged(Damage {
                        path: info.path.clone(),
                        offset,
                        seq,
                        detail,
                    })
                })?;
                each(seq, &entry)?;
            }
        }
        // Of a segment that was not verified, only the ends are known.
        if next_seq <= info.last_seq {
            return Err(E::from(LogError::Damaged(Damage {
                path: info.path.clone(),
                offset: frames.offset() as u64,
                seq: next_seq,
                detail: "a checksum is wrong or bytes are missing".into(),
            })));
        }
    }
    Ok(())
}

/// A segment that was found whole.
struct Checked {
    info: SegmentInfo,
    previous_crc: u32,
    crc: u32,
}

/// The checks of one segment file.
struct Check<'a> {
    path: &'a Path,
    log: &'a Expected,
}

impl Check<'_> {
    fn damage(&self, offset: usize, seq: u64, detail: impl Into<String>) -> LogError {
        let (path, offset) = (self.path.to_owned(), offset as u64);
        LogError::Damaged(Damage {
            path,
            offset,
            seq,
            detail: detail.into(),
        })
    }

    fn io(&self) -> impl FnOnce(io::Error) -> LogError + use<> {
        let path = self.path.to_owned();
        move |source| LogError::Io { path, source }
    }

    /// Checks the header, and that the segment follows the one before.
    fn header(
        &self,
        bytes: &[u8],
        named_seq: u64,
        expected: Option<(u64, u32)>,
    ) -> Result<SegmentHeader, LogError> {
        let header =
            SegmentHeader::decode(bytes, LOG_MAGIC).map_err(|e| self.damage(0, named_seq, e))?;
        if header.store_id != self.log.store_id {
            return Err(self.damage(16, named_seq, "it belongs to another store"));
        }
        if header.first_seq != named_seq {
            let detail = format!(
                "its name says it begins with commit {named_seq}, its header says {}",
                header.first_seq
            );
            return Err(self.damage(32, named_seq.min(header.first_seq), detail));
        }
        match expected {
            Some((seq, _)) if seq != header.first_seq => {
                let detail = format!(
                    "commits {seq} to {} are missing before it",
                    header.first_seq.wrapping_sub(1)
                );
                Err(self.damage(32, seq, detail))
            }
            Some((seq, crc)) if crc != header.previous_crc => {
                Err(self.damage(12, seq, "it does not belong behind the segment before it"))
            }
            _ => Ok(header),
        }
    }

    fn sealed(
        &self,
        named_seq: u64,
        expected: Option<(u64, u32)>,
        (seal_seq, seal_crc): (u64, u32),
    ) -> Result<Checked, LogError> {
        let file = SegmentFile::read(self.path).map_err(self.io())?;
        let bytes = file.bytes();
        let header = self.header(bytes, named_seq, expected)?;
        let sealed = &bytes[..bytes.len() - frame::SEAL_BYTES];
        if self.log.verify_all && crc32c::crc32c(sealed) != seal_crc {
            return Err(LogError::Damaged(self.bad_frame_in(&file)));
        }
        Ok(Checked {
            info: SegmentInfo {
                path: self.path.to_owned(),
                first_seq: header.first_seq,
                last_seq: seal_seq - 1,
                bytes: bytes.len() as u64,
                newest_ms: newest_ms(&file),
            },
            previous_crc: header.previous_crc,
            crc: seal_crc,
        })
    }

    /// Checks the last segment, cuts its torn tail, and seals it.
    fn open_end(
        &self,
        named_seq: u64,
        expected: Option<(u64, u32)>,
    ) -> Result<(Checked, Option<Cut>), LogError> {
        let file = SegmentFile::read(self.path).map_err(self.io())?;
        let bytes = file.bytes();
        let header = self.header(bytes, named_seq, expected)?;
        let mut next_seq = header.first_seq;
        let mut end = SEGMENT_HEADER_BYTES;
        for (offset, frame) in file.frames() {
            if frame.first_seq != next_seq {
                let detail = format!(
                    "commit {} follows where {next_seq} was expected",
                    frame.first_seq
                );
                return Err(self.damage(offset, next_seq, detail));
            }
            next_seq = frame.last_seq() + 1;
            end = offset + frame.len_bytes();
        }
        if let Some(synced_seq) = newest_synced_seq(bytes, end)
            && synced_seq >= next_seq
        {
            let detail = format!("commits up to {synced_seq} had been on disk");
            return Err(self.damage(end, next_seq, detail));
        }
        let crc = crc32c::crc32c(&bytes[..end]);
        let (cut, bytes_sealed) = match self.log.torn {
            OnTornTail::Cut => self
                .cut_and_seal(bytes, end, next_seq, crc)
                .map_err(self.io())?,
            OnTornTail::Leave => (None, end as u64),
        };
        let info = SegmentInfo {
            path: self.path.to_owned(),
            first_seq: header.first_seq,
            last_seq: next_seq - 1,
            bytes: bytes_sealed,
            newest_ms: newest_ms(&file),
        };
        Ok((
            Checked {
                info,
                previous_crc: header.previous_crc,
                crc,
            },
            cut,
        ))
    }

    /// Writes the segment anew with a seal behind what is good of it, and saves what was behind that.
    ///
    /// Anew, not in place: what a killed server left may be in memory only, and after a failed sync not even another sync
    /// would bring it to disk. It is about to be served as durable. And so the cut and the seal appear together.
    fn cut_and_seal(
        &self,
        bytes: &[u8],
        end: usize,
        next_seq: u64,
        crc: u32,
    ) -> io::Result<(Option<Cut>, u64)> {
        let cut = match &bytes[end..] {
            [] => None,
            torn => {
                let saved_to = self.path.with_extension("torn");
                let mut saved = File::create(&saved_to)?;
                saved.write_all(torn)?;
                saved.sync_all()?;
                let (path, bytes) = (self.path.to_owned(), torn.len() as u64);
                Some(Cut {
                    path,
                    bytes,
                    saved_to,
                })
            }
        };
        let seal = frame::seal(next_seq, next_seq - 1, end as u64, crc);
        let sealed = [&bytes[..end], &seal].concat();
        create(self.path, &sealed)?;
        Ok((cut, sealed.len() as u64))
    }

    fn first_bad_frame(&self) -> Result<Damage, LogError> {
        Ok(self.bad_frame_in(&SegmentFile::read(self.path).map_err(self.io())?))
    }

    fn bad_frame_in(&self, file: &SegmentFile) -> Damage {
        let mut frames = file.frames();
        let header = SegmentHeader::decode(file.bytes(), LOG_MAGIC);
        let first_seq = header.as_ref().map_or(0, |h| h.first_seq);
        let seq = frames
            .by_ref()
            .map(|(_, frame)| frame.last_seq() + 1)
            .last()
            .unwrap_or(first_seq);
        let (offset, detail) = match header {
            Err(e) => (0, e),
            Ok(_) => (
                frames.offset() as u64,
                "a checksum is wrong or bytes are missing".into(),
            ),
        };
        Damage {
            path: self.path.to_owned(),
            offset,
            seq,
            detail,
        }
    }
}

/// The highest synced sequence number that any intact frame behind `end` tells, wherever it begins.
fn newest_synced_seq(bytes: &[u8], end: usize) -> Option<u64> {
    (end..bytes.len())
        .filter(|&at| matches!(bytes.get(at..at + 4), Some(b"FRAM" | b"SEAL")))
        .filter_map(|at| Frame::decode(&bytes[at..], at as u64))
        .map(|frame| frame.synced_seq)
        .max()
}

/// Time of the newest commit in a segment; 0 if there is none.
fn newest_ms(file: &SegmentFile) -> u64 {
    let last = file
        .frames()
        .filter(|(_, frame)| frame.kind == Kind::Entries)
        .last();
    last.and_then(|(_, frame)| frame.entries().last())
        .and_then(|(_, bytes)| Entry::decode(bytes).ok().map(|entry| entry.time_ms))
        .unwrap_or(0)
}
