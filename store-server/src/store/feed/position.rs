//! Places in the history of a namespace.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A place in the history of a namespace, where a watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The store's incarnation.
    pub incarnation: u64,
    /// The namespace's revision.
    pub revision: u64,
    /// Sequence number in the log up to which nothing is left to tell.
    pub seq: u64,
}

/// What the bytes of a position begin with.
const POSITION_VERSION: u8 = 1;

/// Bytes of a position.
const POSITION_BYTES: usize = 25;

impl Position {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(POSITION_BYTES);
        out.put_u8(POSITION_VERSION);
        for number in [self.incarnation, self.revision, self.seq] {
            out.put_u64(number);
        }
        out.freeze()
    }

    /// Reads its bytes; `None`: they are none.
    pub fn decode(mut bytes: &[u8]) -> Option<Position> {
        if bytes.len() != POSITION_BYTES || bytes.get_u8() != POSITION_VERSION {
            return None;
        }
        Some(Position {
            incarnation: bytes.get_u64(),
            revision: bytes.get_u64(),
            seq: bytes.get_u64(),
        })
    }
}
