//! Where backups are kept: a directory, or a prefix of a bucket.

use std::sync::Arc;

use object_store::ObjectStore;

use super::BackupError;

/// A directory, or a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    url: String,
}

impl Target {
    /// The target at a URL: `/path` or `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    /// Credentials and endpoints come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`). Nothing is contacted yet.
    pub fn open(url: &str) -> Result<Target, BackupError> {
        todo!("{url}")
    }

    /// How it is called in messages.
    pub fn url(&self) -> &str {
        &self.url
    }
}
