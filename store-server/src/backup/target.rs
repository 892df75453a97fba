//! Where backups are kept: a directory, or a prefix of a bucket.

use std::{path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, RetryConfig,
    aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem, path::Path,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{BackupError, manifest::FORMAT};

/// A directory, or a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
}

/// How often a request is repeated that failed in a way that may pass ...
const RETRIES: usize = 5;

/// ... and for how long at most. An operator is waiting.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Tells whose backups these are.
const STORE_FILE: &str = "store.json";

/// The content of [`STORE_FILE`].
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    format: u32,
    store_id: String,
}

const REMEDY_BACKUP: &str = "Use another backup: `stillpoint backup list` shows them";

impl Target {
    /// The target at a URL: `/path` or `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    /// Credentials and endpoints come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`). Nothing is contacted yet.
    pub fn open(url: &str) -> Result<Target, BackupError> {
        let bad = |detail: String| BackupError::Url {
            url: url.to_owned(),
            detail,
        };
        let failed = |error: object_store::Error| bad(error.to_string());
        if !url.contains("://") {
            return Target::directory(path::Path::new(url));
        }
        let parsed = Url::parse(url).map_err(|e| bad(e.to_string()))?;
        let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|e| bad(e.to_string()))?;
        // Another part of the program may have chosen already; that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        };
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                let path = parsed
                    .to_file_path()
                    .map_err(|()| bad("it names no path".into()))?;
                return Target::directory(&path);
            }
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                Arc::new(builder.build().map_err(failed)?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env();
                let builder = builder.with_url(url).with_retry(retry);
                Arc::new(builder.build().map_err(failed)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env();
                let builder = builder.with_url(url).with_retry(retry);
                Arc::new(builder.build().map_err(failed)?)
            }
            other => return Err(bad(format!("{other:?} is not supported"))),
        };
        Ok(Target::new(store, prefix, url))
    }

    /// The part of an object store below `prefix`, called `url` in messages.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, url: &str) -> Target {
        Target {
            store,
            prefix,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    fn directory(dir: &path::Path) -> Result<Target, BackupError> {
        let bad = |detail: String| BackupError::Url {
            url: dir.display().to_string(),
            detail,
        };
        let dir = path::absolute(dir).map_err(|e| bad(e.to_string()))?;
        let prefix = Path::from_absolute_path(&dir).map_err(|e| bad(e.to_string()))?;
        // A manifest must not outlive a file that it names.
        let store = LocalFileSystem::new().with_fsync(true);
        Ok(Target::new(
            Arc::new(store),
            prefix,
            &dir.display().to_string(),
        ))
    }

    /// How it is called in messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How a file of it is called in messages.
    pub(super) fn name_of(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Makes the target that of a store, if it is nobody's yet; refuses it if it is another's.
    pub(super) async fn claim(&self, store_id: &str) -> Result<(), BackupError> {
        let owner = Owner {
            format: FORMAT,
            store_id: store_id.to_owned(),
        };
        let text = serde_json::to_vec_pretty(&owner).map_err(|e| self.unreadable(STORE_FILE, e))?;
        match self.put_new(STORE_FILE, text.into()).await {
            Err(BackupError::Exists { .. }) => {}
            other => return other,
        }
        let found: Owner = serde_json::from_slice(&self.get(STORE_FILE).await?)
            .map_err(|e| self.unreadable(STORE_FILE, e))?;
        if found.format > FORMAT {
            return Err(BackupError::TooNew {
                file: self.name_of(STORE_FILE),
                found: found.format,
                known: FORMAT,
            });
        }
        if found.store_id != store_id {
            return Err(BackupError::ForeignStore {
                target: self.url.clone(),
                found: found.store_id,
                store: store_id.to_owned(),
            });
        }
        Ok(())
    }

    /// Writes a file that is not there yet, durably.
    pub(super) async fn put_new(&self, path: &str, bytes: Bytes) -> Result<(), BackupError> {
        let options = PutOptions::from(PutMode::Create);
        let put = self
            .store
            .put_opts(&self.at(path), bytes.into(), options)
            .await;
        put.map(drop).map_err(|error| self.failed(path, error))
    }

    /// Reads a file.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, BackupError> {
        let read = async { self.store.get(&self.at(path)).await?.bytes().await };
        read.await.map_err(|error| self.failed(path, error))
    }

    /// Removes a file; it may be gone already.
    pub(super) async fn remove(&self, path: &str) -> Result<(), BackupError> {
        match self.store.delete(&self.at(path)).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
                Err(self.failed(path, error))
            }
            _ => Ok(()),
        }
    }

    /// The files below a folder, by path, each with what is known of it. A folder that is not there has none.
    pub(super) async fn files(
        &self,
        folder: &str,
    ) -> Result<Vec<(String, ObjectMeta)>, BackupError> {
        let mut found = Vec::new();
        let folder_path = self.at(folder);
        let mut listed = self.store.list(Some(&folder_path));
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(|error| self.failed(folder, error))?;
            let below = meta.location.as_ref().strip_prefix(self.prefix.as_ref());
            if let Some(path) = below {
                found.push((path.trim_start_matches('/').to_owned(), meta));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// The error of a file whose content makes no sense.
    pub(super) fn unreadable(&self, path: &str, detail: impl ToString) -> BackupError {
        BackupError::Damaged {
            file: self.name_of(path),
            detail: detail.to_string(),
            remedy: REMEDY_BACKUP,
        }
    }

    fn failed(&self, path: &str, error: object_store::Error) -> BackupError {
        let file = self.name_of(path);
        match error {
            object_store::Error::NotFound { .. } => BackupError::Missing {
                file,
                remedy: REMEDY_BACKUP,
            },
            object_store::Error::AlreadyExists { .. } => BackupError::Exists { file },
            source => BackupError::Target { file, source },
        }
    }

    fn at(&self, path: &str) -> Path {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), |at, part| at.join(part))
    }
}
