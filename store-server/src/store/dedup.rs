//! The table of answers: a write that is sent again gets its first answer.
//!
//! The table is not written anywhere. Each log entry names its writer and number, so the table is rebuilt from the part
//! of the log that is younger than the dedup window. It is bounded in three ways: a writer says up to which number it
//! has got its answers, which are then forgotten; a writer that has been silent for the window is forgotten whole (a
//! client never repeats a write after half of it); and a writer may have only so many answers outstanding, beyond which
//! its writes are refused.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{
    DeleteResult, OpResult, PutResult, Reason, StoreError, op_result::Kind,
};

use super::{record::Record, request::WriterKey};
use crate::log::Entry;

/// The table of answers.
#[derive(Debug)]
pub struct Dedup {
    writers: HashMap<Bytes, Window>,
    entries_max: usize,
    window_ms: u64,
}

/// What is remembered of one writer.
#[derive(Debug, Default)]
struct Window {
    answers: BTreeMap<u64, OpResult>,
    first_incomplete: u64,
    last_ms: u64,
}

/// Most bytes of a writer's id.
const WRITER_ID_BYTES_MAX: usize = 64;

impl Dedup {
    /// An empty table.
    pub fn new(entries_max: usize, window_ms: u64) -> Dedup {
        Dedup {
            writers: HashMap::new(),
            entries_max,
            window_ms,
        }
    }

    /// The earlier answer of this write, if it was applied before; an error if it must not be applied.
    pub fn check(&mut self, key: &WriterKey) -> Result<Option<OpResult>, StoreError> {
        if key.id.is_empty() || key.id.len() > WRITER_ID_BYTES_MAX || key.sequence == 0 {
            let message = format!(
                "invalid idempotency key: writer_id has {} bytes (use 1 to {WRITER_ID_BYTES_MAX}), sequence is {} (use \
                 1 or more)",
                key.id.len(),
                key.sequence
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        if key.sequence < key.first_incomplete {
            return Err(already_answered(key.sequence, key.first_incomplete));
        }
        let Some(window) = self.writers.get_mut(&key.id) else {
            return Ok(None);
        };
        window.acknowledge(key.first_incomplete);
        if let Some(answer) = window.answers.get(&key.sequence) {
            return Ok(Some(answer.clone()));
        }
        if key.sequence < window.first_incomplete {
            return Err(already_answered(key.sequence, window.first_incomplete));
        }
        if window.answers.len() >= self.entries_max {
            let message = format!(
                "{} answers of this writer are remembered, which is the limit (log.dedup_entries): send \
                 first_incomplete, so that they can be forgotten",
                self.entries_max
            );
            return Err(StoreError::new(Reason::Quota, message));
        }
        Ok(None)
    }

    /// Remembers the answer of a write.
    pub fn insert(&mut self, key: &WriterKey, answer: OpResult, now_ms: u64) {
        let window = self.writers.entry(key.id.clone()).or_default();
        window.acknowledge(key.first_incomplete);
        window.answers.insert(key.sequence, answer);
        window.last_ms = now_ms;
    }

    /// Remembers the answer of a write found in the log.
    pub fn insert_from_log(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if let Some(writer) = &entry.writer {
            let key = WriterKey {
                id: Bytes::copy_from_slice(writer.id),
                sequence: writer.sequence,
                first_incomplete: writer.first_incomplete,
            };
            self.insert(&key, answer_of(entry)?, entry.time_ms);
        }
        Ok(())
    }

    /// Forgets writers that have been silent for the window.
    pub fn forget_silent(&mut self, now_ms: u64) {
        let window_ms = self.window_ms;
        self.writers
            .retain(|_, window| window.last_ms.saturating_add(window_ms) > now_ms);
    }

    /// The dedup window, in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }
}

fn already_answered(sequence: u64, first_incomplete: u64) -> StoreError {
    let message = format!(
        "write {sequence} of this writer cannot be repeated: the writer had said that all below {first_incomplete} are \
         answered"
    );
    StoreError::new(Reason::Invalid, message)
}

impl Window {
    fn acknowledge(&mut self, first_incomplete: u64) {
        if first_incomplete > self.first_incomplete {
            self.first_incomplete = first_incomplete;
            self.answers = self.answers.split_off(&first_incomplete);
        }
    }
}

/// What a log entry keeps of an answer: nothing if it follows from the changes, else the answer without what follows.
pub fn reply_for_log(result: &OpResult) -> Vec<u8> {
    match &result.kind {
        Some(Kind::Put(_) | Kind::Delete(_)) | None => Vec::new(),
        Some(Kind::Patch(patch)) => {
            let mut patch = patch.clone();
            // The record itself is in the entry's change; only that it was asked for is kept.
            if let Some(record) = &mut patch.record {
                *record = Default::default();
            }
            OpResult {
                kind: Some(Kind::Patch(patch)),
            }
            .encode_to_vec()
        }
        Some(_) => result.encode_to_vec(),
    }
}

/// The answer that a log entry's write was given.
fn answer_of(entry: &Entry<'_>) -> Result<OpResult, String> {
    let changed = entry.changes.first();
    let record = changed.and_then(|c| Some(Record::from_log(entry.revision, c.written.as_ref()?)));
    if entry.reply.is_empty() {
        let kind = match record {
            Some(record) => Kind::Put(PutResult {
                mod_rev: entry.revision,
                version: record.version,
            }),
            None => Kind::Delete(DeleteResult {
                existed: true,
                revision: entry.revision,
            }),
        };
        return Ok(OpResult { kind: Some(kind) });
    }
    let mut result = OpResult::decode(entry.reply).map_err(|e| e.to_string())?;
    if let Some(Kind::Patch(patch)) = &mut result.kind
        && patch.record.is_some()
    {
        patch.record = record.map(|record| record.to_proto());
    }
    Ok(result)
}
