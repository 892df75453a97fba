//! The engine: an ordered key-value view of the log, which can be rebuilt from it.

mod memory;
mod sled;

use std::{ops::Bound, path::Path, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

pub use self::{memory::MemoryEngine, sled::SledEngine};
use crate::config::{EngineKind, ViewConfig};

/// An engine failed; the view must be rebuilt.
#[derive(Debug, Error)]
#[error("engine {engine}: {detail}")]
pub struct EngineError {
    /// Its name.
    pub engine: &'static str,
    /// What it said.
    pub detail: String,
}

/// A key and what it becomes; none deletes it.
pub type KeyChange = (Bytes, Option<Bytes>);

/// A key with its value, or why it could not be read.
pub type Pair = Result<(Bytes, Bytes), EngineError>;

/// A range of keys.
pub type KeyRange = (Bound<Bytes>, Bound<Bytes>);

/// An ordered key-value store with bytewise order.
///
/// What it promises: [`apply`](Engine::apply) is atomic under the death of the process, in the order of calls: after a
/// crash the state is that of some prefix of the calls. What it need not promise: durability under a power cut (the log
/// has that), snapshots (the store hides what is being applied), giving space back.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Its name in settings and status.
    fn name(&self) -> &'static str;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// The keys of a range in order, or in reverse. May or may not show what is applied meanwhile; keys that are not
    /// changed meanwhile are all there.
    fn scan<'a>(&'a self, range: KeyRange, reverse: bool) -> Box<dyn Iterator<Item = Pair> + 'a>;

    /// Applies changes, whose keys ascend, as one.
    fn apply(&self, changes: &[KeyChange]) -> Result<(), EngineError>;

    /// Hands everything to the system.
    fn flush(&self) -> Result<(), EngineError>;

    /// Bytes of its files.
    fn size_bytes(&self) -> u64;
}

/// Waits until an engine whose last handle was dropped has let go of its files in `dir`; fails if it does not.
pub fn wait_until_free(dir: &Path, config: &ViewConfig) -> Result<(), EngineError> {
    match config.engine {
        EngineKind::Sled => SledEngine::wait_until_free(dir),
        EngineKind::Memory => Ok(()),
    }
}

/// Opens the engine whose files are in `dir`, making them if they are missing.
pub fn open(dir: &Path, config: &ViewConfig) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(match config.engine {
        EngineKind::Sled => Arc::new(SledEngine::open(dir, config.cache_bytes)?),
        EngineKind::Memory => Arc::new(MemoryEngine::default()),
    })
}
