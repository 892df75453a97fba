//! Recent commits, in memory, for all watches together.

use std::{collections::VecDeque, sync::Arc};

use super::Commit;

/// Bytes of commits that are kept. Who is further behind reads the log.
const RING_BYTES_MAX: usize = 16 << 20;

/// Most commits looked at in one go, so that the writer does not wait long for those who read.
const LOOK_MAX: usize = 1024;

/// The newest commits, without a gap between them.
#[derive(Debug, Default)]
pub struct Ring {
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
}

impl Ring {
    /// Adds commits. Those that do not follow what is there replace it.
    pub fn extend(&mut self, commits: Vec<Arc<Commit>>) {
        for commit in commits {
            if self
                .commits
                .back()
                .is_some_and(|last| last.seq + 1 != commit.seq)
            {
                self.clear();
            }
            self.bytes += commit.bytes();
            self.commits.push_back(commit);
        }
        while self.bytes > RING_BYTES_MAX
            && let Some(oldest) = self.commits.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Ring::default();
    }

    /// The commits of a namespace that follow `after_seq`, of about so many bytes, and how far was looked; `None`: the next
    /// one is not here.
    pub fn after(
        &self,
        after_seq: u64,
        namespace: &str,
        bytes_max: usize,
    ) -> Option<(Vec<Arc<Commit>>, u64)> {
        let first_seq = self.commits.front()?.seq;
        let at = (after_seq + 1).checked_sub(first_seq)? as usize;
        if at >= self.commits.len() {
            return None;
        }
        let mut found = Vec::new();
        let mut seen_seq = after_seq;
        let mut bytes = 0;
        for commit in self.commits.range(at..).take(LOOK_MAX) {
            if *commit.namespace == *namespace {
                bytes += commit.bytes();
                found.push(commit.clone());
            }
            seen_seq = commit.seq;
            if bytes >= bytes_max {
                break;
            }
        }
        Some((found, seen_seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::Origin, store::record::Record};

    fn commit(seq: u64, namespace: &str, value_bytes: usize) -> Arc<Commit> {
        let record = Record {
            create_rev: seq,
            mod_rev: seq,
            version: 1,
            schema: 0,
            expires_at_ms: 0,
            value: vec![0; value_bytes].into(),
        };
        Arc::new(Commit {
            seq,
            namespace: namespace.into(),
            revision: seq,
            time_ms: 0,
            origin: Origin::Client,
            session: "".into(),
            changes: vec![("key".into(), Some(record))],
        })
    }

    fn seqs(ring: &Ring, after_seq: u64, bytes_max: usize) -> Option<(Vec<u64>, u64)> {
        let (commits, seen) = ring.after(after_seq, "a", bytes_max)?;
        Some((commits.iter().map(|commit| commit.seq).collect(), seen))
    }

    #[test]
    fn what_follows_is_given_of_one_namespace_and_a_bounded_size() {
        let mut ring = Ring::default();
        let of = |seq: u64| commit(seq, if seq.is_multiple_of(2) { "a" } else { "b" }, 1000);
        ring.extend((3..=9).map(of).collect());
        assert_eq!(seqs(&ring, 1, usize::MAX), None, "3 is the first");
        assert_eq!(seqs(&ring, 2, usize::MAX), Some((vec![4, 6, 8], 9)));
        assert_eq!(seqs(&ring, 4, 2000), Some((vec![6, 8], 8)));
        assert_eq!(seqs(&ring, 8, usize::MAX), Some((vec![], 9)));
        assert_eq!(seqs(&ring, 9, usize::MAX), None, "10 is not there yet");
    }

    #[test]
    fn a_gap_and_too_many_bytes_forget_what_is_older() {
        let mut ring = Ring::default();
        ring.extend(vec![commit(1, "a", 10), commit(2, "a", 10)]);
        ring.extend(vec![commit(5, "a", 10)]);
        assert_eq!(seqs(&ring, 1, usize::MAX), None);
        assert_eq!(seqs(&ring, 4, usize::MAX), Some((vec![5], 5)));
        ring.extend((6..=25).map(|seq| commit(seq, "a", 1 << 20)).collect());
        assert_eq!(seqs(&ring, 9, usize::MAX), None);
        assert_eq!(seqs(&ring, 24, usize::MAX), Some((vec![25], 25)));
        assert!(ring.bytes <= RING_BYTES_MAX, "{} bytes", ring.bytes);
    }
}
