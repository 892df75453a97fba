//! The reading side of a backup, on a thread of its own: from the store to portions.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    BackupError, FileKind, Manifest, Mark,
    portion::{Packer, Portion},
};
use crate::{
    log::{Entry, reader::ReadError},
    store::{Applied, CopySource, Namespace, keys, server_time_ms, state_hash::StateHash},
};

/// How far a state is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reached {
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
    /// Where the records of a full backup are.
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

    /// Where a backup ends.
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

/// Reads a store, and sends portions for as long as somebody takes them.
#[derive(Debug)]
pub struct Reading {
    /// The store.
    pub source: CopySource,
    /// Where the portions go.
    pub portions: mpsc::Sender<Portion>,
    /// Behind which view key records are read; empty: all are; none: none are.
    pub records_after: Option<Bytes>,
    /// Behind which commit the log is read.
    pub from: Reached,
}

impl Reading {
    /// Reads everything; gives how far it came.
    pub fn run(mut self) -> Result<Reached, BackupError> {
        if let Some(after_key) = &self.records_after {
            self.read_records(after_key)?;
        }
        self.read_log()?;
        Ok(self.from)
    }

    fn read_records(&self, after_key: &Bytes) -> Result<(), BackupError> {
        let mut packer = Packer::new(FileKind::Records);
        for pair in self.source.records_after(after_key) {
            let (key, record) = pair.map_err(|e| BackupError::Store(e.to_string()))?;
            packer.push_record(&key, &record);
            if packer.is_full() {
                self.send(&mut packer)?;
            }
        }
        self.send(&mut packer)
    }

    /// Reads the log from where the records are, to an end that is looked up only now: so it has everything that was among
    /// the records.
    fn read_log(&mut self) -> Result<(), BackupError> {
        let as_of_ms = server_time_ms();
        let (after_seq, last_seq) = (self.from.seq, self.source.last_seq());
        let mut packer = Packer::new(FileKind::Log);
        let mut reached = self.from.clone();
        let mut failed = None;
        let mut take = |seq: u64, bytes: &[u8]| -> Result<(), BackupError> {
            let unreadable =
                |detail| BackupError::Store(format!("commit {seq} cannot be read: {detail}"));
            let entry = Entry::decode(bytes).map_err(unreadable)?;
            reached.follow(seq, &entry);
            packer.push_entry(seq, bytes);
            match packer.is_full() {
                true => self.send(&mut packer),
                false => Ok(()),
            }
        };
        let read = self
            .source
            .read_log(after_seq, last_seq, |seq, bytes| match take(seq, bytes) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            });
        read.map_err(log_failed)?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.send(&mut packer)?;
        self.from = Reached {
            as_of_ms: as_of_ms.max(reached.time_ms),
            ..reached
        };
        Ok(())
    }

    fn send(&self, packer: &mut Packer) -> Result<(), BackupError> {
        let packed = packer.pack();
        match packed.map_err(|e| BackupError::Store(format!("cannot compress: {e}")))? {
            Some(portion) => (self.portions.blocking_send(portion))
                .map_err(|_| BackupError::Store("the backup was given up".into())),
            None => Ok(()),
        }
    }
}

/// The log went on while it was read, and what comes next was removed.
fn log_failed(error: ReadError) -> BackupError {
    BackupError::Store(match error {
        ReadError::Removed { .. } => format!(
            "{error} while it was copied: raise log.retention_bytes, or let the backup read faster"
        ),
        error => error.to_string(),
    })
}
