//! What a backup is: the file in the target that makes it one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::Namespace;

/// The format of what this program writes. It reads all before it, too.
pub const FORMAT: u32 = 1;

/// The format of backups whose files are encrypted: a program that cannot decrypt them must not take them for damaged.
pub const FORMAT_ENCRYPTED: u32 = 2;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the backup.
    pub format: u32,
    /// Its name: when it was begun, in UTC, and the newest commit at that time.
    pub id: String,
    /// Whether it stands alone.
    pub kind: Kind,
    /// The backup that an incremental one continues; empty for a full one.
    pub parent: String,
    /// The store it is of.
    pub store_id: String,
    /// The store's incarnation.
    pub incarnation: u64,
    /// Version of the server that took it.
    pub server_version: String,
    /// What the operator calls it; empty for nothing.
    pub label: String,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it was complete, in milliseconds since 1970.
    pub ended_ms: u64,
    /// When its end was read from the log, in milliseconds since 1970: it has all commits made before.
    pub as_of_ms: u64,
    /// The records are at least as new as this commit; its log begins behind it.
    pub base_seq: u64,
    /// The newest commit it has.
    pub last_seq: u64,
    /// Time of the newest commit, in milliseconds since 1970. Where no commit was made while it was taken: `as_of_ms`.
    pub last_time_ms: u64,
    /// The namespaces as of the newest commit.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Records of all namespaces as of the newest commit.
    pub records: u64,
    /// The state hash as of the newest commit; none: the store did not know it.
    pub state_hash: Option<String>,
    /// How far the records of a full backup are, as the view keeps it, in base64; empty for an incremental one.
    pub applied: String,
    /// The labels that were set by its commits.
    pub marks: Vec<Mark>,
    /// How its files are encrypted; none: they are not. Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Its files.
    pub files: Vec<File>,
}

/// How files are encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The cipher.
    pub cipher: String,
    /// The name of the key.
    pub key_id: String,
}

/// Whether a backup stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It has all records.
    Full,
    /// It has what was committed since its parent.
    Incremental,
}

/// A label that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The label.
    pub label: String,
    /// The namespace it was set in.
    pub namespace: String,
    /// The commit that set it ...
    pub seq: u64,
    /// ... its revision ...
    pub revision: u64,
    /// ... and its time, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it is in the target.
    pub path: String,
    /// What it has.
    pub kind: FileKind,
    /// Its size.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Records or log entries in it.
    pub entries: u64,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
    /// The first commit in it; 0 for records.
    pub first_seq: u64,
    /// The last commit in it; 0 for records.
    pub last_seq: u64,
    /// The name of the key that it is encrypted with; none: it is not. The manifest has it once, for all its files.
    #[serde(skip)]
    pub key_id: Option<String>,
}

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Records, in key order.
    Records,
    /// Log entries, in order.
    Log,
}

impl Manifest {
    /// Reads a manifest's text, whose format is known.
    pub fn from_json(text: &str) -> serde_json::Result<Manifest> {
        let mut manifest: Manifest = serde_json::from_str(text)?;
        let key_id = manifest.encryption.as_ref().map(|of| &of.key_id);
        for file in &mut manifest.files {
            file.key_id = key_id.cloned();
        }
        Ok(manifest)
    }

    /// Bytes of its files in the target.
    pub fn stored_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of records and log entries, before compression.
    pub fn raw_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.raw_bytes).sum()
    }
}
