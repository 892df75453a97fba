//! One commit, as bytes.
//!
//! MessagePack arrays by position: fields are only ever added at the end, with a default, so that an old log stays
//! readable. The sequence number is not written: it follows from the frame.

use serde::{Deserialize, Serialize};

/// One commit: everything needed to repeat it on an older state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// Namespace of all its records.
    #[serde(borrow)]
    pub namespace: &'a str,
    /// The namespace's revision that this commit is.
    pub revision: u64,
    /// Incarnation of the store that made it.
    pub incarnation: u64,
    /// Server time, in milliseconds since 1970. For people, expiry and retention; never for ordering.
    pub time_ms: u64,
    /// What made it.
    pub origin: Origin,
    /// The operator who asked for it; empty for none.
    pub principal: &'a str,
    /// The session that asked for it; empty for none.
    pub session: &'a str,
    /// The idempotency key, so that the table of answers can be rebuilt from the log.
    #[serde(borrow)]
    pub writer: Option<Writer<'a>>,
    /// How many records the namespace gained.
    pub records_delta: i64,
    /// The records written, each key once, with their full new values.
    #[serde(borrow)]
    pub changes: Vec<Change<'a>>,
    /// The answer, an encoded `OpResult`, where it does not follow from `changes`. Empty otherwise.
    #[serde(with = "serde_bytes")]
    pub reply: &'a [u8],
    /// The name that the write has for whoever repeats it; empty for none. Since format 2.
    #[serde(default, with = "serde_bytes")]
    pub once: &'a [u8],
    /// The hash of the store's records after this commit. Empty: the program that made it did not know of it. Since
    /// format 3.
    #[serde(default, with = "serde_bytes")]
    pub state_hash: &'a [u8],
}

/// The idempotency key of a write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writer<'a> {
    /// The writer's id.
    #[serde(with = "serde_bytes")]
    pub id: &'a [u8],
    /// The write's number.
    pub sequence: u64,
    /// All numbers below are answered.
    pub first_incomplete: u64,
}

/// What made a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Origin {
    /// A client's request.
    Client,
    /// The end of records' lifetimes.
    Expiry,
    /// The opening, release or end of a session. Since format 2.
    Session,
    /// A migration: scripts, versions, records in another version. Since format 4.
    Migration,
}

/// One record written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change<'a> {
    /// Its collection.
    #[serde(borrow)]
    pub collection: &'a str,
    /// Its key.
    #[serde(with = "serde_bytes")]
    pub key: &'a [u8],
    /// Its new state; none: it was deleted.
    #[serde(borrow)]
    pub written: Option<Written<'a>>,
}

/// The new state of a record. Its `mod_rev` is the commit's revision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written<'a> {
    /// Revision that created it.
    pub create_rev: u64,
    /// Writes since then, with this one.
    pub version: u64,
    /// Version of its data schema.
    pub schema: u32,
    /// When it expires, in milliseconds since 1970; 0: never.
    pub expires_at_ms: u64,
    /// Its value.
    #[serde(with = "serde_bytes")]
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Appends the entry's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail, and every type here is one that MessagePack has.
        rmp_serde::encode::write(out, self).expect("an entry is always encodable");
    }

    /// Reads only the namespace and the revision of an entry, for those who look for one among many.
    pub fn peek(bytes: &'a [u8]) -> Result<(&'a str, u64), String> {
        let mut rest = bytes;
        rmp::decode::read_array_len(&mut rest).map_err(|e| e.to_string())?;
        let (namespace, mut rest) =
            rmp::decode::read_str_from_slice(rest).map_err(|e| e.to_string())?;
        let revision = rmp::decode::read_int(&mut rest).map_err(|e| e.to_string())?;
        Ok((namespace, revision))
    }

    /// Reads an entry; `bytes` hold it alone.
    pub fn decode(bytes: &'a [u8]) -> Result<Entry<'a>, String> {
        rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>() -> Entry<'a> {
        Entry {
            namespace: "world",
            revision: 7,
            incarnation: 1,
            time_ms: 1_800_000_000_000,
            origin: Origin::Client,
            principal: "",
            session: "",
            writer: Some(Writer {
                id: b"writer",
                sequence: 3,
                first_incomplete: 2,
            }),
            records_delta: 1,
            changes: vec![Change {
                collection: "player",
                key: b"42",
                written: Some(Written {
                    create_rev: 7,
                    version: 1,
                    schema: 0,
                    expires_at_ms: 0,
                    value: &[0x80],
                }),
            }],
            reply: b"reply",
            once: b"",
            state_hash: b"0123456789abcdef",
        }
    }

    /// The entry as an older format wrote it: without the last fields, which are empty.
    fn without_last(entry: &Entry<'_>, fields: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(bytes.first(), Some(&0x9d), "an array of 13");
        let last = bytes.split_off(bytes.len() - 2 * fields);
        assert_eq!(last, [0xc4, 0].repeat(fields), "empty ones");
        bytes[0] -= fields as u8;
        bytes
    }

    #[test]
    fn an_entry_of_an_older_format_is_one_without_a_hash_and_a_name() {
        let old = Entry {
            state_hash: b"",
            ..entry()
        };
        for fields in 0..=2 {
            let bytes = without_last(&old, fields);
            assert_eq!(Entry::decode(&bytes), Ok(old.clone()), "{fields}");
        }
    }

    #[test]
    fn an_entry_with_a_name_comes_back_as_it_was() {
        let named = Entry {
            origin: Origin::Session,
            once: b"trade-77",
            ..entry()
        };
        let mut bytes = Vec::new();
        named.encode(&mut bytes);
        assert_eq!(Entry::decode(&bytes), Ok(named));
    }
}
