//! What comes into the store and what goes out of it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use stillpoint_proto::v1::{Durability, OnceKey, Op, OpResult, RequestContext};

/// Writes of one caller, answered together.
pub struct Job {
    /// Namespace of all of them.
    pub namespace: Arc<str>,
    /// The caller's session; empty for none.
    pub session: Arc<str>,
    /// The caller's fence; 0 without a session.
    pub fence: u64,
    /// The writes, in order.
    pub items: Vec<WriteItem>,
    /// Gets the answers, once: one per item, in order. Called on the writer's thread, so it must not block.
    pub reply: Box<dyn FnOnce(Answers) + Send>,
}

/// One write.
#[derive(Clone, Debug)]
pub struct WriteItem {
    /// The operation.
    pub op: Op,
    /// Its idempotency key, if it has one.
    pub writer: Option<WriterKey>,
    /// The key that names it for whoever repeats it, if it has one.
    pub once: Option<OnceKey>,
    /// When it may be answered.
    pub durability: Durability,
    /// When the caller gives up; it is not begun after that.
    pub deadline: Option<Instant>,
}

/// An idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterKey {
    /// The writer.
    pub id: Bytes,
    /// The write's number.
    pub sequence: u64,
    /// All numbers below are answered.
    pub first_incomplete: u64,
}

impl WriterKey {
    /// The key of a request; `None` if it carries none.
    pub fn from_context(context: &RequestContext) -> Option<WriterKey> {
        let key = context.idempotency_key.as_ref()?;
        Some(WriterKey {
            id: key.writer_id.clone(),
            sequence: key.sequence,
            first_incomplete: key.first_incomplete,
        })
    }
}

/// Answers, and the namespace's revision that they reflect.
#[derive(Debug)]
pub struct Answers {
    /// One per operation, in order.
    pub results: Vec<OpResult>,
    /// The namespace's newest revision.
    pub revision: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("namespace", &self.namespace)
            .field("items", &self.items)
            .finish()
    }
}
