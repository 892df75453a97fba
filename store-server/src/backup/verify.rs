//! Whether a backup can be restored.

use std::path::PathBuf;

use super::{BackupError, Progress, Target};

/// How to find out.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Read all files that it needs and compare their checksums.
    Checksums,
    /// Restore it into a directory below this one, compare the state hash, and remove it again.
    TrialRestore {
        /// Where there is room for a copy of the store.
        scratch: PathBuf,
    },
}

/// What was found sound.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The backups that it takes, the full one first.
    pub backups: Vec<String>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The state hash that the trial restore came to; none: there was none, or the store did not know it.
    pub state_hash: Option<String>,
}

/// Verifies a backup, by its id or label or `latest`, with all those it continues. Fails if anything is wrong.
pub async fn verify(
    target: &Target,
    what: &str,
    how: &Verify,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<VerifyReport, BackupError> {
    let _ = progress;
    todo!("{target:?} {what} {how:?}")
}
