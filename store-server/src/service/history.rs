//! The commits that wrote a record, as they are told: to operators as a stream, on the data port page by page.
//!
//! A page is read from files, so on a thread that may wait for them: the connection goes on meanwhile. So that histories
//! never take the disk and the threads from everybody else, only some are read at a time, and each page reads a part of the
//! log; its caller asks on from there.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use prost::Message;
use stillpoint_proto::v1::{
    CommitOrigin, HistoryChange, HistoryOp, HistoryResult, Reason, StoreError,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout_at};

use crate::{
    log::Origin,
    store::{
        Store,
        history::{HistoryOf, Told, Written},
        session,
    },
};

/// The histories that are read on the data port.
#[derive(Debug)]
pub struct Histories {
    store: Store,
    permits: Arc<Semaphore>,
}

/// Pages that are read at a time; the others wait.
const READ_AT_A_TIME: usize = 2;

/// A page reads no further segment of the log once it has read so many bytes.
const READ_BYTES_MAX: u64 = 16 << 20;

/// Most commits in a page: their values are in memory together.
const PAGE_MAX: usize = 100;

impl Histories {
    /// Those of a store.
    pub fn new(store: Store) -> Arc<Histories> {
        Arc::new(Histories {
            store,
            permits: Arc::new(Semaphore::new(READ_AT_A_TIME)),
        })
    }

    /// Reads a page of a validated operation, before the deadline is over or not at all.
    pub async fn page(
        &self,
        namespace: &str,
        op: HistoryOp,
        deadline: Option<Instant>,
    ) -> Result<HistoryResult, StoreError> {
        let permit = self.permits.clone().acquire_owned();
        let permit = match deadline {
            Some(deadline) => timeout_at(deadline.into(), permit).await,
            None => Ok(permit.await),
        };
        let permit = permit
            .map_err(|_| {
                let message = "the caller's deadline passed before the history was read";
                StoreError::new(Reason::DeadlineExceeded, message)
            })?
            .map_err(|_| StoreError::new(Reason::Internal, "no history is read any more"))?;
        let store = self.store.clone();
        let of = HistoryOf {
            namespace: namespace.into(),
            key: op.key.unwrap_or_default(),
            before_revision: or_all(op.before_revision),
            before_seq: or_all(op.before_seq),
            read_bytes_max: READ_BYTES_MAX,
            limit: match op.limit as usize {
                0 => PAGE_MAX,
                limit => limit.min(PAGE_MAX),
            },
        };
        let read = spawn_blocking(move || {
            let _permit = permit;
            read_page(&store, &of)
        });
        read.await.unwrap_or_else(|_| {
            let message = "the server stopped before the history was read";
            Err(StoreError::new(Reason::Unavailable, message))
        })
    }
}

/// A bound that is 0 where there is none.
pub fn or_all(bound: u64) -> u64 {
    match bound {
        0 => u64::MAX,
        bound => bound,
    }
}

fn read_page(store: &Store, of: &HistoryOf) -> Result<HistoryResult, StoreError> {
    let bytes_max = store.config().limits.answer_bytes();
    let mut changes = Vec::new();
    let mut bytes = 0;
    let mut left_out = None;
    let end = store.history(of, |told| {
        if let Told::Written(written) = told {
            let seq = written.seq;
            let change = change(written);
            bytes += change.encoded_len();
            if bytes > bytes_max && !changes.is_empty() {
                left_out = Some(seq);
                return ControlFlow::Break(());
            }
            changes.push(change);
        }
        ControlFlow::Continue(())
    })?;
    Ok(HistoryResult {
        changes,
        // One that is left out is the first of the next page.
        next_seq: left_out.map_or(end.next_seq, |seq| seq + 1),
        log_first_seq: end.log_first_seq,
        log_first_ms: end.log_first_ms,
    })
}

/// A commit, as it is told.
pub fn change(written: Written) -> HistoryChange {
    let (service, instance) = session::identity_of(&written.session).unwrap_or_default();
    HistoryChange {
        revision: written.revision,
        seq: written.seq,
        time_ms: written.time_ms,
        origin: match written.origin {
            Origin::Client => CommitOrigin::Client,
            Origin::Expiry => CommitOrigin::Expiry,
            Origin::Session => CommitOrigin::Store,
            Origin::Migration => CommitOrigin::Migration,
        }
        .into(),
        service: service.into(),
        instance: instance.into(),
        session_id: written.session,
        actor: written.actor,
        record: written.record.map(|record| record.to_proto()),
        records_written: written.records_written.try_into().unwrap_or(u32::MAX),
    }
}
