//! A backup that is restored only to be looked at.

use std::path::Path;

use bytes::Bytes;
use stillpoint_migrations::source::ANY_NAMESPACE;
use tokio::task;

use super::{BackupError, Progress, RestoreOptions, RestoreReport, Scratch, Target, To, restore};
use crate::{
    engine::{EngineError, KeyRange},
    store::{
        AtRest,
        keys::{self, System},
        record::Record,
        schema::state::{self, SchemaState},
    },
};

/// The records of a store as of a moment in its backups. The directory that they are in is removed with this.
#[derive(Debug)]
pub struct Restored {
    // Closed before its directory goes.
    at_rest: AtRest,
    report: RestoreReport,
    _scratch: Scratch,
}

impl Restored {
    /// Restores the state into a directory of its own below `place`. What killed programs have left there goes.
    ///
    /// # Errors
    ///
    /// As for [`restore`].
    pub async fn new(
        target: &Target,
        backup: &str,
        to: To,
        place: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Restored, BackupError> {
        let place = place.to_owned();
        let scratch = waiting(move || Scratch::new(&place)).await??;
        let options = RestoreOptions {
            backup: backup.to_owned(),
            to,
            into: scratch.path().join("store"),
            dry_run: false,
            reserve_bytes: 0,
        };
        let report = restore(target, &options, progress).await?;
        let opened = waiting(move || AtRest::open(&options.into)).await?;
        Ok(Restored {
            at_rest: opened.map_err(|error| BackupError::Store(error.to_string()))?,
            report,
            _scratch: scratch,
        })
    }

    /// What was restored.
    pub fn report(&self) -> &RestoreReport {
        &self.report
    }

    /// The records of a collection, by their keys in it, in order.
    pub fn records(
        &self,
        namespace: &str,
        collection: &str,
    ) -> impl Iterator<Item = Result<(Bytes, Record), BackupError>> {
        let range: KeyRange = keys::scan_range(namespace, collection, b"", b"", b"");
        let failed = |error: EngineError| BackupError::Store(error.to_string());
        self.at_rest.records(range).map(move |found| {
            let (view_key, record) = found.map_err(failed)?;
            let key = keys::split_record(&view_key).map_or(&b""[..], |(_, _, key)| key);
            Ok((view_key.slice_ref(key), record))
        })
    }

    /// The version of a collection's schema: what was applied in the namespace, or else in all. `None`: nothing was.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub fn version(&self, namespace: &str, collection: &str) -> Result<Option<u32>, BackupError> {
        for namespace in [namespace, ANY_NAMESPACE] {
            let key = keys::system(namespace, System::Schema, collection.as_bytes());
            let record = self.at_rest.record(&key);
            let record = record.map_err(|error| BackupError::Store(error.to_string()))?;
            if let Some(record) = record {
                let state = state::decode::<SchemaState>("the state of a collection", &record);
                return Ok(Some(state.map_err(BackupError::Store)?.version));
            }
        }
        Ok(None)
    }
}

/// Does what waits for the disk.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackupError> {
    let done = task::spawn_blocking(work).await;
    done.map_err(|error| BackupError::Store(error.to_string()))
}
