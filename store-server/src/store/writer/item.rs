//! One write: answered from the table of answers, refused, or accepted.

use std::{mem, time::Instant};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{Durability, Op, OpResult, Reason, StoreError, op, op_result::Kind};

use super::{Batch, Writer, commit::CommitOrigin, waiting::Waiting};
use crate::{
    config::DurabilityKind,
    log::Origin,
    store::{
        clock,
        dedup::{reply_for_log, without_record},
        draft::{Accepted, Changed, Draft},
        evaluate::{Caller, Rules},
        keys,
        request::{Job, WriteItem},
        schema::{self, Lens},
        shared::Counters,
    },
};

/// Most bytes that one commit may write. So no frame comes near the largest that can be read.
const COMMIT_BYTES_MAX: usize = 64 << 20;

impl Writer {
    /// Does the writes of a job. What is accepted is committed where scripts take long: so the job may begin in the batch, and
    /// end in another. `waiting` has who is answered with the batch; the job is added.
    pub(super) fn job(
        &mut self,
        batch: &mut Batch,
        waiting: &mut Vec<Waiting>,
        job: Job,
        now_ms: &mut u64,
    ) {
        let mut results = Vec::with_capacity(job.items.len());
        for item in &job.items {
            if batch.has_taken_long() {
                let ended = self.end(mem::take(batch), mem::take(waiting), *now_ms);
                if let Err(error) = ended {
                    // They were accepted with it, as far as they were.
                    results.fill(refusal(error));
                }
                *now_ms = clock::now_ms();
            }
            let result = self.item(batch, &job, item, *now_ms);
            results.push(result.unwrap_or_else(|error| {
                if error.reason() == Reason::VersionConflict {
                    Counters::add(&self.shared.counters.conflicts, 1);
                }
                refusal(error)
            }));
        }
        waiting.push(Waiting::Job {
            namespace: job.namespace,
            results,
            reply: job.reply,
        });
    }

