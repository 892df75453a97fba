//! Which sealed segments may go.

use std::fs;

use super::segment::{SegmentInfo, Segments, sync_dir};

/// What may go, and what must be kept all the same.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Segments may go while the log has more bytes than this ...
    pub bytes: u64,
    /// ... or if their newest commit is older than this time, in milliseconds since 1970.
    pub older_than_ms: u64,
    /// But never if it is younger than this time: the table of answers is rebuilt from them.
    pub keep_since_ms: u64,
    /// And never if the newest checkpoint does not cover it.
    pub checkpoint_seq: u64,
    /// Nor if a watch has not read it yet, all commits up to here being read, while the log has less than
    /// twice `bytes`.
    pub watched_seq: u64,
}

/// How much larger than it should be the log may grow for a slow watch. Beyond that the watch gets the state anew.
const WATCHED_FACTOR: u64 = 2;

impl Retention {
    /// Whether the oldest segment may go, when all have `total_bytes`.
    fn allows(&self, oldest: &SegmentInfo, total_bytes: u64) -> bool {
        let may_go = total_bytes > self.bytes || oldest.newest_ms < self.older_than_ms;
        let is_watched = oldest.last_seq > self.watched_seq
            && total_bytes <= self.bytes.saturating_mul(WATCHED_FACTOR);
        may_go
            && !is_watched
            && oldest.newest_ms < self.keep_since_ms
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
