//! The answers of reads, in the version that the caller speaks.
//!
//! A record that cannot be brought there fails a read that asked for it, and is told as unreadable in a scan, which goes on.
//! Where nobody knows the caller's version, that is the answer.
//! What was brought there already stays as it is, so an answer may pass twice.

use stillpoint_proto::v1::{
    BatchGetOp, BatchGetResult, GetResult, Op, OpResult, Record, RecordKey, ScanOp, ScanResult,
    StoreError, TxnOp, TxnResult, op, op_result,
};

use super::Lens;
use crate::store::read::Room;

impl Lens {
    /// Brings what an operation read to the caller's version.
    pub fn result(&self, op: &op::Kind, result: &mut OpResult) {
        let Some(kind) = &mut result.kind else {
            return;
        };
        if let Err(error) = self.kind(op, kind) {
            *kind = op_result::Kind::Error(error);
        }
    }

    /// About how many records of an answer have another version than the caller's. Nothing is left out.
    pub(in crate::store) fn foreign(&self, op: &op::Kind, kind: &op_result::Kind) -> usize {
        match (op, kind) {
            (op::Kind::BatchGet(op), op_result::Kind::BatchGet(found)) => {
                let pairs = op.keys.iter().zip(&found.results);
                let records = pairs.filter_map(|(key, found)| Some((key, found.record.as_ref()?)));
                records
                    .filter(|(key, record)| self.is_foreign(&key.collection, record))
                    .count()
            }
            (op::Kind::Scan(op), op_result::Kind::Scan(found)) => {
                let records = found.entries.iter().filter_map(|e| e.record.as_ref());
                records
                    .filter(|record| self.is_foreign(&op.collection, record))
                    .count()
            }
            (op::Kind::Txn(_), op_result::Kind::Txn(found)) => found.results.len(),
            _ => 1,
        }
    }

    fn kind(&self, op: &op::Kind, kind: &mut op_result::Kind) -> Result<(), StoreError> {
        match (op, kind) {
            (op, op_result::Kind::Error(error)) => self.current(named_by(op), error),
            (op::Kind::Get(op), op_result::Kind::Get(found)) if !op.raw => {
                self.record(None, op.key.as_ref(), found.record.as_mut())
            }
            (op::Kind::BatchGet(op), op_result::Kind::BatchGet(found)) if !op.raw => {
                self.batch(op, found)
            }
            (op::Kind::Scan(op), op_result::Kind::Scan(found)) if !(op.raw || op.keys_only) => {
                self.version(&op.collection)?;
                self.page(op, found);
                Ok(())
            }
            (op::Kind::Txn(op), op_result::Kind::Txn(found)) => self.txn(op, found),
            (op::Kind::Patch(op), op_result::Kind::Patch(found)) => {
                self.record(op.schema, op.key.as_ref(), found.record.as_mut())
            }
            (op::Kind::Claim(op), op_result::Kind::Claim(found)) => {
                self.record(None, op.key.as_ref(), found.record.as_mut())
            }
            _ => Ok(()),
        }
    }

    fn record(
        &self,
        named: Option<u32>,
        key: Option<&RecordKey>,
        record: Option<&mut Record>,
    ) -> Result<(), StoreError> {
        match (key, record) {
            (Some(key), Some(record)) => self.see_as(named, &key.collection, &key.key, record),
            _ => Ok(()),
        }
    }

    /// The record that a failed guard carries; where it cannot be brought to the version that is named, in the caller's.
    fn current(&self, named: Option<u32>, error: &mut StoreError) -> Result<(), StoreError> {
        let StoreError { key, current, .. } = error;
        let key = key.as_ref();
        self.record(named, key, current.as_mut())
            .or_else(|_| self.record(None, key, current.as_mut()))
    }

    fn batch(&self, op: &BatchGetOp, found: &mut BatchGetResult) -> Result<(), StoreError> {
        let mut room = Room::new(self.table.answer_bytes);
        for (key, GetResult { record, .. }) in op.keys.iter().zip(&mut found.results) {
            self.record(None, Some(key), record.as_mut())?;
            room.take(record.as_ref())?;
        }
        Ok(())
    }

    /// The page may become larger, and then ends earlier.
    fn page(&self, op: &ScanOp, found: &mut ScanResult) {
        let mut bytes = 0;
        let mut fitting = 0;
        for entry in &mut found.entries {
            if bytes >= self.table.answer_bytes {
                break;
            }
            fitting += 1;
            if let Some(record) = &mut entry.record {
                self.show(&op.collection, &entry.key, record);
                bytes += entry.key.len() + record.value.len() + record.unreadable.len();
            }
        }
        if fitting < found.entries.len() {
            found.more = true;
            found.next_key = match op.reverse {
                // `end` is exclusive: the last key given is where to go on.
                true => found.entries[fitting - 1].key.clone(),
                false => found.entries[fitting].key.clone(),
            };
            found.entries.truncate(fitting);
        }
    }

    fn txn(&self, op: &TxnOp, found: &mut TxnResult) -> Result<(), StoreError> {
        let ops = match found.succeeded {
            true => &op.then,
            false => &op.otherwise,
        };
        for (Op { kind }, result) in ops.iter().zip(&mut found.results) {
            if let (Some(op), Some(kind)) = (kind, &mut result.kind) {
                self.kind(op, kind)?;
            }
        }
        Ok(())
    }
}

/// The version that a write names.
fn named_by(op: &op::Kind) -> Option<u32> {
    match op {
        op::Kind::Put(put) => put.schema,
        op::Kind::Patch(patch) => patch.schema,
        _ => None,
    }
}
