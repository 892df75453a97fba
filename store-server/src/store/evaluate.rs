//! The rules: what each write operation does to a [`Draft`], and what it answers.

use bytes::Bytes;
use stillpoint_proto::v1::{
    DeleteOp, DeleteResult, GetOp, GetResult, Guard, Op, OpResult, PatchOp, PatchResult, Predicate,
    PutOp, PutResult, Reason, RecordKey, StoreError, TxnOp, TxnResult, op, op_result, predicate,
};

use super::{draft::Draft, keys, read::Room, record::Record};
use crate::value::{self, ValueLimits};

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
            op::Kind::BatchGet(_)
            | op::Kind::Scan(_)
            | op::Kind::ListCollections(_)
            | op::Kind::Txn(_) => {
                return Err(StoreError::new(
                    Reason::Invalid,
                    "this operation cannot be part of a transaction",
                ));
            }
        })
    }

    fn get(&self, draft: &Draft<'_>, get: &GetOp) -> Result<GetResult, StoreError> {
        let (_, key) = self.key(get.key.as_ref())?;
        Ok(GetResult {
            record: draft.get(&key)?.map(|record| record.to_proto()),
        })
    }

    fn put(&self, draft: &mut Draft<'_>, put: &PutOp) -> Result<PutResult, StoreError> {
        let (name, key) = self.key(put.key.as_ref())?;
        if !put.guards.is_empty() {
            let current = draft.get(&key)?;
            self.require(name, current.as_ref(), &put.guards)?;
        }
        let expires_at_ms = self.expires_at_ms(put.ttl_ms);
        let record = draft.put(&key, put.value.clone(), put.schema, expires_at_ms)?;
        Ok(PutResult {
            mod_rev: record.mod_rev,
            version: record.version,
        })
    }

    fn patch(&self, draft: &mut Draft<'_>, patch: &PatchOp) -> Result<PatchResult, StoreError> {
        let (name, key) = self.key(patch.key.as_ref())?;
        let current = draft.get(&key)?;
        self.require(name, current.as_ref(), &patch.guards)?;
        if current.is_none() && !patch.create {
            let message = "the record does not exist: patch with `create`, or put it first";
            return Err(conflict(name, None, message.into()));
        }
        let (document, schema, expires_at_ms) = match &current {
            Some(record) => (&record.value[..], record.schema, record.expires_at_ms),
            None => (EMPTY_MAP, 0, 0),
        };
        let patched = value::patch(document, patch, self.values).map_err(|e| at(name, e))?;
        let expires_at_ms = patch
            .ttl_ms
            .map_or(expires_at_ms, |ttl_ms| self.expires_at_ms(ttl_ms));
        let record = draft.put(&key, patched.value.into(), schema, expires_at_ms)?;
        Ok(PatchResult {
            mod_rev: record.mod_rev,
            version: record.version,
            step_results: patched.step_results,
            record: patch.return_record.then(|| record.to_proto()),
        })
    }

    fn delete(&self, draft: &mut Draft<'_>, delete: &DeleteOp) -> Result<DeleteResult, StoreError> {
        let (name, key) = self.key(delete.key.as_ref())?;
        if !delete.guards.is_empty() {
            let current = draft.get(&key)?;
            self.require(name, current.as_ref(), &delete.guards)?;
        }
        let existed = draft.delete(&key)?;
        Ok(DeleteResult {
            existed,
            revision: if existed { draft.revision } else { 0 },
        })
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
        for guard in guards {
            let (name, key) = self.key(guard.key.as_ref())?;
            let current = draft.get(&key)?;
            if let Some(predicate) = &guard.predicate
                && let Some(failure) = self
                    .failure(current.as_ref(), predicate)
                    .map_err(|e| at(name, e))?
            {
                return Ok(Some(conflict(name, current.as_ref(), failure)));
            }
        }
        Ok(None)
    }

    fn require(
        &self,
        name: &RecordKey,
        current: Option<&Record>,
        guards: &[Predicate],
    ) -> Result<(), StoreError> {
        for guard in guards {
            if let Some(failure) = self.failure(current, guard).map_err(|e| at(name, e))? {
                return Err(conflict(name, current, failure));
            }
        }
        Ok(())
    }

    /// Why a predicate does not hold; `None` if it does.
    fn failure(
        &self,
        current: Option<&Record>,
        predicate: &Predicate,
    ) -> Result<Option<String>, StoreError> {
        let (mod_rev, version) = current.map_or((0, 0), |r| (r.mod_rev, r.version));
        let (holds, failure) = match &predicate.test {
            Some(predicate::Test::Exists(exists)) => (
                current.is_some() == *exists,
                if *exists {
                    "the record does not exist"
                } else {
                    "the record exists"
                }
                .into(),
            ),
            Some(predicate::Test::ModRev(expected)) => (
                mod_rev == *expected,
                format!("the record is at revision {mod_rev}, not {expected}"),
            ),
            Some(predicate::Test::Version(expected)) => (
                version == *expected,
                format!("the record is at version {version}, not {expected}"),
            ),
            Some(predicate::Test::Field(field)) => {
                let document = current.map(|r| &r.value[..]);
                (
                    value::holds(document, field)?,
                    "a field guard does not hold".into(),
                )
            }
            None => (false, "a guard is empty".into()),
        };
        Ok((!holds).then_some(failure))
    }

    fn key<'k>(&self, key: Option<&'k RecordKey>) -> Result<(&'k RecordKey, Bytes), StoreError> {
        let name =
            key.ok_or_else(|| StoreError::new(Reason::Invalid, "the operation names no record"))?;
        Ok((
            name,
            keys::record(self.namespace, &name.collection, &name.key),
        ))
    }

    fn expires_at_ms(&self, ttl_ms: u64) -> u64 {
        if ttl_ms == 0 { 0 } else { self.now_ms + ttl_ms }
    }
}

/// An empty MessagePack map.
const EMPTY_MAP: &[u8] = &[0x80];

fn conflict(key: &RecordKey, current: Option<&Record>, failure: String) -> StoreError {
    let name = format!("{}/{}", key.collection, key.key.escape_ascii());
    let mut error = StoreError::new(Reason::VersionConflict, format!("{name}: {failure}"));
    error.key = Some(key.clone());
    error.current = current.map(Record::to_proto);
    error
}

fn at(key: &RecordKey, mut error: StoreError) -> StoreError {
    error.key.get_or_insert_with(|| key.clone());
    error
}
