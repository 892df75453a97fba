//! The commits that wrote a record, told as they are found.

use std::ops::ControlFlow;

use stillpoint_proto::v1::{
    GetHistoryRequest, GetHistoryResponse, GetOp, HistoryEnd, HistoryScanned, Op, Reason,
    RequestContext, ResponseHeader, StoreError, get_history_response::Kind, op,
};
use tokio::sync::mpsc;
use tonic::Status;

use crate::{
    service::history::{change, or_all},
    store::{
        Store,
        history::{End, HistoryOf, Told},
    },
};

/// Messages on their way to a caller. A slow one holds up the reading, not the store.
const TOLD_MAX: usize = 16;

/// Begins to read a record's history, on a thread that may wait for files.
pub fn begin(
    store: &Store,
    request: GetHistoryRequest,
) -> Result<mpsc::Receiver<Result<GetHistoryResponse, Status>>, StoreError> {
    let of = check(store, request)?;
    let (sender, told) = mpsc::channel(TOLD_MAX);
    let header = ResponseHeader {
        revision: store.reader().revision(&of.namespace),
        ..store.header()
    };
    let store = store.clone();
    tokio::task::spawn_blocking(move || {
        let message = |kind| {
            Ok(GetHistoryResponse {
                header: Some(header.clone()),
                kind: Some(kind),
            })
        };
        let ended = store.history(&of, |told| {
            let kind = match told {
                Told::Written(written) => Kind::Change(change(written)),
                Told::Scanned { bytes, bytes_total } => {
                    Kind::Scanned(HistoryScanned { bytes, bytes_total })
                }
            };
            match sender.blocking_send(message(kind)) {
                Ok(()) => ControlFlow::Continue(()),
                // The caller has left.
                Err(_) => ControlFlow::Break(()),
            }
        });
        let last = match ended {
            Ok(ended) => message(Kind::End(end(ended))),
            Err(error) => Err(error.to_status()),
        };
        drop(sender.blocking_send(last));
    });
    Ok(told)
}

fn check(store: &Store, request: GetHistoryRequest) -> Result<HistoryOf, StoreError> {
    store.check_context(&RequestContext {
        namespace: request.namespace.clone(),
        ..RequestContext::default()
    })?;
    let kind = Some(op::Kind::Get(GetOp {
        key: request.key.clone(),
        with_claim: false,
        raw: false,
    }));
    store.check(&request.namespace, &Op { kind })?;
    let key = request.key.ok_or_else(|| {
        StoreError::new(
            Reason::Invalid,
            "the request names no record: set its `key`",
        )
    })?;
    Ok(HistoryOf {
        namespace: request.namespace,
        key,
        before_revision: or_all(request.before_revision),
        before_seq: u64::MAX,
        read_bytes_max: u64::MAX,
        limit: match request.limit {
            0 => usize::MAX,
            limit => limit as usize,
        },
    })
}

fn end(end: End) -> HistoryEnd {
    HistoryEnd {
        whole_log: end.next_seq == 0,
        log_first_seq: end.log_first_seq,
        log_first_ms: end.log_first_ms,
    }
}
