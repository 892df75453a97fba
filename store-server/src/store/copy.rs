//! What a backup reads of a store that goes on working: the engine's records, and the log behind them.

use std::{
    ops::{Bound, ControlFlow},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use stillpoint_migrations::format::Identity;

use super::{Store, checkpoint, feed::Hold, keys, shared::Shared, view::Applied};
use crate::{
    engine::{EngineError, Pair},
    log::{
        reader::{ReadError, Reader},
        segment::SegmentInfo,
    },
    page_cache,
};

/// What a backup reads of a store. As long as it lives, the log behind its place is kept as it is for a watch.
#[derive(Debug)]
pub(crate) struct CopySource {
    shared: Arc<Shared>,
    hold: Hold,
}

impl Store {
    /// What a backup reads.
    pub(crate) fn copy_source(&self) -> CopySource {
        CopySource::new(self.shared.clone())
    }
}

impl CopySource {
    /// What is copied of a store.
    pub(super) fn new(shared: Arc<Shared>) -> CopySource {
        // At first it holds all of the log: the place is not known yet.
        let hold = Hold::new(shared.clone(), 0);
        CopySource { shared, hold }
    }

    /// Who the store is.
    pub fn identity(&self) -> &Identity {
        self.shared.dir.identity()
    }

    /// How far [`records`](Self::records) are at least, if they are read from now on; the log is kept from there on.
    pub fn applied(&self) -> Result<Applied, EngineError> {
        let applied = checkpoint::read_applied(self.shared.view.engine())?.unwrap_or_default();
        self.hold.move_to(applied.seq);
        Ok(applied)
    }

    /// The engine's records by view key, in order, behind this one; empty: all. Fuzzy: what is committed meanwhile may be among
    /// them.
    pub fn records_after(&self, key: &Bytes) -> impl Iterator<Item = Pair> {
        let range = match key.is_empty() {
            true => keys::all_records(),
            false => (Bound::Excluded(key.clone()), keys::all_records().1),
        };
        self.shared.view.engine().scan(range, false)
    }

    /// Records that there are, but for the store's own.
    pub fn records_total(&self) -> u64 {
        let applied = self.shared.view.applied();
        applied.namespaces.values().map(|ns| ns.records).sum()
    }

    /// The newest commit that is on disk. The engine never has newer ones.
    pub fn last_seq(&self) -> u64 {
        self.shared.synced_seq.load(Ordering::Acquire)
    }

    /// About how many bytes of log there are behind a commit.
    pub fn log_bytes(&self, after_seq: u64) -> u64 {
        let segments = self.shared.segments.snapshot();
        let behind = segments.iter().map(|segment| {
            let commits = (segment.last_seq + 1).saturating_sub(segment.first_seq);
            let wanted = segment.last_seq.saturating_sub(after_seq).min(commits);
            let share = wanted as f64 / commits.max(1) as f64;
            (segment.bytes as f64 * share) as u64
        });
        behind.sum()
    }

    /// Calls `each` with the log's entries `(after_seq, last_seq]`, in order, until it breaks.
    pub fn read_log(
        &self,
        mut after_seq: u64,
        last_seq: u64,
        mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut reader = Reader::default();
        let mut copied = Copied::default();
        let mut flow = ControlFlow::Continue(());
        while after_seq < last_seq && flow.is_continue() {
            self.hold.move_to(after_seq);
            copied.move_to(&self.shared.segments.snapshot(), after_seq);
            let mut read_seq = after_seq;
            reader.read(&self.shared.segments, after_seq, last_seq, |seq, entry| {
                read_seq = seq;
                flow = each(seq, entry);
                flow
            })?;
            after_seq = read_seq;
        }
        Ok(())
    }
}

/// The segment that is being copied.
#[derive(Debug, Default)]
struct Copied(Option<PathBuf>);

impl Copied {
    /// Goes on behind a commit. A segment that was left goes out of the page cache: all of it was read, and nobody but a watch
    /// that is far behind reads it again.
    fn move_to(&mut self, segments: &[SegmentInfo], after_seq: u64) {
        let path = (segments.iter())
            .find(|segment| segment.last_seq > after_seq)
            .map(|segment| &segment.path);
        if self.0.as_ref() != path
            && let Some(left) = std::mem::replace(&mut self.0, path.cloned())
        {
            page_cache::forget(&left);
        }
    }
}
