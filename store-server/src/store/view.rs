//! The view of the log that reads are answered from: the engine, and in front of it what it does not have yet.
//!
//! A commit is readable as soon as it is published here, in memory; the engine gets it later, off the answer's path,
//! in large sorted portions. Two maps lie over the engine:
//!
//! ```text
//!   publish ──▶ active ── freeze ──▶ frozen ── applier thread ──▶ engine
//!   get:        1. active             2. frozen                    3. cache, engine
//! ```
//!
//! The maps and the revisions are under one read-write lock. Whoever holds it for reading sees one revision: nothing is
//! published meanwhile, and of the keys that the applier is changing in the engine every one is still in `frozen`, which
//! hides it. So a consistent batch needs no snapshots from the engine.
//!
//! For the same reason the cache never has what the engine has not: a reader gets to engine and cache only for keys that
//! nobody is changing, and the applier brings both up to date before it uncovers a key.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};
use serde::{Deserialize, Serialize};

use super::{cache::RecordCache, keys, state_hash::StateHash};
use crate::engine::{Engine, EngineError, KeyChange, KeyRange, Pair};

/// The view.
#[derive(Debug)]
pub struct View {
    engine: Arc<dyn Engine>,
    cache: RecordCache,
    state: RwLock<State>,
}

/// Changes by key; none deletes.
pub type Changes = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Debug, Default)]
struct State {
    active: Changes,
    active_bytes: usize,
    frozen: Option<Arc<Frozen>>,
    last_seq: u64,
    namespaces: HashMap<Arc<str>, Namespace>,
    state_hash: Option<StateHash>,
}

impl State {
    fn applied(&self) -> Applied {
        let namespaces = self.namespaces.iter();
        Applied {
            seq: self.last_seq,
            namespaces: namespaces
                .map(|(name, ns)| (name.to_string(), *ns))
                .collect(),
            state_hash: self.state_hash,
        }
    }
}

/// A state of the log on its way into the engine.
#[derive(Debug)]
pub struct Frozen {
    changes: Changes,
    applied: Applied,
}

impl Frozen {
    /// Sequence number of the newest commit in it.
    pub fn seq(&self) -> u64 {
        self.applied.seq
    }
}

/// One namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its newest revision.
    pub revision: u64,
    /// Records it has.
    pub records: u64,
}

/// How far an engine or a checkpoint is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Sequence number of the newest commit it has.
    pub seq: u64,
    /// The namespaces as of that commit.
    pub namespaces: BTreeMap<String, Namespace>,
    /// The hash of all records as of that commit; none: not known. Since format 3.
    #[serde(default)]
    pub state_hash: Option<StateHash>,
}

impl Applied {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("always encodable")
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Applied, String> {
        rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
    }
}

/// Changes given to the engine in one call; it must not keep readers waiting long.
const APPLY_CHUNK: usize = 64;

