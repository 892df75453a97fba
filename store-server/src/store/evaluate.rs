//! The rules: what each write operation does to a [`Draft`], and what it answers.

use bytes::Bytes;
use stillpoint_proto::v1::{
    ClaimOp, ClaimResult, DeleteOp, DeleteResult, GetOp, GetResult, Guard, Op, OpResult, PatchOp,
    PatchResult, PutOp, PutResult, Reason, RecordKey, ReleaseOp, ReleaseResult, SetCursorOp,
    SetCursorResult, StoreError, TxnOp, TxnResult, op, op_result,
};

use super::{
    claimed::Claimed,
    draft::Draft,
    index::{Claim, Index, TAKEN_BY_RESTORE},
    keys,
    read::Room,
    record::Record,
    schema::Lens,
    sight::Sight,
};
use crate::{
    config::{ClaimRule, Config},
    value::{self, ValueLimits},
};

/// What operations are evaluated with.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Namespace of the transaction.
    pub namespace: &'a str,
    /// Bounds of one value.
    pub values: &'a ValueLimits,
    /// Bytes of records that the answer to a transaction may have.
    pub answer_bytes: usize,
    /// Server time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Who asks.
    pub caller: Caller<'a>,
    /// Sessions, claims and timers.
    pub index: &'a Index,
    /// What the caller sees; none: everything as it is stored.
    pub lens: Option<&'a Lens>,
    /// The settings.
    pub config: &'a Config,
}

/// Who asks for an operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// The session's id; empty for none. Its fence has been checked.
    pub session: &'a str,
}

