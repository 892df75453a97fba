//! Records lately read from the engine or written to it, in memory in front of it: an engine takes several times as long
//! to find one.

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};

/// A cache of the engine's values, by view key, bounded in bytes. What it has must be what the engine has; that is the
/// [`View`](super::view::View)'s business.
#[derive(Debug)]
pub struct RecordCache(Cache<Bytes, Bytes, Bytewise>);

impl RecordCache {
    /// An empty cache of at most `bytes`; 0: it keeps nothing.
    pub fn new(bytes: u64) -> RecordCache {
        let items = bytes / ITEM_BYTES_ESTIMATE;
        RecordCache(Cache::with_weighter(items as usize, bytes, Bytewise))
    }

    /// The value of a key, if it is here.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key)
    }

    /// Keeps a value, for a while.
    pub fn insert(&self, key: &[u8], value: &Bytes) {
        self.0.insert(Bytes::copy_from_slice(key), value.clone());
    }

    /// Forgets a key.
    pub fn remove(&self, key: &[u8]) {
        self.0.remove(key);
    }
}

/// About the size of an item, for the first size of the tables.
const ITEM_BYTES_ESTIMATE: u64 = 1024;

/// About what an item costs beside key and value.
const ITEM_BYTES: usize = 128;

#[derive(Clone, Debug)]
struct Bytewise;

impl Weighter<Bytes, Bytes> for Bytewise {
    fn weight(&self, key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len() + ITEM_BYTES) as u64
    }
}