impl View {
    /// A view on an engine that is this far, with a cache of so many bytes.
    pub fn new(engine: Arc<dyn Engine>, applied: &Applied, cache_bytes: u64) -> View {
        let namespaces = applied.namespaces.iter();
        let state = State {
            last_seq: applied.seq,
            namespaces: namespaces
                .map(|(name, ns)| (name.as_str().into(), *ns))
                .collect(),
            state_hash: applied.state_hash,
            ..State::default()
        };
        View {
            engine,
            cache: RecordCache::new(cache_bytes),
            state: RwLock::new(state),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Holds the view at one revision for as long as the answer lives.
    pub fn read(&self) -> Snapshot<'_> {
        Snapshot {
            state: self.state.read(),
            engine: &*self.engine,
            cache: &self.cache,
        }
    }

    /// How far it is.
    pub fn applied(&self) -> Applied {
        self.state.read().applied()
    }

    /// Sets what was not known: the hash of all records as of the newest commit.
    pub fn know(&self, state_hash: StateHash) {
        self.state.write().state_hash = Some(state_hash);
    }

    /// Makes commits up to `seq` readable; `state_hash` is that after the last of them, if it is known.
    pub fn publish(
        &self,
        changes: impl IntoIterator<Item = KeyChange>,
        namespaces: impl IntoIterator<Item = (Arc<str>, Namespace)>,
        seq: u64,
        state_hash: Option<StateHash>,
    ) {
        let mut state = self.state.write();
        for (key, value) in changes {
            let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
            state.active_bytes += key.len() + bytes(&value) + ENTRY_BYTES;
            let key_bytes = key.len();
            if let Some(replaced) = state.active.insert(key, value) {
                state.active_bytes -= key_bytes + bytes(&replaced) + ENTRY_BYTES;
            }
        }
        state.namespaces.extend(namespaces);
        state.last_seq = state.last_seq.max(seq);
        state.state_hash = state_hash;
    }

    /// Begins to move what was published to the engine. All of it must be durable in the log. `None` if there is
    /// nothing to move or the last portion is still on its way.
    pub fn freeze(&self) -> Option<Arc<Frozen>> {
        let mut state = self.state.write();
        if state.frozen.is_some() || state.active.is_empty() {
            return None;
        }
        let applied = state.applied();
        let changes = std::mem::take(&mut state.active);
        state.active_bytes = 0;
        let frozen = Arc::new(Frozen { changes, applied });
        state.frozen = Some(frozen.clone());
        Some(frozen)
    }

    /// Writes a frozen portion to the engine, and then how far the engine is. A crash in between leaves newer values
    /// under an older mark, which replay mends: entries hold full values.
    pub fn apply(&self, frozen: &Frozen) -> Result<(), EngineError> {
        let changes: Vec<KeyChange> = frozen
            .changes
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for chunk in changes.chunks(APPLY_CHUNK) {
            self.engine.apply(chunk)?;
        }
        for (key, value) in &changes {
            match value {
                Some(value) => self.cache.insert(key, value),
                None => self.cache.remove(key),
            }
        }
        self.engine.flush()?;
        let mark = frozen.applied.encode().into();
        self.engine
            .apply(&[(Bytes::from_static(keys::APPLIED), Some(mark))])?;
        self.state.write().frozen = None;
        Ok(())
    }
}

/// About what one entry of a map costs beside key and value.
const ENTRY_BYTES: usize = 96;

/// The view, held at one revision. Hold it shortly: commits wait for it.
#[derive(Debug)]
pub struct Snapshot<'a> {
    state: RwLockReadGuard<'a, State>,
    engine: &'a dyn Engine,
    cache: &'a RecordCache,
}

impl Snapshot<'_> {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if let Some(value) = self.state.active.get(key) {
            return Ok(value.clone());
        }
        if let Some(value) = self.state.frozen.as_ref().and_then(|f| f.changes.get(key)) {
            return Ok(value.clone());
        }
        if let Some(value) = self.cache.get(key) {
            return Ok(Some(value));
        }
        let value = self.engine.get(key)?;
        if let Some(value) = &value {
            self.cache.insert(key, value);
        }
        Ok(value)
    }

    /// The keys of a range, in order or in reverse.
    pub fn scan(&self, range: KeyRange, reverse: bool) -> impl Iterator<Item = Pair> {
        let frozen = self
            .state
            .frozen
            .as_ref()
            .map(|f| in_range(&f.changes, &range, reverse));
        let mut layers = [
            Layer::new(in_range(&self.state.active, &range, reverse)),
            Layer::new(frozen.unwrap_or_else(|| Box::new(std::iter::empty()))),
            Layer::new(Box::new(
                self.engine
                    .scan(range, reverse)
                    .map(|p| p.map(|(k, v)| (k, Some(v)))),
            )),
        ];
        std::iter::from_fn(move || merge_next(&mut layers, reverse))
    }

    /// A namespace; one never written is at revision 0.
    pub fn namespace(&self, name: &str) -> Namespace {
        self.state.namespaces.get(name).copied().unwrap_or_default()
    }

    /// All namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, Namespace)> {
        self.state
            .namespaces
            .iter()
            .map(|(name, ns)| (&**name, *ns))
    }

    /// Sequence number of the newest commit published.
    pub fn last_seq(&self) -> u64 {
        self.state.last_seq
    }

    /// Bytes waiting in `active`.
    pub fn active_bytes(&self) -> usize {
        self.state.active_bytes
    }

    /// Records waiting for the engine.
    pub fn overlay_records(&self) -> usize {
        self.state.active.len() + self.state.frozen.as_ref().map_or(0, |f| f.changes.len())
    }
}

