//! The frames a client sends, with each operation encoded once.
//!
//! An embedded message and a bytes field look the same on the wire. So a [`Frame`] is a `PipelineRequest` whose
//! operations are already bytes: sending one again costs a reference count, and its size is known before it is sent.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{self, op::Kind};

use crate::ledger::millis;

/// `v1::PipelineRequest` on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Frame {
    #[prost(message, optional, tag = "1")]
    pub open: Option<v1::PipelineOpen>,
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<Item>,
}

/// `v1::PipelineItem` on the wire.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Item {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub lane: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub op: Bytes,
    #[prost(uint64, tag = "4")]
    pub sequence: u64,
    #[prost(uint64, tag = "5")]
    pub first_incomplete: u64,
    #[prost(enumeration = "v1::Durability", tag = "6")]
    pub durability: i32,
    #[prost(uint32, tag = "7")]
    pub timeout_ms: u32,
    #[prost(message, optional, tag = "8")]
    pub once: Option<v1::OnceKey>,
}

/// More bytes than an item's own fields and the frame around it ever take, the operation and the once key aside.
pub(crate) const ITEM_OVERHEAD_BYTES: usize = 64;

/// What is left of a claim's deadline for the answer, at most.
const CLAIM_ANSWER_MAX: Duration = Duration::from_millis(100);

/// Encodes an operation.
pub(crate) fn encode(op: &v1::Op) -> Bytes {
    op.encode_to_vec().into()
}

/// Encodes an operation that has this long. A claim does not wait longer: whoever made it then hears who the owner is, not
/// only that the time is up.
pub(crate) fn encode_within(op: &v1::Op, deadline: Duration) -> Bytes {
    if let Some(Kind::Claim(claim)) = &op.kind {
        let answered_in = (deadline / 8).min(CLAIM_ANSWER_MAX);
        let wait_ms_max = millis(deadline.saturating_sub(answered_in));
        if u64::from(claim.wait_ms) > wait_ms_max {
            return encode(&v1::Op {
                kind: Some(Kind::Claim(v1::ClaimOp {
                    wait_ms: u32::try_from(wait_ms_max).unwrap_or(u32::MAX),
                    ..claim.clone()
                })),
            });
        }
    }
    encode(op)
}

/// Whether an operation may change something, and so needs a number.
pub(crate) fn is_write(op: &v1::Op) -> bool {
    match &op.kind {
        Some(
            Kind::Put(_)
            | Kind::Patch(_)
            | Kind::Delete(_)
            | Kind::Claim(_)
            | Kind::Release(_)
            | Kind::SetTimer(_)
            | Kind::CancelTimer(_)
            | Kind::FinishTimer(_)
            | Kind::SetCursor(_),
        ) => true,
        Some(Kind::Txn(txn)) => txn.then.iter().chain(&txn.otherwise).any(is_write),
        Some(
            Kind::Get(_)
            | Kind::BatchGet(_)
            | Kind::Scan(_)
            | Kind::ListCollections(_)
            | Kind::History(_),
        )
        | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> v1::Op {
        v1::Op {
            kind: Some(Kind::Put(v1::PutOp {
                value: Bytes::from_static(b"\x01"),
                ttl_ms: 5,
                ..Default::default()
            })),
        }
    }

    fn once() -> v1::OnceKey {
        v1::OnceKey {
            name: vec![b'n'; 128].into(),
            since_revision: u64::MAX,
        }
    }

    #[test]
    fn a_frame_is_a_pipeline_request_on_the_wire() {
        let frame = Frame {
            open: Some(v1::PipelineOpen {
                client_name: "c".into(),
                ..Default::default()
            }),
            items: vec![Item {
                id: 1,
                lane: 2,
                op: encode(&put()),
                sequence: 3,
                first_incomplete: 4,
                durability: v1::Durability::Applied.into(),
                timeout_ms: 6,
                once: Some(once()),
            }],
        };
        let request = v1::PipelineRequest::decode(frame.encode_to_vec().as_slice()).unwrap();
        assert_eq!(request.open, frame.open);
        assert_eq!(
            request.items,
            vec![v1::PipelineItem {
                id: 1,
                lane: 2,
                op: Some(put()),
                sequence: 3,
                first_incomplete: 4,
                durability: v1::Durability::Applied.into(),
                timeout_ms: 6,
                once: Some(once()),
            }]
        );
        assert_eq!(request.encode_to_vec(), frame.encode_to_vec());
    }

    #[test]
    fn a_claim_waits_no_longer_than_its_deadline_and_an_answer_take() {
        let claim = |wait_ms| v1::Op {
            kind: Some(Kind::Claim(v1::ClaimOp {
                wait_ms,
                steal: true,
                ..Default::default()
            })),
        };
        let sent = |wait_ms, deadline| {
            let bytes = encode_within(&claim(wait_ms), Duration::from_millis(deadline));
            v1::Op::decode(bytes).unwrap()
        };
        assert!(is_write(&claim(0)));
        assert_eq!(sent(0, 2000), claim(0));
        assert_eq!(sent(1500, 2000), claim(1500));
        assert_eq!(sent(2000, 2000), claim(1900));
        assert_eq!(sent(u32::MAX, 80), claim(70));
    }

    #[test]
    fn the_overhead_of_an_item_is_never_underestimated() {
        let frame = Frame {
            open: None,
            items: vec![Item {
                id: u64::MAX,
                lane: u64::MAX,
                op: vec![0; 1 << 20].into(),
                sequence: u64::MAX,
                first_incomplete: u64::MAX,
                durability: 2,
                timeout_ms: u32::MAX,
                once: Some(once()),
            }],
        };
        let bytes_max = (1 << 20) + once().encoded_len() + ITEM_OVERHEAD_BYTES;
        assert!(frame.encoded_len() <= bytes_max);
    }

    #[test]
    fn a_transaction_is_a_write_if_anything_in_it_is() {
        let txn = |then, otherwise| v1::Op {
            kind: Some(Kind::Txn(v1::TxnOp {
                then,
                otherwise,
                ..Default::default()
            })),
        };
        let get = v1::Op {
            kind: Some(Kind::Get(v1::GetOp::default())),
        };
        assert!(is_write(&put()));
        assert!(!is_write(&get));
        assert!(!is_write(&txn(vec![get.clone()], vec![])));
        assert!(is_write(&txn(vec![get], vec![put()])));
    }
}
