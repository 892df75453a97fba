//! Fills an empty engine with what a copy of a store has: the records, and the part of the log that mends them. So is a view
//! made of a checkpoint, and a store of backups.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::{
    keys,
    open::Replay,
    record::Record,
    view::{Applied, View},
};
use crate::{
    archive::{
        manifest::{File, FileKind},
        portion::{entries, records},
    },
    engine::{Engine, EngineError, KeyChange},
    log::Entry,
};

/// Why an engine could not be filled.
#[derive(Debug, Error)]
pub enum FillError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What was given makes no sense.
    #[error("{0}")]
    Content(String),
}

/// An engine being filled.
#[derive(Debug)]
pub struct Filling {
    // Dropped in this order, so that who has the engine last lets go of its files.
    view: View,
    engine: Arc<dyn Engine>,
    overlay_bytes: usize,
    time_ms: u64,
}

/// Changes given to the engine at once.
const CHANGES_MAX: usize = 1024;

impl Filling {
    /// Begins to fill an empty engine. The records that are going to be added are at least as far as `applied`; so many bytes
    /// of what the log changes may wait in memory for the engine.
    pub fn new(engine: Arc<dyn Engine>, applied: &Applied, overlay_bytes: usize) -> Filling {
        Filling {
            view: View::new(engine.clone(), applied, 0),
            engine,
            overlay_bytes,
            time_ms: 0,
        }
    }

    /// Adds the content of a file: all records, or the commits that `file` names.
    pub fn add(&mut self, file: &File, raw: Bytes) -> Result<(), FillError> {
        match file.kind {
            FileKind::Records => self.add_records(records(raw)),
            FileKind::Log => {
                let needed = file.first_seq..=file.last_seq;
                let is_needed = |item: &Result<(u64, Bytes), String>| match item {
                    Ok((seq, _)) => needed.contains(seq),
                    Err(_) => true,
                };
                self.add_entries(entries(raw).filter(is_needed))
            }
        }
    }

    /// Adds records by view key, in order.
    pub fn add_records(
        &self,
        records: impl Iterator<Item = Result<(Bytes, Bytes), String>>,
    ) -> Result<(), FillError> {
        let mut changes: Vec<KeyChange> = Vec::with_capacity(CHANGES_MAX);
        for pair in records {
            let (key, value) = pair.map_err(FillError::Content)?;
            let record = Record::decode(&value).map_err(FillError::Content)?;
            if record.expires_at_ms > 0 {
                let expiry = keys::expiry(record.expires_at_ms, &key);
                changes.push((expiry, Some(Bytes::new())));
            }
            changes.push((key, Some(value)));
            if changes.len() >= CHANGES_MAX {
                self.apply(&mut changes)?;
            }
        }
        self.apply(&mut changes)
    }

    fn apply(&self, changes: &mut Vec<KeyChange>) -> Result<(), FillError> {
        changes.sort();
        self.engine.apply(changes)?;
        changes.clear();
        Ok(())
    }

    /// Brings in log entries behind those it has.
    pub fn add_entries(
        &mut self,
        entries: impl Iterator<Item = Result<(u64, Bytes), String>>,
    ) -> Result<(), FillError> {
        let applied = self.view.applied();
        let mut replay = Replay::new(&self.view, &applied, self.overlay_bytes);
        for (expected, item) in (applied.seq + 1..).zip(entries) {
            let (seq, bytes) = item.map_err(FillError::Content)?;
            if seq != expected {
                let detail = format!("commit {seq} follows where {expected} was expected");
                return Err(FillError::Content(detail));
            }
            let unreadable =
                |detail| FillError::Content(format!("commit {seq} cannot be brought in: {detail}"));
            let entry = Entry::decode(&bytes).map_err(unreadable)?;
            self.time_ms = entry.time_ms;
            replay.entry(seq, &entry)?.map_err(unreadable)?;
        }
        replay.finish()?;
        Ok(())
    }

    /// The engine, as far as it is filled.
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// The view on it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Time of the last entry that was added, in milliseconds since 1970; 0: none was.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}
