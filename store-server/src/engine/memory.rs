//! The reference engine: a `BTreeMap`.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Engine, EngineError, KeyChange, KeyRange, Pair};

/// An engine in memory.
#[derive(Debug, Default)]
pub struct MemoryEngine(RwLock<BTreeMap<Bytes, Bytes>>);

/// Pairs read under one lock.
const CHUNK: usize = 256;

impl Engine for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.read().get(key).cloned())
    }

    fn scan<'a>(&'a self, range: KeyRange, reverse: bool) -> Box<dyn Iterator<Item = Pair> + 'a> {
        let (mut start, mut end) = range;
        let chunks = std::iter::from_fn(move || {
            if is_empty(&start, &end) {
                return None;
            }
            let map = self.0.read();
            let keys = map.range((start.clone(), end.clone()));
            let own = |(k, v): (&Bytes, &Bytes)| (k.clone(), v.clone());
            let chunk: Vec<_> = if reverse {
                keys.rev().take(CHUNK).map(own).collect()
            } else {
                keys.take(CHUNK).map(own).collect()
            };
            let (last, _) = chunk.last()?;
            let edge = std::ops::Bound::Excluded(last.clone());
            *(if reverse { &mut end } else { &mut start }) = edge;
            Some(chunk)
        });
        Box::new(chunks.flatten().map(Ok))
    }

    fn apply(&self, changes: &[KeyChange]) -> Result<(), EngineError> {
        let mut map = self.0.write();
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}

/// Whether no key can be in the range; `BTreeMap::range` panics on some of these.
fn is_empty(start: &std::ops::Bound<Bytes>, end: &std::ops::Bound<Bytes>) -> bool {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    match (start, end) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(s), Included(e)) => s > e,
        (Included(s) | Excluded(s), Included(e) | Excluded(e)) => s >= e,
    }
}
