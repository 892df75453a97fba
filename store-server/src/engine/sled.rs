//! sled 0.34 as the engine. The only file that knows sled.
//!
//! sled flushes with `sync_file_range`, which a power cut does not respect; the log does that part. It has no snapshots;
//! the store never lets a reader see a key that is being applied. It holds one lock over a batch, so batches are kept
//! short for the readers' sake.
//!
//! A write that fails half way in sled, as one of a large value does on a full disk, leaves a buffer that is never written;
//! whoever flushes after that waits for it for ever, and closing a database flushes. So after a failed write nothing more is
//! asked of it: the log has everything.

use std::{
    fs::File,
    io, mem,
    ops::Bound,
    panic::AssertUnwindSafe,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{BlockingRetryable, ConstantBuilder};
use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::{Engine, EngineError, KeyChange, KeyRange, Pair};

/// An engine on sled.
#[derive(Debug)]
pub struct SledEngine {
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// A write has failed.
    failed: AtomicBool,
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
        Ok(SledEngine {
            db: Some(db),
            failed: AtomicBool::new(false),
        })
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("there until it is dropped")
    }

    fn check_sound(&self) -> Result<(), EngineError> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(EngineError {
                engine: "sled",
                detail: "a write before this one has failed".into(),
            }),
            false => Ok(()),
        }
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

impl Drop for SledEngine {
    fn drop(&mut self) {
        if self.failed.load(Ordering::Acquire) {
            tracing::error!(
                "the view is left as it is, since a write to it has failed; the next start mends it"
            );
            mem::forget(self.db.take());
        }
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
            .db()
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
        let pairs = self.db().range((start, end));
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
        self.check_sound()?;
        self.db().apply_batch(batch).map_err(|e| {
            self.failed.store(true, Ordering::Release);
            error(e)
        })
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.check_sound()?;
        self.db().flush().map(drop).map_err(error)
    }

    fn size_bytes(&self) -> u64 {
        self.db().size_on_disk().unwrap_or(0)
    }
}

fn error(e: sled::Error) -> EngineError {
    EngineError {
        engine: "sled",
        detail: e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc, thread};

    use super::*;

    #[test]
    fn a_database_whose_write_failed_is_let_go_of_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view");
        let engine = SledEngine::open(&path, 1 << 20).unwrap();
        let change = |bytes| {
            [(
                Bytes::from_static(b"key"),
                Some(Bytes::from(vec![7; bytes])),
            )]
        };
        engine.apply(&change(10)).unwrap();
        // Large values are files of their own.
        fs::remove_dir_all(path.join("blobs")).unwrap();
        engine.apply(&change(1 << 20)).unwrap_err();
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let refused = (engine.apply(&change(1)), engine.flush());
            drop(engine);
            done.send(refused).unwrap();
        });
        let (applied, flushed) = is_done.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(applied.is_err() && flushed.is_err());
    }
}
