//! The table of answers: a write that is sent again gets its first answer.
//!
//! The table is not written anywhere. Each log entry names its writer and number, so the table is rebuilt from the part
//! of the log that is younger than the dedup window. It is bounded in three ways: a writer says up to which number it
//! has got its answers, which are then forgotten; a writer that has been silent for the window is forgotten whole (a
//! client never repeats a write after half of it); and a writer may have only so many answers outstanding, beyond which
//! its writes are refused, as they are beyond so many bytes of all answers.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{
    DeleteResult, OpResult, PutResult, Reason, StoreError, op_result::Kind,
};

use super::{once::Once, record::Record, request::WriterKey};
use crate::log::Entry;

/// The table of answers.
#[derive(Debug)]
pub struct Dedup {
    writers: HashMap<Bytes, Window>,
    bytes: usize,
    entries_max: usize,
    window: Duration,
    /// Writes that have a name.
    pub once: Once,
}

/// What is remembered of one writer.
#[derive(Debug)]
struct Window {
    answers: BTreeMap<u64, OpResult>,
    bytes: usize,
    first_incomplete: u64,
    /// Not the wall clock: a step of it must not make the store forget.
    last_heard: Instant,
}

/// Most bytes of a writer's id.
const WRITER_ID_BYTES_MAX: usize = 64;

/// Most writers remembered at a time; the writes of one more are refused with QUOTA.
const WRITERS_MAX: usize = 100_000;

/// Most bytes of all answers remembered; writes beyond it are refused with QUOTA.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Dedup {
    /// An empty table.
    pub fn new(entries_max: usize, window_ms: u64) -> Dedup {
        Dedup {
            writers: HashMap::new(),
            bytes: 0,
            entries_max,
            window: Duration::from_millis(window_ms),
            once: Once::new(Duration::from_millis(window_ms)),
        }
    }

    /// The earlier answer of this write, if it was answered before; an error if it must not be applied.
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
        let quota = |message: String| Err(StoreError::new(Reason::Quota, message));
        let writers = self.writers.len();
        let Some(window) = self.writers.get_mut(&key.id) else {
            if writers >= WRITERS_MAX {
                return quota(format!(
                    "answers of {writers} writers are remembered, which is the limit: wait until some have been silent \
                     for log.dedup_window_secs"
                ));
            }
            return Ok(None);
        };
        self.bytes -= window.acknowledge(key.first_incomplete);
        if let Some(answer) = window.answers.get(&key.sequence) {
            return Ok(Some(answer.clone()));
        }
        if key.sequence < window.first_incomplete {
            return Err(already_answered(key.sequence, window.first_incomplete));
        }
        if window.answers.len() >= self.entries_max {
            return quota(format!(
                "{} answers of this writer are remembered, which is the limit (log.dedup_entries): send \
                 first_incomplete, so that they can be forgotten",
                self.entries_max
            ));
        }
        if self.bytes >= ANSWER_BYTES_MAX {
            return quota(format!(
                "{} bytes of answers are remembered, which is the limit: send first_incomplete, so that they can be \
                 forgotten, and ask for less in the answer of a write",
                self.bytes
            ));
        }
        Ok(None)
    }

    /// Remembers the answer of a write.
    pub fn insert(&mut self, key: &WriterKey, answer: OpResult) {
        let bytes = answer.encoded_len();
        let window = self
            .writers
            .entry(key.id.clone())
            .or_insert_with(|| Window {
                answers: BTreeMap::new(),
                bytes: 0,
                first_incomplete: 0,
                last_heard: Instant::now(),
            });
        self.bytes -= window.acknowledge(key.first_incomplete);
        let replaced = window.answers.insert(key.sequence, answer);
        let replaced_bytes = replaced.map_or(0, |answer| answer.encoded_len());
        window.bytes = window.bytes + bytes - replaced_bytes;
        self.bytes = self.bytes + bytes - replaced_bytes;
        window.last_heard = Instant::now();
    }

    /// Remembers the answer of a write found in the log.
    pub fn insert_from_log(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if !entry.once.is_empty() {
            let name = Bytes::copy_from_slice(entry.once);
            let namespace = entry.namespace.into();
            self.once
                .insert(&namespace, &name, entry.revision, answer_of(entry)?);
        }
        if let Some(writer) = &entry.writer {
            let key = WriterKey {
                id: Bytes::copy_from_slice(writer.id),
                sequence: writer.sequence,
                first_incomplete: writer.first_incomplete,
            };
            self.insert(&key, answer_of(entry)?);
        }
        Ok(())
    }

    /// Forgets writers that have been silent for the window, and named writes older than it.
    pub fn forget_silent(&mut self) {
        self.once.forget_old();
        let Dedup {
            writers,
            bytes,
            window,
            ..
        } = self;
        writers.retain(|_, writer| {
            let keep = writer.last_heard.elapsed() < *window;
            *bytes -= if keep { 0 } else { writer.bytes };
            keep
        });
    }

    /// The dedup window, in milliseconds.
    pub fn window_ms(&self) -> u64 {
        self.window.as_millis() as u64
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
    /// Forgets the answers below a number; gives their bytes.
    fn acknowledge(&mut self, first_incomplete: u64) -> usize {
        if first_incomplete <= self.first_incomplete {
            return 0;
        }
        self.first_incomplete = first_incomplete;
        let kept = self.answers.split_off(&first_incomplete);
        let gone = std::mem::replace(&mut self.answers, kept);
        let bytes = gone.values().map(OpResult::encoded_len).sum();
        self.bytes -= bytes;
        bytes
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
        Some(Kind::Claim(_)) => without_record(result).encode_to_vec(),
        Some(_) => result.encode_to_vec(),
    }
}

/// The answer to a claim without the record: a repeat gets the record as it is then.
pub fn without_record(result: &OpResult) -> OpResult {
    let mut result = result.clone();
    if let Some(Kind::Claim(claim)) = &mut result.kind {
        claim.record = None;
    }
    result
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
