//! From backups to a data directory.

use std::{collections::BTreeMap, path::PathBuf};

use super::{BackupError, NamespaceState, Progress, Target};

/// What to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The backup that the state is looked for in, by its id or label, with those of the same history before it; `latest`.
    pub backup: String,
    /// Which state.
    pub to: To,
    /// The data directory to make. It must not exist or be empty.
    pub into: PathBuf,
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// Which state to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The newest that the backup has.
    Latest,
    /// After the commit with this sequence number.
    Seq(u64),
    /// After the commit that is this revision of a namespace.
    Revision {
        /// The namespace.
        namespace: String,
        /// The revision.
        revision: u64,
    },
    /// Before the first commit after this time, in milliseconds since 1970, by the server's clock.
    Time(u64),
    /// After the commit that set this label.
    Label(String),
}

/// What was restored, or in a dry run would be.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The backups that it takes, the full one first.
    pub backups: Vec<String>,
    /// Sequence number of the last commit.
    pub seq: u64,
    /// Its time, in milliseconds since 1970; 0 in a dry run.
    pub time_ms: u64,
    /// The namespaces; empty in a dry run.
    pub namespaces: BTreeMap<String, NamespaceState>,
    /// The state hash, compared with the log's; none in a dry run, or if the store did not know it.
    pub state_hash: Option<String>,
    /// The store.
    pub store_id: String,
    /// Its new incarnation.
    pub incarnation: u64,
    /// Bytes of the files that it takes.
    pub stored_bytes: u64,
    /// The data directory.
    pub into: PathBuf,
}

/// Restores a state into a new data directory, which is there only if all went well.
pub async fn restore(
    target: &Target,
    options: &RestoreOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RestoreReport, BackupError> {
    let _ = progress;
    todo!("{target:?} {options:?}")
}
