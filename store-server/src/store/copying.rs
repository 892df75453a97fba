//! From a store to portions: the reading side of backups and checkpoints.
//!
//! The records are read while commits go on, so what is copied of them is fuzzy: as of the commit at which the reading began,
//! and some of it newer. The log from there on, up to an end that is looked up after the records, mends it.

use std::{collections::BTreeMap, io, ops::ControlFlow};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use stillpoint_migrations::format::Identity;
use thiserror::Error;

use super::{
    clock::now_ms,
    copy::CopySource,
    keys,
    state_hash::StateHash,
    view::{Applied, Namespace},
};
use crate::{
    archive::{
        manifest::{Encryption, FORMAT, FORMAT_ENCRYPTED, File, FileKind, Kind, Manifest, Mark},
        names,
        portion::{Packer, Portion},
    },
    engine::{EngineError, Pair},
    log::{Entry, reader::ReadError},
};

/// Why copying failed. Whoever takes the portions may fail, too: so its error has room for this one.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The log cannot be read on.
    #[error("{error}{}", hint(.error))]
    Log {
        /// Why.
        error: ReadError,
    },
    /// A commit makes no sense.
    #[error("commit {seq} cannot be read: {detail}")]
    Commit {
        /// Its sequence number.
        seq: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A portion cannot be compressed.
    #[error("cannot compress: {0}")]
    Pack(io::Error),
}

/// The log goes on while it is read, and what comes next may be removed.
fn hint(error: &ReadError) -> &'static str {
    match error {
        ReadError::Removed { .. } => {
            " while it was copied: raise log.retention_bytes, or let the copy be read faster"
        }
        _ => "",
    }
}

/// What is known of a copy when it begins. The fields are those of the [`Manifest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub id: String,
    pub kind: Kind,
    pub parent: String,
    pub store_id: String,
    pub incarnation: u64,
    pub server_version: String,
    pub label: String,
    pub begun_ms: u64,
    pub base_seq: u64,
    pub applied: String,
    pub encryption: Option<Encryption>,
}

impl Outline {
    /// A full copy of a store, which is neither called anything nor encrypted.
    pub fn full(identity: &Identity, begun_ms: u64, last_seq: u64, applied: &Applied) -> Outline {
        Outline {
            id: names::id(begun_ms, last_seq),
            kind: Kind::Full,
            parent: String::new(),
            store_id: identity.store_id.to_string(),
            incarnation: identity.incarnation,
            server_version: env!("CARGO_PKG_VERSION").into(),
            label: String::new(),
            begun_ms,
            base_seq: applied.seq,
            applied: BASE64.encode(applied.encode()),
            encryption: None,
        }
    }

    /// What it is when it is complete.
    pub fn complete(self, end: Reached, files: Vec<File>) -> Manifest {
        Manifest {
            format: match self.encryption {
                None => FORMAT,
                Some(_) => FORMAT_ENCRYPTED,
            },
            id: self.id,
            kind: self.kind,
            parent: self.parent,
            store_id: self.store_id,
            incarnation: self.incarnation,
            server_version: self.server_version,
            label: self.label,
            begun_ms: self.begun_ms,
            ended_ms: now_ms(),
            as_of_ms: end.as_of_ms,
            base_seq: self.base_seq,
            last_seq: end.seq,
            last_time_ms: match end.time_ms {
                0 => end.as_of_ms,
                time_ms => time_ms,
            },
            records: end.namespaces.values().map(|ns| ns.records).sum(),
            namespaces: end.namespaces,
            state_hash: end.state_hash,
            applied: self.applied,
            marks: end.marks,
            encryption: self.encryption,
            files,
        }
    }
}

/// How far a state is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// When the end of the log was read, in milliseconds since 1970.
    pub as_of_ms: u64,
    /// The newest commit.
    pub seq: u64,
    /// Its time; 0: not known.
    pub time_ms: u64,
    /// The namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// The state hash.
    pub state_hash: Option<String>,
    /// The labels that were set on the way.
    pub marks: Vec<Mark>,
}

