//! Frames and seals, as bytes.
//!
//! A frame is a header of [`HEADER_BYTES`] and a payload. All numbers are little-endian.
//!
//! ```text
//!  0  magic       4  b"FRAM", or b"SEAL" for the seal at the end of a segment
//!  4  length      4  bytes of the payload
//!  8  first_seq   8  sequence number of the first entry
//! 16  synced_seq  8  the log was on disk up to here when the frame was written
//! 24  count       4  entries in the payload
//! 28  crc         4  CRC32C of the frame's offset in its file (8), the header without this field, and the payload
//! ```
//!
//! The offset makes a frame count only where it was written: bytes that a client stored never pass for one.
//!
//! The payload of a frame is its entries, each with its length (4 bytes) before it. The payload of a seal is the CRC32C
//! of all of the segment before it (4 bytes).

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 32;

/// Bytes of a whole seal.
pub const SEAL_BYTES: usize = HEADER_BYTES + 4;

/// Most bytes of one payload. A length beyond it is damage, not a reason to allocate.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// Bytes of the payload that a header announces, if it is a frame's.
pub fn payload_bytes(header: &[u8]) -> Option<usize> {
    let header = header.first_chunk::<HEADER_BYTES>()?;
    let length = u32_at(header, 4) as usize;
    (length <= PAYLOAD_BYTES_MAX).then_some(length)
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries.
    Entries,
    /// The end of a segment.
    Seal,
}

impl Kind {
    const fn magic(self) -> [u8; 4] {
        match self {
            Kind::Entries => *b"FRAM",
            Kind::Seal => *b"SEAL",
        }
    }
}

/// A frame that was read and found intact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Sequence number of the first entry; for a seal, of the first entry of the next segment.
    pub first_seq: u64,
    /// The log was on disk up to here when the frame was written.
    pub synced_seq: u64,
    /// Entries in the payload.
    pub count: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`, which is at `offset` of its file; `None` if there is no intact one.
    pub fn decode(bytes: &'a [u8], offset: u64) -> Option<Frame<'a>> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let kind = match &header[0..4] {
            b"FRAM" => Kind::Entries,
            b"SEAL" => Kind::Seal,
            _ => return None,
        };
        let payload = rest.get(..payload_bytes(header)?)?;
        if crc(offset, header, payload) != u32_at(header, 28) {
            return None;
        }
        let (first_seq, count) = (u64_at(header, 8), u32_at(header, 24));
        // So that the sequence numbers of its entries can be counted.
        (first_seq > 0).then(|| first_seq.checked_add(count.into()))??;
        Some(Frame {
            kind,
            first_seq,
            synced_seq: u64_at(header, 16),
            count,
            payload,
        })
    }

    /// Bytes of the whole frame.
    pub fn len_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Sequence number of the last entry (one less than the first for a seal).
    pub fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count) - 1
    }

    /// The entries' bytes, in order, each with its sequence number. A frame whose checksum held and whose lengths do
    /// not fit ends early.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut rest = self.payload;
        (self.first_seq..).map_while(move |seq| {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (entry, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = tail;
            Some((seq, entry))
        })
    }
}

/// Bytes of its buffer that a builder keeps for the next frame.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Builds one frame in a buffer that is used again and again.
#[derive(Debug)]
pub struct FrameBuilder {
    buffer: Vec<u8>,
    first_seq: u64,
    count: u32,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        FrameBuilder {
            buffer: vec![0; HEADER_BYTES],
            first_seq: 0,
            count: 0,
        }
    }
}

impl FrameBuilder {
    /// Begins a frame whose first entry has this sequence number.
    pub fn begin(&mut self, first_seq: u64) {
        self.buffer.truncate(HEADER_BYTES);
        self.buffer.shrink_to(KEPT_BYTES_MAX);
        self.first_seq = first_seq;
        self.count = 0;
    }

    /// Adds an entry; `encode` appends its bytes.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        encode(&mut self.buffer);
        let length = (self.buffer.len() - at - 4) as u32;
        self.buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// Entries so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    pub fn len_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Completes the frame, which is to stand at `offset` of its file, and gives its bytes.
    pub fn finish(&mut self, synced_seq: u64, offset: u64) -> &[u8] {
        write_header(
            &mut self.buffer,
            offset,
            Kind::Entries,
            self.first_seq,
            synced_seq,
            self.count,
        );
        &self.buffer
    }
}

/// The seal of a segment that has `offset` bytes so far, with this checksum.
pub fn seal(next_seq: u64, synced_seq: u64, offset: u64, segment_crc: u32) -> [u8; SEAL_BYTES] {
    let mut bytes = [0; SEAL_BYTES];
    bytes[HEADER_BYTES..].copy_from_slice(&segment_crc.to_le_bytes());
    write_header(&mut bytes, offset, Kind::Seal, next_seq, synced_seq, 0);
    bytes
}

/// The segment's checksum that a seal carries.
pub fn sealed_crc(seal: &Frame<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(seal.payload.try_into().ok()?))
}

fn write_header(
    bytes: &mut [u8],
    offset: u64,
    kind: Kind,
    first_seq: u64,
    synced_seq: u64,
    count: u32,
) {
    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    header[0..4].copy_from_slice(&kind.magic());
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&first_seq.to_le_bytes());
    header[16..24].copy_from_slice(&synced_seq.to_le_bytes());
    header[24..28].copy_from_slice(&count.to_le_bytes());
    let crc = crc(offset, header, payload);
    header[28..32].copy_from_slice(&crc.to_le_bytes());
}

fn crc(offset: u64, header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &header[..28]);
    crc32c::crc32c_append(crc, payload)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_any_bit_flipped_is_not_intact() {
        let mut builder = FrameBuilder::default();
        builder.begin(7);
        builder.push(|out| out.extend_from_slice(b"one"));
        builder.push(|out| out.extend_from_slice(b""));
        let good = builder.finish(6, 64).to_vec();
        let frame = Frame::decode(&good, 64).expect("intact");
        assert_eq!(
            (frame.first_seq, frame.last_seq(), frame.synced_seq),
            (7, 8, 6)
        );
        let entries: Vec<_> = frame.entries().collect();
        assert_eq!(entries, [(7, &b"one"[..]), (8, &b""[..])]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&bad, 64), None, "bit {bit}");
        }
        assert_eq!(Frame::decode(&good, 65), None, "it stands elsewhere");
        for cut in 0..good.len() {
            assert_eq!(Frame::decode(&good[..cut], 64), None, "cut at {cut}");
        }
    }
}