    fn item(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        // The answers of a batch that could not be logged are in the table too.
        if self.shared.gate.has_failed() {
            self.shared.gate.check()?;
        }
        if let Some(writer) = &item.writer
            && let Some(answer) = self.dedup.check(writer)?
        {
            Counters::add(&self.shared.counters.repeats, 1);
            // The first time may have been answered before its sync.
            batch.needs_sync |= self.due.sync.is_some();
            return self.answer_again(batch, job, item, answer, now_ms);
        }
        self.shared.gate.check()?;
        if item
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            let message = "the caller's deadline passed while the write waited for the writer";
            return Err(StoreError::new(Reason::DeadlineExceeded, message));
        }
        let result = self.evaluate(batch, job, item, now_ms);
        if let Some(writer) = &item.writer {
            match &result {
                Ok(answer) => self.dedup.insert(writer, without_record(answer)),
                // A refusal is an answer too: a copy of the write that comes late must not be applied after it.
                Err(error) if is_final(error.reason(), &item.op) => {
                    let kind = Some(Kind::Error(error.clone()));
                    self.dedup.insert(writer, OpResult { kind });
                }
                Err(_) => {}
            }
        }
        result
    }

    /// The answer to a write that was done before. A claim's owner gets the record as it is now; whoever is not the owner
    /// any more is told so, not that he is.
    fn answer_again(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        answer: OpResult,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        let (Some(Kind::Claim(_)), Some(op::Kind::Claim(claim))) = (&answer.kind, &item.op.kind)
        else {
            let told = self.told_again(job, item, answer, &mut batch.scripts);
            return match told.kind {
                Some(Kind::Error(error)) => Err(error),
                kind => Ok(OpResult { kind }),
            };
        };
        let key = claim.key.as_ref();
        let key = key.map(|key| keys::record(&job.namespace, &key.collection, &key.key));
        let owner = key.and_then(|key| self.index.claim(&key));
        if owner.is_some_and(|owner| *owner.session == *job.session) {
            return self.evaluate(batch, job, item, now_ms);
        }
        let message =
            "the claim was granted, and the record released or taken since: claim it again";
        Err(StoreError::new(Reason::NotOwner, message))
    }

    fn evaluate(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        item: &WriteItem,
        now_ms: u64,
    ) -> Result<OpResult, StoreError> {
        if !job.session.is_empty() {
            self.index
                .check_fence(&job.namespace, &job.session, job.fence)?;
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, &job.namespace);
        if item.once.is_some() && matches!(item.op.kind, Some(op::Kind::Claim(_))) {
            let message = "a claim cannot be named with `once`: its repeat, by whoever, would be told that it owns the \
                           record; claim it again instead";
            return Err(StoreError::new(Reason::Invalid, message));
        }
        if let Some(once) = &item.once
            && let Some(answer) =
                (self.dedup.once).check(&job.namespace, once, draft.revision - 1)?
        {
            Counters::add(&self.shared.counters.repeats, 1);
            batch.needs_sync |= self.due.sync.is_some();
            return Ok(self.told_again(job, item, answer, &mut batch.scripts));
        }
        let lens = self.lens(job);
        let rules = Rules {
            namespace: &job.namespace,
            values: self.shared.validator.values(),
            answer_bytes: self.shared.config.limits.answer_bytes(),
            now_ms,
            caller: Caller {
                session: &job.session,
            },
            index: &self.index,
            lens: lens.as_ref(),
            config: &self.shared.config,
        };
        let result = rules.evaluate(&mut draft, &item.op);
        if let Some(lens) = &lens {
            batch.scripts += lens.used();
        }
        let mut result = result?;
        let revision = draft.revision;
        let changes: Vec<_> = draft.into_changes().collect();
        // A write that has a name is a commit even if it changes nothing, since its answer has to be found again.
        if changes.is_empty() && item.once.is_none() {
            if let Some(Kind::Txn(txn)) = &mut result.kind {
                txn.revision = revision - 1;
            }
            return Ok(result);
        }
        let reply = match changes.is_empty() {
            true => result.encode_to_vec(),
            false => reply_for_log(&result),
        };
        check_size(&changes, &reply)?;
        batch.needs_sync |= self.durability(item.durability, &changes) == DurabilityKind::Synced;
        let origin = CommitOrigin {
            origin: Origin::Client,
            principal: "",
            session: &job.session,
            writer: item.writer.as_ref(),
            once: item.once.as_ref().map_or(&[], |once| &once.name),
        };
        self.accept(
            batch,
            &job.namespace,
            revision,
            changes,
            &origin,
            &reply,
            now_ms,
        );
        if let Some(once) = &item.once {
            (self.dedup.once).insert(&job.namespace, &once.name, revision, result.clone());
        }
        Ok(result)
    }

    /// What the caller of a job sees, whose fence has been checked; for one item of it.
    pub(super) fn lens(&self, job: &Job) -> Option<Lens> {
        if self.schemas.is_empty() {
            return None;
        }
        let speaks = schema::speaks(&self.index, &job.namespace, &job.session, job.fence);
        Lens::new(&self.schemas, job.namespace.clone(), speaks).map(Lens::for_a_write)
    }

    /// When a commit may be answered: a call may choose, else the collections decide, the most careful one for all. Who
    /// owns a record is always durable: nobody else may be told the same later.
    fn durability(&self, asked: Durability, changes: &[(Bytes, Changed)]) -> DurabilityKind {
        let config = &self.shared.config;
        let of_claim = |key: &Bytes| {
            keys::split_system(key).is_some_and(|(_, system, _)| system == keys::System::Claim)
        };
        if changes.iter().any(|(key, _)| of_claim(key)) {
            return DurabilityKind::Synced;
        }
        match asked {
            Durability::Applied => DurabilityKind::Applied,
            Durability::Unspecified if !config.collections.is_empty() => {
                let applied = !changes.is_empty()
                    && changes.iter().all(|(key, _)| {
                        let settings =
                            keys::split_record(key).and_then(|(ns, c, _)| config.collection(ns, c));
                        settings.is_some_and(|c| c.durability == DurabilityKind::Applied)
                    });
                if applied {
                    DurabilityKind::Applied
                } else {
                    DurabilityKind::Synced
                }
            }
            Durability::Unspecified | Durability::Synced => DurabilityKind::Synced,
        }
    }
}

fn refusal(error: StoreError) -> OpResult {
    OpResult {
        kind: Some(Kind::Error(error)),
    }
}

/// Whether a refusal stands: the same write sent again must be refused again. A claim that waits is sent again and again.
fn is_final(reason: Reason, op: &Op) -> bool {
    match reason {
        Reason::VersionConflict
        | Reason::BoundViolation
        | Reason::Invalid
        | Reason::TooLarge
        | Reason::SchemaUnsupported
        | Reason::MigrationFailed
        | Reason::Fenced
        | Reason::SessionExpired => true,
        Reason::NotOwner => !matches!(op.kind, Some(op::Kind::Claim(_))),
        _ => false,
    }
}

pub(super) fn check_size(changes: &[(Bytes, Changed)], reply: &[u8]) -> Result<(), StoreError> {
    let value_bytes = |(_, c): &(Bytes, Changed)| c.after.as_ref().map_or(0, |r| r.value.len());
    let bytes = changes.iter().map(value_bytes).sum::<usize>() + reply.len();
    if bytes > COMMIT_BYTES_MAX {
        let message = format!(
            "the transaction writes {bytes} bytes: the limit is {COMMIT_BYTES_MAX}; write fewer records at once"
        );
        return Err(StoreError::new(Reason::TooLarge, message));
    }
    Ok(())
}
