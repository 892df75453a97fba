//! One operation and how far it got.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1;

use crate::{Outcome, wire::ITEM_OVERHEAD_BYTES};

/// An operation as it is handed in.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The encoded operation.
    pub op: Bytes,
    pub is_write: bool,
    pub lane: u64,
    pub durability: i32,
    pub once: Option<v1::OnceKey>,
    pub submitted_at: Instant,
    pub deadline: Instant,
    /// Whether `next` tells of its completion.
    pub announce: bool,
}

/// An operation until its outcome is taken.
#[derive(Debug)]
pub(crate) struct Slot {
    pub phase: Phase,
    pub op: Bytes,
    /// Number of the write; 0 for a read.
    pub sequence: u64,
    pub lane: u64,
    pub durability: i32,
    pub once: Option<v1::OnceKey>,
    pub submitted_at: Instant,
    pub deadline: Instant,
    /// It was under way when a connection broke, so nobody knows what became of it.
    pub unknown: bool,
    /// `next` has to tell of its completion.
    pub announce: bool,
    /// Nobody wants the outcome.
    pub forgotten: bool,
    /// Why the server refused it last, to be tried again.
    pub refusal: Option<Box<str>>,
}

/// How far an operation got.
// An allocation for each answer would cost more than the room in the few slots that wait.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waits to be sent.
    Queued,
    /// On its way, on the connection that stands.
    Sent,
    /// Over.
    Done(Outcome),
}

impl Submission {
    /// Bytes that it takes in a frame, at most.
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(&self.op, self.once.as_ref())
    }
}

fn frame_bytes(op: &Bytes, once: Option<&v1::OnceKey>) -> usize {
    op.len() + once.map_or(0, Message::encoded_len) + ITEM_OVERHEAD_BYTES
}

impl Slot {
    /// Bytes that it takes in a frame, at most.
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(&self.op, self.once.as_ref())
    }

    pub fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued)
    }

    pub fn is_sent(&self) -> bool {
        matches!(self.phase, Phase::Sent)
    }

    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    /// Whether the store may have applied it, for all the client knows.
    pub fn maybe_applied(&self) -> bool {
        self.sequence > 0 && (self.unknown || matches!(self.phase, Phase::Sent))
    }
}
