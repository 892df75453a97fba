//! A copy of a document that a patch works on.
//!
//! Only the bytes that change are touched. A container's head holds the number of its values, so an insertion changes
//! that one head (which may get wider: 15 entries fit into one byte, 16 need three) and no other.
//!
//! An insertion moves all bytes behind it, and finding a place walks all bytes before it. A patch of many steps on a
//! large document therefore costs steps times length; both are bounded by the limits, and documents are small.

use std::ops::Range;

use stillpoint_proto::v1::{Reason, StoreError};

use crate::value::{
    encode,
    place::{Container, Missing},
};

/// A document that is being changed.
#[derive(Clone, Debug)]
pub struct WorkingCopy {
    bytes: Vec<u8>,
}

impl WorkingCopy {
    /// A copy of the document.
    pub fn new(document: &[u8]) -> Self {
        // A step mostly makes a number a little wider or adds one entry.
        let mut bytes = Vec::with_capacity(document.len() + 64);
        bytes.extend_from_slice(document);
        WorkingCopy { bytes }
    }

    /// The document as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The document as it is in the end.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts other bytes in the place of some.
    pub fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let (len, new_end) = (self.bytes.len(), range.start + with.len());
        if new_end > range.end {
            self.bytes.resize(len + (new_end - range.end), 0);
        }
        self.bytes.copy_within(range.end..len, new_end);
        self.bytes.truncate(len - range.end + new_end);
        self.bytes[range.start..new_end].copy_from_slice(with);
    }

    /// Adds `count` elements, or entries, to the end of a container. Answers how many it has then.
    pub fn insert(
        &mut self,
        place: &Missing,
        content: &[u8],
        count: u32,
    ) -> Result<u32, StoreError> {
        let container = &place.container;
        let new_count = container.count.checked_add(count).ok_or_else(|| {
            StoreError::new(
                Reason::TooLarge,
                "an array or map has at most 2^32 - 1 places",
            )
        })?;
        self.replace(place.at..place.at, content);
        self.recount(container, new_count);
        Ok(new_count)
    }

    /// Takes one element or entry out of a container.
    pub fn remove(&mut self, container: &Container, range: Range<usize>) {
        self.replace(range, &[]);
        self.recount(container, container.count.saturating_sub(1));
    }

    /// Rewrites a container's head.
    fn recount(&mut self, container: &Container, count: u32) {
        let mut head = Vec::with_capacity(5);
        if container.is_map {
            encode::map(&mut head, count);
        } else {
            encode::array(&mut head, count);
        }
        self.replace(container.head.clone(), &head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_what_is_around() {
        for (with, expected) in [
            (&b""[..], &b"abefg"[..]),
            (b"x", b"abxefg"),
            (b"xy", b"abxyefg"),
            (b"a longer text", b"aba longer textefg"),
        ] {
            let mut copy = WorkingCopy::new(b"abcdefg");
            copy.replace(2..4, with);
            assert_eq!(copy.bytes(), expected);
        }
    }
}
