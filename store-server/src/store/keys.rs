//! Keys of the view: records by namespace, collection and key, and the store's own keys before them all.
//!
//! ```text
//! namespace \0 collection \0 key     a record; names have no \0, so order is by namespace, collection, key
//! namespace \0 @session \0 ...       what the store keeps in records itself, in collections that no client can name:
//!             @claim, @timer, @cursor  sessions by identity, claims by collection \0 key, timers by service \0 name, cursors
//!             @audit, @mark          what operators have asked, by number; moments that have a label, by label
//!             @script, @schema       migrations by collection \0 number; the version that each collection is at
//!             @quarantine            records that could not be migrated, by collection \0 key
//! \0 applied                         how far the engine is
//! \0 expiry \0 time (8) record key   a record that expires then, unless it was written since
//! ```

use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};

use crate::engine::KeyRange;

/// Where the engine keeps how far it is.
pub const APPLIED: &[u8] = b"\0applied";

const EXPIRY: &[u8] = b"\0expiry\0";

/// The key of a record.
pub fn record(namespace: &str, collection: &str, key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(namespace.len() + collection.len() + key.len() + 2);
    out.put_slice(namespace.as_bytes());
    out.put_u8(0);
    out.put_slice(collection.as_bytes());
    out.put_u8(0);
    out.put_slice(key);
    out.freeze()
}

/// The namespace, collection and key of a record's key; `None` for one of the store's own keys.
pub fn split_record(key: &[u8]) -> Option<(&str, &str, &[u8])> {
    let mut parts = key.splitn(3, |b| *b == 0);
    let namespace = std::str::from_utf8(parts.next()?).ok()?;
    let collection = std::str::from_utf8(parts.next()?).ok()?;
    let key = parts.next()?;
    (!namespace.is_empty()).then_some((namespace, collection, key))
}

/// The collections of the store's own records. Clients cannot name them: `@` is in no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Sessions, by identity.
    Session,
    /// Claims, by collection, 0 and key.
    Claim,
    /// Timers, by service, 0 and name.
    Timer,
    /// Cursors of watches, by name.
    Cursor,
    /// What operators have asked, by number.
    Audit,
    /// Moments that have a label, by label.
    Mark,
    /// Scripts of migrations, by collection, 0 and number.
    Script,
    /// How far the migrations of a collection are, by collection.
    Schema,
    /// Records that could not be migrated, by collection, 0 and key.
    Quarantine,
}

impl System {
    /// Those that the index has. Of the others there may be many more.
    pub const INDEXED: [System; 3] = [System::Session, System::Claim, System::Timer];

    fn name(self) -> &'static str {
        match self {
            System::Session => "@session",
            System::Claim => "@claim",
            System::Timer => "@timer",
            System::Cursor => "@cursor",
            System::Audit => "@audit",
            System::Mark => "@mark",
            System::Script => "@script",
            System::Schema => "@schema",
            System::Quarantine => "@quarantine",
        }
    }
}

/// The key of one of the store's own records.
pub fn system(namespace: &str, system: System, key: &[u8]) -> Bytes {
    record(namespace, system.name(), key)
}

/// The store's own records of one kind before this one; empty: all of them.
pub fn systems(namespace: &str, system: System, before: &[u8]) -> KeyRange {
    scan_range(namespace, system.name(), b"", b"", before)
}

/// Whether a collection is one of the store's own.
pub fn is_system(collection: &str) -> bool {
    collection.starts_with('@')
}

/// The namespace, collection and key of one of the store's own records; `None` for any other key.
pub fn split_system(key: &[u8]) -> Option<(&str, System, &[u8])> {
    // Nearly every key is a client's: look at one byte before anything else.
    let at = key.iter().position(|byte| *byte == 0)?;
    if key.get(at + 1) != Some(&b'@') {
        return None;
    }
    let (namespace, collection, name) = split_record(key)?;
    let all = [
        System::Session,
        System::Claim,
        System::Timer,
        System::Cursor,
        System::Audit,
        System::Mark,
        System::Script,
        System::Schema,
        System::Quarantine,
    ];
    let system = all.into_iter().find(|system| system.name() == collection)?;
    Some((namespace, system, name))
}

/// The store's own records of a namespace.
pub fn systems_of(namespace: &str) -> KeyRange {
    let bound = |end: u8| {
        let mut key = BytesMut::from(namespace.as_bytes());
        key.put_slice(&[0, end]);
        key.freeze()
    };
    (
        Bound::Included(bound(b'@')),
        Bound::Excluded(bound(b'@' + 1)),
    )
}

