//! A backup as people and programs see it.

use std::collections::BTreeMap;

use rmpv::Value;
use stillpoint_proto::v1::{BackupKind, BackupNamespace, BackupSummary};
use stillpoint_store_server::{
    backup::{Kind, Manifest},
    store::Namespace,
};

use crate::{management::words::moment, record::object, settings::kind::size_text};

/// What is told of a backup, whether the server or a manifest tells it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its name.
    pub id: String,
    /// `full` or `incremental`.
    pub kind: &'static str,
    /// The backup that it continues; empty: none.
    pub parent: String,
    /// What its operator calls it.
    pub label: String,
    /// When it was begun and complete, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it was complete.
    pub ended_ms: u64,
    /// Its newest commit.
    pub last_seq: u64,
    /// When that was made.
    pub last_time_ms: u64,
    /// Records as of then.
    pub records: u64,
    /// The state hash as of then; empty: not known.
    pub state_hash: String,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// The same before compression.
    pub raw_bytes: u64,
    /// The namespaces as of its newest commit.
    pub namespaces: BTreeMap<String, Namespace>,
}

impl From<&Manifest> for Summary {
    fn from(manifest: &Manifest) -> Self {
        Summary {
            id: manifest.id.clone(),
            kind: match manifest.kind {
                Kind::Full => "full",
                Kind::Incremental => "incremental",
            },
            parent: manifest.parent.clone(),
            label: manifest.label.clone(),
            begun_ms: manifest.begun_ms,
            ended_ms: manifest.ended_ms,
            last_seq: manifest.last_seq,
            last_time_ms: manifest.last_time_ms,
            records: manifest.records,
            state_hash: manifest.state_hash.clone().unwrap_or_default(),
            files: manifest.files.len() as u64,
            stored_bytes: manifest.stored_bytes(),
            raw_bytes: manifest.raw_bytes(),
            namespaces: manifest.namespaces.clone(),
        }
    }
}

impl From<BackupSummary> for Summary {
    fn from(told: BackupSummary) -> Self {
        let namespaces = namespaces(&told.namespaces);
        Summary {
            kind: match told.kind() {
                BackupKind::Incremental => "incremental",
                BackupKind::Full | BackupKind::Unspecified => "full",
            },
            namespaces,
            id: told.id,
            parent: told.parent_id,
            label: told.label,
            begun_ms: told.begun_ms,
            ended_ms: told.ended_ms,
            last_seq: told.last_seq,
            last_time_ms: told.last_time_ms,
            records: told.records,
            state_hash: told.state_hash,
            files: told.files,
            stored_bytes: told.stored_bytes,
            raw_bytes: told.raw_bytes,
        }
    }
}

impl Summary {
    /// For programs.
    pub fn to_value(&self) -> Value {
        object([
            ("id", self.id.as_str().into()),
            ("kind", self.kind.into()),
            ("parent", self.parent.as_str().into()),
            ("label", self.label.as_str().into()),
            ("begun_ms", self.begun_ms.into()),
            ("ended_ms", self.ended_ms.into()),
            ("last_seq", self.last_seq.into()),
            ("last_time_ms", self.last_time_ms.into()),
            ("namespaces", namespaces_value(&self.namespaces)),
            ("records", self.records.into()),
            ("state_hash", self.state_hash.as_str().into()),
            ("files", self.files.into()),
            ("stored_bytes", self.stored_bytes.into()),
            ("raw_bytes", self.raw_bytes.into()),
        ])
    }

    /// Lines for people: what it is, as of when, and how large.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("backup", self.id.clone()), ("kind", self.kind.to_owned())];
        if !self.parent.is_empty() {
            rows.push(("continues", self.parent.clone()));
        }
        if !self.label.is_empty() {
            rows.push(("label", self.label.clone()));
        }
        rows.push((
            "as of",
            format!("{}, commit {}", moment(self.last_time_ms), self.last_seq),
        ));
        rows.push(("records", self.records.to_string()));
        rows.push(("size", size(self.stored_bytes, self.raw_bytes, self.files)));
        if !self.state_hash.is_empty() {
            rows.push(("state hash", self.state_hash.clone()));
        }
        rows
    }
}

fn size(stored_bytes: u64, raw_bytes: u64, files: u64) -> String {
    format!(
        "{} in {files} {}, of {}",
        size_text(stored_bytes),
        if files == 1 { "file" } else { "files" },
        size_text(raw_bytes)
    )
}

/// Namespaces as a server tells them.
pub fn namespaces(told: &[BackupNamespace]) -> BTreeMap<String, Namespace> {
    let each = told.iter().map(|of| {
        let state = Namespace {
            revision: of.revision,
            records: of.records,
        };
        (of.namespace.clone(), state)
    });
    each.collect()
}

/// Namespaces for programs.
pub fn namespaces_value(namespaces: &BTreeMap<String, Namespace>) -> Value {
    let each = namespaces.iter().map(|(name, state)| {
        object([
            ("namespace", name.as_str().into()),
            ("revision", state.revision.into()),
            ("records", state.records.into()),
        ])
    });
    Value::Array(each.collect())
}

/// A namespace for people.
pub fn namespace_text(name: &str, state: &Namespace) -> String {
    let records = match state.records {
        1 => "1 record".into(),
        records => format!("{records} records"),
    };
    format!("{name}: revision {}, {records}", state.revision)
}

/// So many backups, in words.
pub fn backups(count: usize) -> String {
    match count {
        1 => "1 backup".into(),
        count => format!("{count} backups"),
    }
}
