//! The files of a backup for somebody else who stores them: the server's side of a pull.
//!
//! A pull that was cut off goes on behind the last file that came whole. For the records that is right because they are fuzzy
//! anyway: whatever is newer than the commit that the backup was begun with is mended by the log from there on. So the log has
//! to go back that far still, and it has to be the same history.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{BackupError, create::hash_at, portion::Portion, reading::Reading};
use crate::{
    engine::EngineError,
    log::reader::ReadError,
    store::{CopySource, Store, copying::Reached},
};

/// What is continued.
#[derive(Clone, Debug)]
pub struct Continued {
    /// The incarnation that it was begun in.
    pub incarnation: u64,
    /// The commit that its records are at least as new as, or that the backup before ends with.
    pub base_seq: u64,
    /// Behind which view key records are wanted; empty: all are; none: none are.
    pub records_after: Option<Bytes>,
    /// The last commit of the log that is there; 0: none.
    pub after_seq: u64,
    /// A commit that none of the records that are there is newer than; 0: not known.
    pub seen_seq: u64,
}

/// A backup that is given away.
#[derive(Debug)]
pub struct Giving {
    source: CopySource,
    records_after: Option<Bytes>,
    from: Reached,
    /// The commit that its records are at least as new as, or that the backup before ends with.
    pub base_seq: u64,
    /// How far the records are, as the view keeps it; empty if it is continued.
    pub applied: Vec<u8>,
    /// The state hash after the commit that the records which are there are not newer than, if it is known.
    pub seen_hash: Option<String>,
}

/// Begins a full backup, or continues one; reads a little of the log.
pub fn give(store: &Store, continued: Option<Continued>) -> Result<Giving, BackupError> {
    let source = store.copy_source();
    let applied = (source.applied()).map_err(|e: EngineError| BackupError::Store(e.to_string()))?;
    let Some(continued) = continued else {
        return Ok(Giving {
            source,
            records_after: Some(Bytes::new()),
            base_seq: applied.seq,
            applied: applied.encode(),
            seen_hash: None,
            from: Reached::applied(&applied),
        });
    };
    let incarnation = source.identity().incarnation;
    if continued.incarnation != incarnation {
        return Err(BackupError::OtherIncarnation {
            store: incarnation,
            found: continued.incarnation,
        });
    }
    let last_seq = source.last_seq();
    let from_seq = continued.base_seq.max(continued.after_seq);
    let too_new = match &continued.records_after {
        // A view that was rebuilt may be behind what was read of the one before.
        Some(_) => continued.base_seq > applied.seq,
        None => false,
    };
    if from_seq > last_seq || too_new {
        return Err(BackupError::NotThere { seq: from_seq });
    }
    // What was read of another copy of the store, and what this one tells, would be a mix.
    let seen_seq = continued.seen_seq;
    if seen_seq > last_seq.max(store.state().seq) {
        return Err(BackupError::NotThere { seq: seen_seq });
    }
    // By another source: this one is to hold the log from further back on.
    let seen_hash = hash_at(&store.copy_source(), seen_seq)?;
    // From here on the source holds the log.
    let next = source.read_log(from_seq, last_seq, |_, _| std::ops::ControlFlow::Break(()));
    next.map_err(|error| match error {
        ReadError::Removed { first_seq } => BackupError::LogCut {
            last_seq: from_seq,
            first_seq,
        },
        error => BackupError::Store(error.to_string()),
    })?;
    Ok(Giving {
        records_after: continued.records_after,
        base_seq: continued.base_seq,
        applied: Vec::new(),
        seen_hash,
        from: Reached {
            seq: from_seq,
            state_hash: hash_at(&source, from_seq)?,
            ..Reached::default()
        },
        source,
    })
}

impl Giving {
    /// Who the store is.
    pub fn store_id(&self) -> String {
        self.source.identity().store_id.to_string()
    }

    /// About how many records there are in the store.
    pub fn records_total(&self) -> u64 {
        self.source.records_total()
    }

    /// About how many bytes of log there are to copy.
    pub fn log_bytes(&self) -> u64 {
        self.source.log_bytes(self.from.seq)
    }

    /// The newest commit in the store.
    pub fn last_seq(&self) -> u64 {
        self.source.last_seq()
    }

    /// The state hash after the commit behind which the log is given, if it is known.
    pub fn state_hash(&self) -> Option<&str> {
        self.from.state_hash.as_deref()
    }

    /// Reads it, as long as somebody takes the portions; gives how far it came. Of the namespaces only those are known that
    /// were written to.
    pub fn run(self, portions: mpsc::Sender<Portion>) -> Result<Reached, BackupError> {
        let reading = Reading {
            source: self.source,
            portions,
            records_after: self.records_after,
            from: self.from,
        };
        reading.run()
    }
}
