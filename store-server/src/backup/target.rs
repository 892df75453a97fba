//! Where backups are kept: a directory, or a prefix of a bucket.

use std::{
    error::Error,
    fs, path,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    client::{HttpError, HttpErrorKind},
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    path::Path,
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tokio::{task, time::sleep};
use url::Url;

use super::{
    BackupError, File, Manifest, crypt,
    crypt::Key,
    manifest::{Encryption, FORMAT},
    portion::{Portion, check, decompress, unpack},
};
use crate::{archive::names::manifest_path, page_cache};

/// A directory, or a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    /// The directory, if it is one.
    dir: Option<path::PathBuf>,
    /// What data files are encrypted with.
    key: Option<Arc<Key>>,
}

/// How often a request is repeated that failed in a way that may pass ...
const RETRIES: usize = 5;

/// ... and for how long at most. An operator is waiting.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Tells whose backups these are.
pub const STORE_FILE: &str = "store.json";

/// Locked by whoever pulls a backup to a directory.
const LOCK_FILE: &str = "partial.lock";

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
            dir: None,
            key: None,
        }
    }

    /// The same with a key: backups are encrypted with it, and those that are can be read.
    pub fn with_key(mut self, key: Option<Key>) -> Target {
        self.key = key.map(Arc::new);
        self
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
        let target = Target::new(Arc::new(store), prefix, &dir.display().to_string());
        Ok(Target {
            dir: Some(dir),
            ..target
        })
    }

    /// How it is called in messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The directory, if it is one.
    pub(super) fn dir(&self) -> Option<&path::Path> {
        self.dir.as_deref()
    }

    /// How a file of it is called in messages.
    pub(super) fn name_of(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Keeps others from pulling a backup to the same directory, for as long as what it gives lives. `None`: it is no directory.
    pub(super) async fn lock(&self) -> Result<Option<fs::File>, BackupError> {
        let Some(dir) = self.dir.clone() else {
            return Ok(None);
        };
        let locked = task::spawn_blocking(move || {
            let path = dir.join(LOCK_FILE);
            let io_error = |source| BackupError::Io {
                path: path.clone(),
                source,
            };
            fs::create_dir_all(&dir).map_err(io_error)?;
            let mut options = fs::File::options();
            let file = options.create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(io_error)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(Some(file)),
                Err(Errno::WOULDBLOCK) => Err(BackupError::Pulling { dir }),
                Err(error) => Err(io_error(error.into())),
            }
        });
        locked
            .await
            .map_err(|e| BackupError::Store(e.to_string()))?
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
        self.is_of(store_id).await.map(drop)
    }

    /// Whether it is that of a store already; refuses it if it is another's.
    pub async fn is_of(&self, store_id: &str) -> Result<bool, BackupError> {
        let Some(found) = self.owner().await? else {
            return Ok(false);
        };
        if found.store_id != store_id {
            return Err(BackupError::ForeignStore {
                target: self.url.clone(),
                found: found.store_id,
                store: store_id.to_owned(),
            });
        }
        Ok(true)
    }

    /// Whether it is that of some store.
    pub(super) async fn has_owner(&self) -> Result<bool, BackupError> {
        Ok(self.owner().await?.is_some())
    }

    async fn owner(&self) -> Result<Option<Owner>, BackupError> {
        let text = match self.get(STORE_FILE).await {
            Err(BackupError::Missing { .. }) => return Ok(None),
            read => read?,
        };
        let found: Owner =
            serde_json::from_slice(&text).map_err(|e| self.unreadable(STORE_FILE, e))?;
        if found.format > FORMAT {
            return Err(BackupError::TooNew {
                file: self.name_of(STORE_FILE),
                found: found.format,
                known: FORMAT,
            });
        }
        Ok(Some(found))
    }

    /// Writes a file that is not there yet, durably.
    ///
    /// A connection that breaks leaves open whether a bucket has taken it. So it is tried again, and what is there then is
    /// well if it is the same: only this program would have written it.
    pub(super) async fn put_new(&self, path: &str, bytes: Bytes) -> Result<(), BackupError> {
        let (begun, at) = (Instant::now(), self.at(path));
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(RETRIES)
            .with_jitter()
            .build();
        loop {
            let options = PutOptions::from(PutMode::Create);
            let content = bytes.clone().into();
            let error = match self.store.put_opts(&at, content, options).await {
                Ok(_) => break,
                Err(error) => error,
            };
            // Some answer with an error and have stored it; the request was repeated below, and this is the first heard of it.
            if matches!(error, object_store::Error::AlreadyExists { .. })
                && self.dir.is_none()
                && self.get(path).await? == bytes
            {
                break;
            }
            let pause = pauses.next().filter(|_| is_cut_off(&error));
            let Some(pause) = pause.filter(|pause| begun.elapsed() + *pause < RETRY_FOR) else {
                return Err(self.not_written(path, error));
            };
            tracing::info!(file = self.name_of(path), %error, "cut off in a write: it is repeated");
            sleep(pause).await;
        }
        self.forget(path).await;
        Ok(())
    }

    /// Writes a file, durably, in place of what is there.
    pub(super) async fn replace(&self, path: &str, bytes: Bytes) -> Result<(), BackupError> {
        let put = self.store.put(&self.at(path), bytes.into()).await;
        put.map(drop).map_err(|error| self.not_written(path, error))
    }

    /// Reads a file.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, BackupError> {
        let read = async { self.store.get(&self.at(path)).await?.bytes().await };
        let bytes = read.await.map_err(|error| self.failed(path, error))?;
        self.forget(path).await;
        Ok(bytes)
    }

    /// Takes a file out of the page cache: it is not read again soon, and what the store needs should stay there.
    async fn forget(&self, path: &str) {
        if let Some(dir) = &self.dir {
            let path = dir.join(path);
            // It has ended, or it is only advice that was not given.
            let _ = task::spawn_blocking(move || page_cache::forget(&path)).await;
        }
    }

    /// How its new backups are encrypted.
    pub(super) fn encryption(&self) -> Option<Encryption> {
        self.key.as_ref().map(|key| Encryption {
            cipher: crypt::CIPHER.into(),
            key_id: key.id().into(),
        })
    }

    /// Encrypts a portion, whose path is given, if there is a key.
    pub(super) fn seal(&self, portion: Portion) -> Result<Portion, BackupError> {
        let Some(key) = &self.key else {
            return Ok(portion);
        };
        let mut file = portion.file;
        let sealed = key.seal(&file.path, &portion.bytes);
        let bytes = sealed.map_err(|_| {
            BackupError::Store(format!("{} cannot be encrypted", self.name_of(&file.path)))
        })?;
        file.bytes = bytes.len() as u64;
        file.blake3 = blake3::hash(&bytes).to_string();
        file.key_id = Some(key.id().into());
        Ok(Portion {
            file,
            bytes,
            ..portion
        })
    }

    /// The content of a data file, which is checked, decrypted and decompressed.
    pub(super) fn unpack(&self, file: &File, stored: &[u8]) -> Result<Bytes, BackupError> {
        let damaged = |detail: String| self.unreadable(&file.path, detail);
        let Some(key_id) = &file.key_id else {
            return unpack(file, stored).map_err(damaged);
        };
        check(file, stored).map_err(damaged)?;
        let key = self.key_named(key_id, || self.name_of(&file.path))?;
        let packed = key.open(&file.path, stored).map_err(|_| {
            damaged(
                "it was encrypted as another file, or changed together with its manifest".into(),
            )
        })?;
        decompress(file, &packed).map_err(damaged)
    }

    /// Whether there is the key that a backup takes.
    pub(super) fn check_key(&self, backup: &Manifest) -> Result<(), BackupError> {
        match &backup.encryption {
            Some(encryption) => self.check_encryption(encryption, &backup.id),
            None => Ok(()),
        }
    }

    /// Whether there is the key, and the cipher is known, that the backup of this name takes.
    pub(super) fn check_encryption(
        &self,
        encryption: &Encryption,
        id: &str,
    ) -> Result<(), BackupError> {
        let Encryption { cipher, key_id } = encryption;
        if cipher != crypt::CIPHER {
            let what = manifest_path(id);
            return Err(self.unreadable(&what, format!("the cipher {cipher:?} is not known")));
        }
        self.key_named(key_id, || format!("backup {id}")).map(drop)
    }

    fn key_named(&self, key_id: &str, what: impl Fn() -> String) -> Result<&Key, BackupError> {
        let given = self.key.as_deref();
        given
            .filter(|key| key.id() == key_id)
            .ok_or_else(|| BackupError::Key {
                what: what(),
                needed: key_id.to_owned(),
                given: given.map(|key| key.id().to_owned()),
            })
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

    /// The error of a write. What was not found is the bucket then: the file need not be there.
    fn not_written(&self, path: &str, error: object_store::Error) -> BackupError {
        match error {
            source @ object_store::Error::NotFound { .. } => BackupError::Target {
                file: self.name_of(path),
                source,
            },
            error => self.failed(path, error),
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

/// Whether a request ended in the middle. Others that may pass were repeated already.
fn is_cut_off(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return matches!(
                error.kind(),
                HttpErrorKind::Timeout | HttpErrorKind::Interrupted | HttpErrorKind::Unknown
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{Ipv4Addr, TcpListener},
        sync::mpsc,
        thread,
    };

    use super::*;

    /// A bucket with one file at most, which is cut off behind the first write.
    struct Bucket {
        target: Target,
        asked: mpsc::Receiver<String>,
    }

    impl Bucket {
        fn new(mut content: Option<Vec<u8>>) -> Bucket {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let (told, asked) = mpsc::channel();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = BufReader::new(stream.unwrap());
                    let (mut head, mut bytes) = (Vec::new(), 0);
                    loop {
                        let mut line = String::new();
                        stream.read_line(&mut line).unwrap();
                        let line = line.trim_end().to_lowercase();
                        if let Some(length) = line.strip_prefix("content-length:") {
                            bytes = length.trim().parse().unwrap();
                        }
                        if line.is_empty() {
                            break;
                        }
                        head.push(line);
                    }
                    let mut body = vec![0; bytes];
                    stream.read_exact(&mut body).unwrap();
                    let is_put = head[0].starts_with("put");
                    told.send(head[0][..3].to_owned()).unwrap();
                    let answer = match (&content, is_put) {
                        (Some(_), true) => b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n".to_vec(),
                        (Some(content), false) => format!(
                            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: {}\r\n",
                            content.len()
                        )
                        .into_bytes(),
                        (None, _) => {
                            content = Some(body);
                            continue;
                        }
                    };
                    let out = stream.get_mut();
                    out.write_all(&answer).unwrap();
                    out.write_all(b"Connection: close\r\n\r\n").unwrap();
                    if !is_put {
                        out.write_all(content.as_deref().unwrap()).unwrap();
                    }
                }
            });
            let _ = rustls::crypto::ring::default_provider().install_default();
            let store = AmazonS3Builder::new()
                .with_bucket_name("bucket")
                .with_endpoint(endpoint)
                .with_allow_http(true)
                .with_access_key_id("id")
                .with_secret_access_key("secret")
                .build();
            let target = Target::new(Arc::new(store.unwrap()), "world1".into(), "s3://bucket");
            Bucket { target, asked }
        }
    }

    #[test]
    fn the_buckets_of_google_and_azure_are_known_by_their_urls() {
        let google = "gs://bucket/world1";
        let azure = "abfss://container@account.dfs.core.windows.net/world1";
        for (url, names) in [
            (google, "GoogleCloudStorage(bucket)"),
            (
                azure,
                "MicrosoftAzure { account: account, container: container }",
            ),
        ] {
            let target = Target::open(url).unwrap();
            assert_eq!(target.store.to_string(), names);
            assert_eq!(target.at("data/a").as_ref(), "world1/data/a");
            assert_eq!(target.name_of("store.json"), format!("{url}/store.json"));
            assert!(target.dir().is_none());
        }
        // The account is not in this form: the environment has it, or that is said.
        match Target::open("az://container/world1") {
            Ok(target) => assert!(target.store.to_string().contains("container: container")),
            Err(error) => {
                let told = error.to_string();
                let is_told = told.contains("az://container/world1") && told.contains("ccount");
                assert!(is_told, "{told}");
            }
        }
    }

    #[tokio::test]
    async fn a_write_that_was_taken_before_the_connection_broke_is_one() {
        let bucket = Bucket::new(None);
        let put = bucket.target.put_new("data/a", Bytes::from_static(b"text"));
        put.await.unwrap();
        let asked: Vec<String> = bucket.asked.try_iter().collect();
        assert_eq!(asked, ["put", "put", "get"]);
    }

    #[tokio::test]
    async fn what_another_has_written_is_not_taken_for_it() {
        let bucket = Bucket::new(Some(b"other".to_vec()));
        let put = bucket.target.put_new("data/a", Bytes::from_static(b"text"));
        let error = put.await.unwrap_err();
        assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    }
}