/// The key of the claim on a record.
pub fn claim(record_key: &[u8]) -> Option<Bytes> {
    let (namespace, collection, key) = split_record(record_key)?;
    let mut name = Vec::with_capacity(collection.len() + 1 + key.len());
    name.extend_from_slice(collection.as_bytes());
    name.push(0);
    name.extend_from_slice(key);
    Some(system(namespace, System::Claim, &name))
}

/// The key of the record that a claim of this name is on.
pub fn claimed_record(namespace: &str, name: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(namespace.len() + 1 + name.len());
    out.put_slice(namespace.as_bytes());
    out.put_u8(0);
    out.put_slice(name);
    out.freeze()
}

/// All records of the store.
pub fn all_records() -> KeyRange {
    (
        Bound::Included(Bytes::from_static(b"\x01")),
        Bound::Unbounded,
    )
}

/// The records of a namespace in collections after this one; empty: in all of them.
pub fn collections_after(namespace: &str, collection: &str) -> KeyRange {
    let mut low = BytesMut::from(namespace.as_bytes());
    low.put_u8(0);
    if !collection.is_empty() {
        low.put_slice(collection.as_bytes());
        low.put_u8(1);
    }
    let mut high = BytesMut::from(namespace.as_bytes());
    high.put_u8(1);
    (
        Bound::Included(low.freeze()),
        Bound::Excluded(high.freeze()),
    )
}

/// The records of a collection whose keys have this prefix and are at least `start` and below `end` (empty: no bound).
pub fn scan_range(
    namespace: &str,
    collection: &str,
    prefix: &[u8],
    start: &[u8],
    end: &[u8],
) -> KeyRange {
    let first = if start > prefix { start } else { prefix };
    let low = Bound::Included(record(namespace, collection, first));
    let by_prefix = match successor(prefix) {
        Some(after) => record(namespace, collection, &after),
        None => {
            let mut after = BytesMut::from(&record(namespace, collection, b"")[..]);
            // The \0 behind the collection's name becomes \1: the first key behind all of its records.
            *after.last_mut().expect("ends with \\0") = 1;
            after.freeze()
        }
    };
    let by_end = (!end.is_empty()).then(|| record(namespace, collection, end));
    let high = by_end.map_or(by_prefix.clone(), |end| end.min(by_prefix));
    (low, Bound::Excluded(high))
}

/// The first key behind all keys with this prefix; `None` if there is no such key.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            return Some(after);
        }
    }
    None
}

/// The key that tells when a record expires.
pub fn expiry(expires_at_ms: u64, record_key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(EXPIRY.len() + 8 + record_key.len());
    out.put_slice(EXPIRY);
    out.put_u64(expires_at_ms);
    out.put_slice(record_key);
    out.freeze()
}

/// All expiry keys due at `now_ms` or before.
pub fn expiry_until(now_ms: u64) -> KeyRange {
    let low = Bound::Included(Bytes::from_static(EXPIRY));
    (low, Bound::Excluded(expiry(now_ms.saturating_add(1), b"")))
}

/// The time and record key of an expiry key.
pub fn split_expiry(key: &Bytes) -> Option<(u64, Bytes)> {
    let rest = key.strip_prefix(EXPIRY)?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), key.slice(EXPIRY.len() + 8..)))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use super::*;

    #[test]
    fn a_prefix_of_0xff_ends_with_its_collection() {
        let (low, high) = scan_range("n", "c", b"\xff", b"", b"");
        assert_eq!(low, Bound::Included(record("n", "c", b"\xff")));
        assert_eq!(high, Bound::Excluded(Bytes::from_static(b"n\0c\x01")));
    }

    #[test]
    fn keys_split_where_they_were_joined() {
        let key = record("world", "player", b"a\0b");
        assert_eq!(split_record(&key), Some(("world", "player", &b"a\0b"[..])));
        assert_eq!(split_expiry(&expiry(9, &key)), Some((9, key)));
        assert_eq!(split_record(APPLIED), None);
    }

    #[test]
    fn a_claim_is_found_from_its_record_and_its_record_from_the_claim() {
        let key = record("world", "player", b"a\0b");
        let claim = claim(&key).expect("a record's key");
        let (namespace, system, name) = split_system(&claim).expect("one of the store's own");
        assert_eq!((namespace, system), ("world", System::Claim));
        assert_eq!(claimed_record(namespace, name), key);
        assert_eq!(split_system(&key), None);
        assert!(systems_of("world").contains(&claim));
        assert!(!systems_of("world").contains(&key));
    }
}
