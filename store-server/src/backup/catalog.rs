//! The backups that a target has.

use super::{BackupError, Manifest, Target};

/// The backups that a target has.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that are sound as far as their manifests tell, oldest first: by incarnation and newest commit.
    pub backups: Vec<Manifest>,
    /// What is wrong with the other manifests. Their backups cannot be used.
    pub damaged: Vec<BackupError>,
}

/// All backups of a target.
pub async fn list(target: &Target) -> Result<Listing, BackupError> {
    todo!("{target:?}")
}

/// One backup, by its id or its label (the newest with it), or `latest`.
pub async fn describe(target: &Target, what: &str) -> Result<Manifest, BackupError> {
    todo!("{target:?} {what}")
}
