//! Taking a backup of a running store.

use super::{BackupError, Manifest, Progress, Target};
use crate::store::Store;

/// What kind of backup.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Only what was committed since the newest backup.
    pub incremental: bool,
    /// What the operator calls it; empty for nothing.
    pub label: String,
    /// Most bytes of records and log to read per second; 0: no limit.
    pub bytes_per_second: u64,
}

/// Takes a backup. Commits go on meanwhile and do not wait for it. If it fails or is dropped, files without a manifest may
/// stay in the target, which [`expire`](super::expire()) removes later.
pub async fn create(
    store: &Store,
    target: &Target,
    options: &CreateOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Manifest, BackupError> {
    let _ = progress;
    todo!("{store:?} {target:?} {options:?}")
}
