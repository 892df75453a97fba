//! sled 0.34 as the engine. The only file that knows sled.
//!
//! sled flushes with `sync_file_range`, which a power cut does not respect; the log does that part. It has no snapshots;
//! the store never lets a reader see a key that is being applied. It holds one lock over a batch, so batches are kept
//! short for the readers' sake.

use std::{fs::File, io, ops::Bound, panic::AssertUnwindSafe, path::Path, time::Duration};

use backon::{BlockingRetryable, ConstantBuilder};
use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::{Engine, EngineError, KeyChange, KeyRange, Pair};

/// An engine on sled.
#[derive(Debug)]
pub struct SledEngine {
    db: sled::Db,
}

impl SledEngine {
    /// Opens or makes the database in `dir`; `cache_bytes` bounds its cache.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SledEngine, EngineError> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            // Opening anything but an own database must fail, and what it writes between our flushes may wait.
            .flush_every_ms(Some(1000));
        // A database that was just closed here stays locked until sled's own threads have let go of it. No other process
        // can have it: the store's directory is locked.
        let db = (|| open(&config))
            .retry(until_let_go())
            .when(|e| e.detail.contains("could not acquire lock"))
            .call()?;
        Ok(SledEngine { db })
    }

    /// Waits until sled's own threads have let go of a database whose last handle was dropped: they may write to its
    /// directory, by its name.
    pub fn wait_until_free(dir: &Path) -> Result<(), EngineError> {
        let lock = || match File::open(dir.join("db")) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(Into::into),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        lock.retry(until_let_go())
            .when(|e: &io::Error| e.kind() == io::ErrorKind::WouldBlock)
            .call()
            .map_err(|e| error(e.into()))
    }
}

fn until_let_go() -> ConstantBuilder {
    ConstantBuilder::new()
        .with_delay(Duration::from_millis(5))
        .with_max_times(2000)
}

fn open(config: &sled::Config) -> Result<sled::Db, EngineError> {
    // On damaged files sled may panic instead of answering.
    std::panic::catch_unwind(AssertUnwindSafe(|| config.open()))
        .unwrap_or_else(|_| Err(sled::Error::Unsupported("its files are damaged".into())))
        .map_err(error)
}

impl Engine for SledEngine {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self
            .db
            .get(key)
            .map_err(error)?
            .map(|v| Bytes::copy_from_slice(&v)))
    }

    fn scan<'a>(
        &'a self,
        (start, end): KeyRange,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Pair> + 'a> {
        if let (Bound::Included(s) | Bound::Excluded(s), Bound::Included(e) | Bound::Excluded(e)) =
            (&start, &end)
            && s > e
        {
            return Box::new(std::iter::empty());
        }
        let pairs = self.db.range((start, end));
        let own = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair.map_err(error)?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        };
        if reverse {
            Box::new(pairs.rev().map(own))
        } else {
            Box::new(pairs.map(own))
        }
    }

    fn apply(&self, changes: &[KeyChange]) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&**key, &**value),
                None => batch.remove(&**key),
            }
        }
        self.db.apply_batch(batch).map_err(error)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.db.flush().map(drop).map_err(error)
    }

    fn size_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

fn error(e: sled::Error) -> EngineError {
    EngineError {
        engine: "sled",
        detail: e.to_string(),
    }
}
