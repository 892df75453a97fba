//! The records of a data directory that nobody serves: of a store that was restored only to be looked at.

use std::{path::Path, sync::Arc};

use bytes::Bytes;

use super::{build::BuildError, datadir::DataDir, record::Record};
use crate::{
    config::ViewConfig,
    engine::{self, Engine, EngineError, KeyRange},
};

/// The records of a store. As long as it lives, the directory is locked.
#[derive(Debug)]
pub(crate) struct AtRest {
    engine: Arc<dyn Engine>,
    _dir: DataDir,
}

/// Bytes of memory for what is read: each record is read once.
const CACHE_BYTES: u64 = 16 << 20;

impl AtRest {
    /// The store in this directory, which a restore has just made, so that its view is complete.
    pub fn open(root: &Path) -> Result<AtRest, BuildError> {
        let dir = DataDir::open_existing(root)?;
        let config = ViewConfig {
            cache_bytes: CACHE_BYTES,
            ..ViewConfig::default()
        };
        Ok(AtRest {
            engine: engine::open(&dir.view(), &config)?,
            _dir: dir,
        })
    }

    /// A record by its key in the view.
    pub fn record(&self, key: &[u8]) -> Result<Option<Record>, EngineError> {
        let stored = self.engine.get(key)?;
        stored.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// The records of a range by their keys in the view, in order.
    pub fn records(
        &self,
        range: KeyRange,
    ) -> impl Iterator<Item = Result<(Bytes, Record), EngineError>> {
        let pairs = self.engine.scan(range, false);
        pairs.map(|pair| pair.and_then(|(key, bytes)| Ok((key, self.decode(&bytes)?))))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Record, EngineError> {
        Record::decode(bytes).map_err(|detail| EngineError {
            engine: self.engine.name(),
            detail,
        })
    }
}
