//! Answers that wait for their batch.

use std::sync::Arc;

use stillpoint_proto::v1::{OpResult, StoreError, op_result::Kind};

use crate::store::{
    give_back::GivenBack, own_record::Committed, request::Answers, schema::SchemaCommitted,
    session::Session,
};

/// Answers that wait for the sync.
pub(super) enum Waiting {
    Job {
        namespace: Arc<str>,
        results: Vec<OpResult>,
        reply: Box<dyn FnOnce(Answers) + Send>,
    },
    Session {
        result: Result<Option<Session>, StoreError>,
        reply: Box<dyn FnOnce(Result<Option<Session>, StoreError>) + Send>,
    },
    Own {
        result: Result<Committed, StoreError>,
        reply: Box<dyn FnOnce(Result<Committed, StoreError>) + Send>,
    },
    GivenBack {
        result: Result<GivenBack, StoreError>,
        reply: Box<dyn FnOnce(Result<GivenBack, StoreError>) + Send>,
    },
    Schema {
        result: Result<SchemaCommitted, StoreError>,
        reply: Box<dyn FnOnce(Result<SchemaCommitted, StoreError>) + Send>,
    },
}

pub(super) fn refuse(waiting: Vec<Waiting>, error: &StoreError) {
    for waiting in waiting {
        match waiting {
            Waiting::Job { results, reply, .. } => {
                let result = OpResult {
                    kind: Some(Kind::Error(error.clone())),
                };
                reply(Answers {
                    results: vec![result; results.len()],
                    revision: 0,
                });
            }
            Waiting::Session { reply, .. } => reply(Err(error.clone())),
            Waiting::Own { reply, .. } => reply(Err(error.clone())),
            Waiting::GivenBack { reply, .. } => reply(Err(error.clone())),
            Waiting::Schema { reply, .. } => reply(Err(error.clone())),
        }
    }
}