impl Rules<'_> {
    /// Evaluates a validated operation that may write. On an error the draft must be dropped.
    pub fn evaluate(&self, draft: &mut Draft<'_>, op: &Op) -> Result<OpResult, StoreError> {
        let kind = match &op.kind {
            Some(op::Kind::Txn(txn)) => op_result::Kind::Txn(self.txn(draft, txn)?),
            Some(kind) => self.single(draft, kind)?,
            None => return Err(StoreError::new(Reason::Invalid, "the operation is empty")),
        };
        Ok(OpResult { kind: Some(kind) })
    }

    fn single(
        &self,
        draft: &mut Draft<'_>,
        kind: &op::Kind,
    ) -> Result<op_result::Kind, StoreError> {
        Ok(match kind {
            op::Kind::Get(get) => op_result::Kind::Get(self.get(draft, get)?),
            op::Kind::Put(put) => op_result::Kind::Put(self.put(draft, put)?),
            op::Kind::Patch(patch) => op_result::Kind::Patch(self.patch(draft, patch)?),
            op::Kind::Delete(delete) => op_result::Kind::Delete(self.delete(draft, delete)?),
            op::Kind::Claim(claim) => op_result::Kind::Claim(self.claim(draft, claim)?),
            op::Kind::Release(release) => op_result::Kind::Release(self.release(draft, release)?),
            op::Kind::SetTimer(set) => op_result::Kind::SetTimer(self.set_timer(draft, set)?),
            op::Kind::CancelTimer(op) => {
                op_result::Kind::CancelTimer(self.cancel_timer(draft, op)?)
            }
            op::Kind::FinishTimer(op) => {
                op_result::Kind::FinishTimer(self.finish_timer(draft, op)?)
            }
            op::Kind::SetCursor(set) => op_result::Kind::SetCursor(self.set_cursor(draft, set)?),
            op::Kind::BatchGet(_)
            | op::Kind::Scan(_)
            | op::Kind::ListCollections(_)
            | op::Kind::History(_)
            | op::Kind::Txn(_) => {
                return Err(StoreError::new(
                    Reason::Invalid,
                    "this operation cannot be part of a transaction",
                ));
            }
        })
    }

    fn get(&self, draft: &Draft<'_>, get: &GetOp) -> Result<GetResult, StoreError> {
        let (name, key) = self.key(get.key.as_ref())?;
        let record = match get.raw {
            true => draft.get(&key)?,
            false => self.sight(None, name, draft.get(&key)?).into_seen()?,
        };
        Ok(GetResult {
            record: record.map(|record| record.to_proto()),
            claim: None,
        })
    }

    fn put(&self, draft: &mut Draft<'_>, put: &PutOp) -> Result<PutResult, StoreError> {
        let (name, key) = self.writable(put.key.as_ref())?;
        if !put.guards.is_empty() || self.is_behind(name, put.schema)? {
            let sight = self.sight(put.schema, name, draft.get(&key)?);
            sight.require(&put.guards)?;
            sight.check_kept()?;
        }
        let expires_at_ms = self.expires_at_ms(put.ttl_ms);
        let (value, schema) = self.as_stored(name, put.value.clone(), put.schema)?;
        let record = draft.put(&key, value, schema, expires_at_ms)?;
        Ok(PutResult {
            mod_rev: record.mod_rev,
            version: record.version,
        })
    }

    fn patch(&self, draft: &mut Draft<'_>, patch: &PatchOp) -> Result<PatchResult, StoreError> {
        let (name, key) = self.writable(patch.key.as_ref())?;
        let sight = self.sight(patch.schema, name, draft.get(&key)?);
        sight.require(&patch.guards)?;
        let current = sight.seen()?;
        if current.is_none() && !patch.create {
            let message = "the record does not exist: patch with `create`, or put it first";
            return Err(sight.conflict(message.into()));
        }
        sight.check_kept()?;
        let (document, schema, expires_at_ms) = match current {
            Some(record) => (&record.value[..], Some(record.schema), record.expires_at_ms),
            None => (EMPTY_MAP, self.named_by(name, patch)?, 0),
        };
        let patched = value::patch(document, patch, self.values).map_err(|e| at(name, e))?;
        let expires_at_ms = patch
            .ttl_ms
            .map_or(expires_at_ms, |ttl_ms| self.expires_at_ms(ttl_ms));
        let (value, schema) = self.as_stored(name, patched.value.into(), schema)?;
        let record = draft.put(&key, value, schema, expires_at_ms)?;
        let (mod_rev, version) = (record.mod_rev, record.version);
        let returned = match patch.return_record {
            true => self
                .sight(patch.schema, name, Some(record.clone()))
                .into_seen()?,
            false => None,
        };
        Ok(PatchResult {
            mod_rev,
            version,
            step_results: patched.step_results,
            record: returned.map(|record| record.to_proto()),
        })
    }

    /// The version that a patch names for a record that it begins; it counts only where there are migrations.
    fn named_by(&self, name: &RecordKey, patch: &PatchOp) -> Result<Option<u32>, StoreError> {
        Ok(match self.lens {
            Some(lens) if lens.version(&name.collection)?.is_some() => patch.schema,
            _ => None,
        })
    }

    fn delete(&self, draft: &mut Draft<'_>, delete: &DeleteOp) -> Result<DeleteResult, StoreError> {
        let (name, key) = self.writable(delete.key.as_ref())?;
        if !delete.guards.is_empty() {
            let sight = self.sight(None, name, draft.get(&key)?);
            sight.require(&delete.guards)?;
        }
        let existed = draft.delete(&key)?;
        Ok(DeleteResult {
            existed,
            revision: if existed { draft.revision } else { 0 },
        })
    }

    /// A waiting claim has waited when it comes here: it is granted or refused.
    fn claim(&self, draft: &mut Draft<'_>, op: &ClaimOp) -> Result<ClaimResult, StoreError> {
        let (name, key) = self.key(op.key.as_ref())?;
        let Some(session) = self.index.session(self.namespace, self.caller.session) else {
            let message = "a claim belongs to a session: connect with a service and an instance";
            return Err(at(name, StoreError::new(Reason::Invalid, message)));
        };
        if let Some(lens) = self.lens {
            lens.check_ownable(name)?;
        }
        let claim = self.index.claim(&key);
        let own = claim.filter(|claim| *claim.session == *session.id);
        if let (Some(claim), None, false) = (claim, own, op.steal) {
            return Err(self.not_owner(name, claim));
        }
        // No script is run for who waits.
        if self.is_behind(name, None)? {
            let sight = self.sight(None, name, draft.get(&key)?);
            if op.load {
                sight.seen()?;
            }
            // Its owner could not write it.
            sight.check_kept()?;
        }
        let token = match own {
            Some(claim) => self.index.token(self.namespace, claim),
            None => {
                let limit = self.config.limits.claims;
                if self.index.claim_count_of(&session.id) >= limit {
                    let message = format!(
                        "{} owns {limit} records, which is the limit (limits.claims): release some",
                        session.identity()
                    );
                    return Err(at(name, StoreError::new(Reason::Quota, message)));
                }
                let claim = keys::claim(&key).ok_or_else(no_record)?;
                let claimed = Claimed::now(self.index, self.namespace, &key);
                claimed.owned_by(&session.id).write(draft, &claim)?;
                draft.revision
            }
        };
        let record = match op.load {
            true => self.sight(None, name, draft.get(&key)?).into_seen()?,
            false => None,
        };
        Ok(ClaimResult {
            token,
            record: record.map(|record| record.to_proto()),
        })
    }

    fn release(&self, draft: &mut Draft<'_>, op: &ReleaseOp) -> Result<ReleaseResult, StoreError> {
        let (_, key) = self.key(op.key.as_ref())?;
        let claim = self.index.claim(&key);
        let released = claim.is_some_and(|claim| *claim.session == *self.caller.session);
        if released {
            let claim = keys::claim(&key).ok_or_else(no_record)?;
            let claimed = Claimed::now(self.index, self.namespace, &key);
            claimed.without(self.caller.session).write(draft, &claim)?;
        }
        Ok(ReleaseResult { released })
    }

    fn set_cursor(
        &self,
        draft: &mut Draft<'_>,
        op: &SetCursorOp,
    ) -> Result<SetCursorResult, StoreError> {
        let key = keys::system(self.namespace, keys::System::Cursor, &op.name);
        if op.position.is_empty() {
            draft.delete(&key)?;
        } else {
            draft.put(&key, op.position.clone(), 0, 0)?;
        }
        Ok(SetCursorResult {})
    }

    fn txn(&self, draft: &mut Draft<'_>, txn: &TxnOp) -> Result<TxnResult, StoreError> {
        let failed = self.first_failed(draft, &txn.guards)?;
        let succeeded = failed.is_none();
        if let Some(error) = failed
            && txn.otherwise.is_empty()
        {
            return Err(error);
        }
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let mut room = Room::new(self.answer_bytes);
        let results = ops.iter().map(|op| {
            let result = self.evaluate(draft, op)?;
            match &result.kind {
                Some(op_result::Kind::Get(get)) => room.take(get.record.as_ref())?,
                Some(op_result::Kind::Patch(patch)) => {
                    room.take(patch.record.as_ref())?;
                    room.take_bytes(patch.step_results.iter().map(Bytes::len).sum())?;
                }
                _ => {}
            }
            Ok(result)
        });
        let results = results.collect::<Result<_, StoreError>>()?;
        // The caller corrects the revision of a transaction that turns out to write nothing.
        Ok(TxnResult {
            succeeded,
            revision: draft.revision,
            results,
        })
    }

    fn first_failed(
        &self,
        draft: &Draft<'_>,
        guards: &[Guard],
    ) -> Result<Option<StoreError>, StoreError> {
        // Those of one record mostly follow one another.
        let mut last = None;
        for guard in guards {
            let (name, key) = self.key(guard.key.as_ref())?;
            let sight = match last.take() {
                Some((of, sight)) if of == key => sight,
                _ => self.sight(None, name, draft.get(&key)?),
            };
            let (_, sight) = last.insert((key, sight));
            if let Some(predicate) = &guard.predicate
                && let Some(failure) = sight.failure(predicate)?
            {
                return Ok(Some(sight.conflict(failure)));
            }
        }
        Ok(None)
    }

    fn key<'k>(&self, key: Option<&'k RecordKey>) -> Result<(&'k RecordKey, Bytes), StoreError> {
        let name = key.ok_or_else(no_record)?;
        Ok((
            name,
            keys::record(self.namespace, &name.collection, &name.key),
        ))
    }

    /// A record that the caller may write.
    fn writable<'k>(
        &self,
        key: Option<&'k RecordKey>,
    ) -> Result<(&'k RecordKey, Bytes), StoreError> {
        let (name, key) = self.key(key)?;
        self.may_write(name, &key)?;
        Ok((name, key))
    }

    /// Refuses to write a record that another session owns, or that nobody may write without owning it.
    pub fn may_write(&self, name: &RecordKey, key: &[u8]) -> Result<(), StoreError> {
        match self.index.claim(key) {
            Some(claim) if *claim.session == *self.caller.session => Ok(()),
            Some(claim) => Err(self.not_owner(name, claim)),
            None if (self.index).is_taken_from(self.namespace, self.caller.session, key) => {
                Err(taken(name))
            }
            None => {
                let settings = self.config.collection(self.namespace, &name.collection);
                if settings.is_some_and(|c| c.claims == ClaimRule::Required) {
                    let message = format!(
                        "{}/{}: records of this collection are written by their owners only (collections, claims = \
                         \"required\"): claim it first",
                        name.collection,
                        name.key.escape_ascii()
                    );
                    return Err(at(name, StoreError::new(Reason::NotOwner, message)));
                }
                Ok(())
            }
        }
    }

    fn not_owner(&self, name: &RecordKey, claim: &Claim) -> StoreError {
        let session = self.index.session(self.namespace, &claim.session);
        let holder = session.map_or_else(|| claim.session.to_string(), |s| s.identity());
        let message = format!(
            "{}/{}: it is owned by {holder}",
            name.collection,
            name.key.escape_ascii()
        );
        let mut error = at(name, StoreError::new(Reason::NotOwner, message));
        error.holder = holder;
        error
    }

    /// A record as an operation sees it that names this version, or else means the caller's.
    fn sight<'s>(
        &'s self,
        named: Option<u32>,
        name: &'s RecordKey,
        record: Option<Record>,
    ) -> Sight<'s> {
        Sight::new(self.lens, named, name, record)
    }

    /// Whether an operation that names this version, or else means the caller's, means an older one than the store's.
    fn is_behind(&self, name: &RecordKey, named: Option<u32>) -> Result<bool, StoreError> {
        self.lens
            .map_or(Ok(false), |lens| lens.is_behind(&name.collection, named))
    }

    /// A value of this version, or else of the caller's, as it is stored, with the version that it has then.
    fn as_stored(
        &self,
        name: &RecordKey,
        value: Bytes,
        named: Option<u32>,
    ) -> Result<(Bytes, u32), StoreError> {
        match self.lens {
            Some(lens) => lens.to_store(&name.collection, &name.key, value, named),
            None => Ok((value, named.unwrap_or(0))),
        }
    }

    fn expires_at_ms(&self, ttl_ms: u64) -> u64 {
        if ttl_ms == 0 { 0 } else { self.now_ms + ttl_ms }
    }
}

fn no_record() -> StoreError {
    StoreError::new(Reason::Invalid, "the operation names no record")
}

/// An empty MessagePack map.
const EMPTY_MAP: &[u8] = &[0x80];

fn taken(key: &RecordKey) -> StoreError {
    let message = format!(
        "{}/{}: an operator brought it back to an earlier state, and took it from its owner: claim it again",
        key.collection,
        key.key.escape_ascii()
    );
    let mut error = at(key, StoreError::new(Reason::NotOwner, message));
    error.holder = TAKEN_BY_RESTORE.into();
    error
}

fn at(key: &RecordKey, mut error: StoreError) -> StoreError {
    error.key.get_or_insert_with(|| key.clone());
    error
}