type Change = Result<KeyChange, EngineError>;
type ChangeIter<'a> = Box<dyn Iterator<Item = Change> + 'a>;

fn in_range<'a>(changes: &'a Changes, range: &KeyRange, reverse: bool) -> ChangeIter<'a> {
    // BTreeMap::range panics on a range whose end lies before its start.
    let is_reversed = match (&range.0, &range.1) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low > high,
    };
    if is_reversed || changes.is_empty() {
        return Box::new(std::iter::empty());
    }
    let keys = changes.range::<Bytes, _>((range.start_bound(), range.end_bound()));
    if reverse {
        Box::new(keys.rev().map(own))
    } else {
        Box::new(keys.map(own))
    }
}

fn own((key, value): (&Bytes, &Option<Bytes>)) -> Change {
    Ok((key.clone(), value.clone()))
}

/// One source of a merge, and its next key.
struct Layer<'a> {
    rest: ChangeIter<'a>,
    head: Option<Change>,
}

impl<'a> Layer<'a> {
    fn new(mut rest: ChangeIter<'a>) -> Self {
        let head = rest.next();
        Layer { rest, head }
    }

    fn take(&mut self) -> Option<Change> {
        std::mem::replace(&mut self.head, self.rest.next())
    }

    fn key(&self) -> Option<&Bytes> {
        self.head.as_ref()?.as_ref().ok().map(|(key, _)| key)
    }
}

/// The next key that exists; where several layers have it, the first of them counts.
fn merge_next(layers: &mut [Layer<'_>; 3], reverse: bool) -> Option<Pair> {
    loop {
        if layers
            .iter()
            .any(|layer| matches!(layer.head, Some(Err(_))))
        {
            let failed = layers
                .iter_mut()
                .find(|layer| matches!(layer.head, Some(Err(_))))?;
            return failed.take()?.err().map(Err);
        }
        let heads = layers.iter().filter_map(Layer::key);
        let key = if reverse { heads.max() } else { heads.min() }?.clone();
        let mut found = None;
        for layer in layers.iter_mut().filter(|layer| layer.head.is_some()) {
            if layer.key() == Some(&key) {
                let change = layer.take();
                found = found.or(change);
            }
        }
        if let Some(Ok((key, Some(value)))) = found {
            return Some(Ok((key, value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::MemoryEngine;

    #[test]
    fn a_cached_record_changes_when_the_engine_does() {
        let view = View::new(
            Arc::new(MemoryEngine::default()),
            &Applied::default(),
            1 << 20,
        );
        let key = Bytes::from_static(b"ns\0c\0key");
        for (seq, value) in (1..).zip([Some("one"), Some("two"), None, Some("three")]) {
            let value = value.map(|text: &str| Bytes::copy_from_slice(text.as_bytes()));
            view.publish([(key.clone(), value.clone())], [], seq, None);
            assert_eq!(view.read().get(&key).unwrap(), value, "published");
            let frozen = view.freeze().unwrap();
            assert_eq!(view.read().get(&key).unwrap(), value, "on its way");
            view.apply(&frozen).unwrap();
            for _ in 0..2 {
                assert_eq!(view.read().get(&key).unwrap(), value, "in the engine");
            }
        }
    }
}
