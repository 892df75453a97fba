//! Reads what can be read of a damaged log: every intact frame, wherever it is.

use std::{io, path::Path};

use super::{
    frame::{Frame, Kind},
    segment::{SEGMENT_HEADER_BYTES, SegmentFile, list},
};

/// What a damaged log still has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Ranges of sequence numbers that can be read, in the order of the files: first and last.
    pub readable: Vec<(u64, u64)>,
    /// The highest sequence number that any frame names, be it its own or one it calls synced.
    pub newest_seq: u64,
}

impl Salvage {
    /// How far an unbroken run of commits goes that begins behind `seq`; `seq` itself if the next one is missing.
    pub fn reach(&self, mut seq: u64) -> u64 {
        let mut ranges = self.readable.clone();
        ranges.sort_unstable();
        for (first, last) in ranges {
            if first <= seq.saturating_add(1) && last > seq {
                seq = last;
            }
        }
        seq
    }
}

/// Finds out what can be read.
pub fn survey(dir: &Path) -> io::Result<Salvage> {
    let mut salvage = Salvage::default();
    for_each_frame(dir, |frame| {
        salvage.newest_seq = salvage.newest_seq.max(frame.synced_seq);
        if frame.kind == Kind::Entries && frame.count > 0 {
            salvage.readable.push((frame.first_seq, frame.last_seq()));
            salvage.newest_seq = salvage.newest_seq.max(frame.last_seq());
        }
    })?;
    Ok(salvage)
}

/// Calls `each` with the commits from `first_seq` to `last_seq`, in order; [`Salvage::reach`] must have said that they
/// are all there. Commits that `each` refuses are told in the answer.
pub fn read(
    dir: &Path,
    first_seq: u64,
    last_seq: u64,
    mut each: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut next_seq = first_seq;
    for_each_frame(dir, |frame| {
        if frame.kind == Kind::Entries {
            for (seq, bytes) in frame.entries().filter(|(seq, _)| *seq <= last_seq) {
                if seq == next_seq {
                    each(seq, bytes);
                    next_seq += 1;
                }
            }
        }
    })
}

fn for_each_frame(dir: &Path, mut each: impl FnMut(&Frame<'_>)) -> io::Result<()> {
    for (_, path) in list(dir, "log")? {
        let file = SegmentFile::read(&path)?;
        let bytes = file.bytes();
        let mut at = SEGMENT_HEADER_BYTES.min(bytes.len());
        while at < bytes.len() {
            match Frame::decode(&bytes[at..], at as u64) {
                Some(frame) => {
                    each(&frame);
                    at += frame.len_bytes();
                }
                None => at += 1,
            }
        }
    }
    Ok(())
}