impl Reached {
    /// Where the records of a full copy are at least.
    pub fn applied(applied: &Applied) -> Reached {
        Reached {
            as_of_ms: 0,
            seq: applied.seq,
            time_ms: 0,
            namespaces: applied.namespaces.clone(),
            state_hash: applied.state_hash.map(|hash| hash.to_string()),
            marks: Vec::new(),
        }
    }

    /// Where a copy ends.
    pub fn end_of(manifest: &Manifest) -> Reached {
        Reached {
            as_of_ms: manifest.as_of_ms,
            seq: manifest.last_seq,
            time_ms: manifest.last_time_ms,
            namespaces: manifest.namespaces.clone(),
            state_hash: manifest.state_hash.clone(),
            marks: Vec::new(),
        }
    }

    /// Goes on with the next commit.
    pub fn follow(&mut self, seq: u64, entry: &Entry<'_>) {
        let namespace = self.namespaces.entry(entry.namespace.into()).or_default();
        namespace.revision = entry.revision;
        namespace.records = namespace.records.saturating_add_signed(entry.records_delta);
        self.seq = seq;
        self.time_ms = entry.time_ms;
        self.state_hash = StateHash::from_bytes(entry.state_hash).map(|hash| hash.to_string());
        for change in entry.changes.iter().filter(|c| c.written.is_some()) {
            let key = keys::record(entry.namespace, change.collection, change.key);
            if let Some((_, keys::System::Mark, label)) = keys::split_system(&key) {
                self.marks.push(Mark {
                    label: String::from_utf8_lossy(label).into_owned(),
                    namespace: entry.namespace.into(),
                    seq,
                    revision: entry.revision,
                    time_ms: entry.time_ms,
                });
            }
        }
    }
}

/// Hands out records by view key in portions, in order.
pub(crate) fn copy_records<E: From<CopyError>>(
    records: impl Iterator<Item = Pair>,
    mut take: impl FnMut(Portion) -> Result<(), E>,
) -> Result<(), E> {
    let mut packer = Packer::new(FileKind::Records);
    for pair in records {
        let (key, record) = pair.map_err(CopyError::Engine)?;
        packer.push_record(&key, &record);
        if packer.is_full() {
            hand_out(&mut packer, &mut take)?;
        }
    }
    hand_out(&mut packer, &mut take)
}

/// Hands out the log in portions from where the records are, to an end that is looked up only now: so it has everything that
/// was among the records. Gives how far it came.
pub(crate) fn copy_log<E: From<CopyError>>(
    source: &CopySource,
    mut reached: Reached,
    mut take: impl FnMut(Portion) -> Result<(), E>,
) -> Result<Reached, E> {
    let as_of_ms = now_ms();
    let (after_seq, last_seq) = (reached.seq, source.last_seq());
    let mut packer = Packer::new(FileKind::Log);
    let mut failed = None;
    let mut entry = |seq: u64, bytes: &[u8]| -> Result<(), E> {
        let entry = Entry::decode(bytes).map_err(|detail| CopyError::Commit { seq, detail })?;
        reached.follow(seq, &entry);
        packer.push_entry(seq, bytes);
        match packer.is_full() {
            true => hand_out(&mut packer, &mut take),
            false => Ok(()),
        }
    };
    let read = source.read_log(after_seq, last_seq, |seq, bytes| match entry(seq, bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    read.map_err(|error| CopyError::Log { error })?;
    hand_out(&mut packer, &mut take)?;
    Ok(Reached {
        as_of_ms: as_of_ms.max(reached.time_ms),
        ..reached
    })
}

fn hand_out<E: From<CopyError>>(
    packer: &mut Packer,
    take: &mut impl FnMut(Portion) -> Result<(), E>,
) -> Result<(), E> {
    match packer.pack().map_err(CopyError::Pack)? {
        Some(portion) => take(portion),
        None => Ok(()),
    }
}
