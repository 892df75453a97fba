//! Which sealed segments may go.

use std::fs;

use super::segment::{SegmentInfo, Segments, sync_dir};

/// What must be kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Keep all while the log has at most this many bytes.
    pub bytes: u64,
    /// Keep segments whose newest commit is not older than this time, in milliseconds since 1970.
    pub newer_than_ms: u64,
    /// Keep commits after this one: the newest checkpoint does not cover them.
    pub checkpoint_seq: u64,
}

impl Retention {
    /// Whether the oldest segment may go, when all have `total_bytes`.
    fn allows(&self, oldest: &SegmentInfo, total_bytes: u64) -> bool {
        total_bytes > self.bytes
            && oldest.newest_ms < self.newer_than_ms
            && oldest.last_seq <= self.checkpoint_seq
    }
}

/// Removes the oldest segments as far as `retention` allows, never the one being written. Gives the number removed.
pub fn trim(segments: &Segments, retention: &Retention) -> std::io::Result<usize> {
    let list = segments.snapshot();
    let mut total_bytes: u64 = list.iter().map(|s| s.bytes).sum();
    let mut removed = 0;
    for oldest in &list[..list.len().saturating_sub(1)] {
        if !retention.allows(oldest, total_bytes) {
            break;
        }
        fs::remove_file(&oldest.path)?;
        sync_dir(&oldest.path)?;
        segments.pop_first();
        total_bytes -= oldest.bytes;
        removed += 1;
    }
    Ok(removed)
}
