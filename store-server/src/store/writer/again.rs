//! An answer that is given again.
//!
//! Whoever repeats a write may speak another version than who sent it first, and what is remembered from the log has the
//! store's. So its records are brought to the caller's version. Where that fails, the answer is what it was all the same,
//! since the write was done: then its record is told as unreadable.

use std::time::Duration;

use bytes::Bytes;
use stillpoint_proto::v1::{OpResult, Record, op, op_result::Kind};

use super::Writer;
use crate::store::{
    request::{Job, WriteItem},
    schema::Lens,
};

impl Writer {
    /// The answer to a write that was done before, as its caller is told it. What scripts take is added to `scripts`.
    pub(super) fn told_again(
        &self,
        job: &Job,
        item: &WriteItem,
        mut answer: OpResult,
        scripts: &mut Duration,
    ) -> OpResult {
        if let (Some(lens), Some(op)) = (self.lens(job), &item.op.kind) {
            show(&lens, op, &mut answer);
            *scripts += lens.used();
        }
        answer
    }
}

/// Brings an answer to the caller's version, each operation's for itself.
fn show(lens: &Lens, op: &op::Kind, answer: &mut OpResult) {
    if let (op::Kind::Txn(op), Some(Kind::Txn(done))) = (op, &mut answer.kind) {
        let ops = match done.succeeded {
            true => &op.then,
            false => &op.otherwise,
        };
        for (op, result) in ops.iter().zip(&mut done.results) {
            if let Some(op) = &op.kind {
                show(lens, op, result);
            }
        }
        return;
    }
    let mut shown = answer.clone();
    lens.result(op, &mut shown);
    match (shown.kind, &mut answer.kind) {
        (Some(Kind::Error(why)), Some(Kind::Error(refusal))) if why.reason != refusal.reason => {
            hide(refusal.current.as_mut(), &why.message);
        }
        (Some(Kind::Error(why)), Some(told)) if !matches!(told, Kind::Error(_)) => {
            for record in records(told) {
                hide(Some(record), &why.message);
            }
        }
        (shown, told) => *told = shown,
    }
}

fn hide(record: Option<&mut Record>, why: &str) {
    if let Some(record) = record {
        record.value = Bytes::new();
        record.unreadable = why.into();
    }
}

/// The records of an answer which fails whole if one of them does.
fn records(answer: &mut Kind) -> Vec<&mut Record> {
    match answer {
        Kind::Get(found) => found.record.iter_mut().collect(),
        Kind::BatchGet(found) => {
            let found = found.results.iter_mut();
            found.filter_map(|found| found.record.as_mut()).collect()
        }
        Kind::Scan(page) => {
            let entries = page.entries.iter_mut();
            entries.filter_map(|entry| entry.record.as_mut()).collect()
        }
        Kind::Patch(done) => done.record.iter_mut().collect(),
        Kind::Claim(done) => done.record.iter_mut().collect(),
        _ => Vec::new(),
    }
}
