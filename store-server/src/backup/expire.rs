//! Which backups may go.

use super::{BackupError, Target};

/// How many backups to keep of each kind of period, the newest of each. The newest backup of all is always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Hours.
    pub hourly: u32,
    /// Days, in UTC.
    pub daily: u32,
    /// Weeks, from Monday on.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

/// What was removed, or in a dry run would be.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    /// The backups kept because of their period, or because those need them.
    pub kept: Vec<String>,
    /// The backups removed.
    pub removed: Vec<String>,
    /// Files of backups that were never completed.
    pub leftovers: Vec<String>,
    /// Bytes of all files removed.
    pub bytes: u64,
}

/// Removes the backups that are not to be kept.
pub async fn expire(target: &Target, keep: &Keep, dry_run: bool) -> Result<Expired, BackupError> {
    todo!("{target:?} {keep:?} {dry_run}")
}
