//! The reading side of a backup, on a thread of its own: from the store to portions.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{BackupError, portion::Portion};
use crate::store::{
    CopySource,
    copying::{CopyError, Reached, copy_log, copy_records},
};

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
    pub fn run(self) -> Result<Reached, BackupError> {
        let send = |portion| {
            (self.portions.blocking_send(portion))
                .map_err(|_| BackupError::Store("the backup was given up".into()))
        };
        if let Some(after_key) = &self.records_after {
            copy_records(self.source.records_after(after_key), send)?;
        }
        copy_log(&self.source, self.from, send)
    }
}

impl From<CopyError> for BackupError {
    fn from(error: CopyError) -> Self {
        BackupError::Store(error.to_string())
    }
}
