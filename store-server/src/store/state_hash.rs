//! What the whole store contains, in 16 bytes.
//!
//! A hash of the set of all records: the sum, modulo 2^128, of each record's own hash. A sum does not depend on order and
//! can be kept up: who changes a record takes its old hash off and adds the new one. Each commit in the log says what it is
//! after that commit. So a state that was brought back from a backup, rebuilt, or read in any order can be held against the
//! log, at every commit, without a copy of what it should be.
//!
//! It finds damage, not forgery: who can choose records can find two sets of the same sum. (The idea is that of Bellare and
//! Micciancio's incremental hashes, 1997; the records' own hash is XXH3.)

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128_with_seed};

use super::record::Record;

/// The hash of a set of records. The default is that of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHash(u128);

/// Bytes of it in the log.
pub const BYTES: usize = 16;

impl StateHash {
    /// With one more record, by view key.
    pub fn add(&mut self, key: &[u8], record: &Record) {
        self.0 = self.0.wrapping_add(hash(key, record));
    }

    /// Without a record that was in it.
    pub fn remove(&mut self, key: &[u8], record: &Record) {
        self.0 = self.0.wrapping_sub(hash(key, record));
    }

    /// As the log has it.
    pub fn to_bytes(self) -> [u8; BYTES] {
        self.0.to_be_bytes()
    }

    /// Reads what the log has; `None`: the commit was made by a program that did not know it.
    pub fn from_bytes(bytes: &[u8]) -> Option<StateHash> {
        let bytes = bytes.try_into().ok()?;
        Some(StateHash(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for StateHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for StateHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: serde_bytes::ByteBuf = Deserialize::deserialize(deserializer)?;
        StateHash::from_bytes(&bytes).ok_or_else(|| D::Error::custom("a state hash has 16 bytes"))
    }
}

/// The hash of one record: its key, all its meta, its value. What is hashed before is the seed of what comes after.
fn hash(key: &[u8], record: &Record) -> u128 {
    let mut meta = [0; 36];
    let numbers = [
        record.create_rev,
        record.mod_rev,
        record.version,
        record.expires_at_ms,
    ];
    for (place, number) in meta.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    meta[32..].copy_from_slice(&record.schema.to_le_bytes());
    let seed = xxh3_64_with_seed(&meta, xxh3_64(key));
    xxh3_128_with_seed(&record.value, seed)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(value: &'static str) -> Record {
        Record {
            create_rev: 1,
            mod_rev: 2,
            version: 3,
            schema: 4,
            expires_at_ms: 5,
            value: Bytes::from_static(value.as_bytes()),
        }
    }

    #[test]
    fn order_does_not_matter_and_what_was_taken_off_leaves_nothing() {
        let (mut one, mut other) = (StateHash::default(), StateHash::default());
        one.add(b"a", &record("x"));
        one.add(b"b", &record("y"));
        other.add(b"b", &record("y"));
        other.add(b"c", &record("z"));
        other.add(b"a", &record("x"));
        other.remove(b"c", &record("z"));
        assert_eq!(one, other);
        assert_ne!(one, StateHash::default());
    }

    #[test]
    fn every_part_of_a_record_counts() {
        let of = |key: &[u8], record: Record| {
            let mut hash = StateHash::default();
            hash.add(key, &record);
            hash
        };
        let mut all = vec![
            of(b"a", record("x")),
            of(b"b", record("x")),
            of(b"a", record("y")),
        ];
        let changes: [fn(&mut Record); 5] = [
            |r| r.create_rev += 1,
            |r| r.mod_rev += 1,
            |r| r.version += 1,
            |r| r.schema += 1,
            |r| r.expires_at_ms += 1,
        ];
        for change in changes {
            let mut changed = record("x");
            change(&mut changed);
            all.push(of(b"a", changed));
        }
        for (i, one) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(one), "{i}");
        }
    }

    #[test]
    fn it_is_the_same_in_every_build() {
        let mut hash = StateHash::default();
        hash.add(b"world\0player\0ann", &record("x"));
        assert_eq!(hash.to_string(), "237a240773c88aed3d992c140675cf64");
        assert_eq!(StateHash::from_bytes(&hash.to_bytes()), Some(hash));
        assert_eq!(StateHash::from_bytes(b""), None);
    }
}
