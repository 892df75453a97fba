//! A record as the view keeps it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stillpoint_proto::v1;

use crate::log::Written;

/// A record: its meta and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Revision that created it.
    pub create_rev: u64,
    /// Revision that wrote it last.
    pub mod_rev: u64,
    /// Writes since it was created.
    pub version: u64,
    /// Version of its data schema.
    pub schema: u32,
    /// When it expires, in milliseconds since 1970; 0: never.
    pub expires_at_ms: u64,
    /// Its value.
    pub value: Bytes,
}

/// The same, borrowed: a MessagePack array by position.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    create_rev: u64,
    mod_rev: u64,
    version: u64,
    schema: u32,
    expires_at_ms: u64,
    #[serde(borrow, with = "serde_bytes")]
    value: &'a [u8],
}

impl Record {
    /// The bytes that the view keeps.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.value.len() + 48);
        let stored = Stored {
            create_rev: self.create_rev,
            mod_rev: self.mod_rev,
            version: self.version,
            schema: self.schema,
            expires_at_ms: self.expires_at_ms,
            value: &self.value,
        };
        // Writing to a Vec cannot fail.
        rmp_serde::encode::write(&mut out, &stored).expect("a record is always encodable");
        out.into()
    }

    /// Reads the bytes that the view keeps; the value is not copied.
    pub fn decode(bytes: &Bytes) -> Result<Record, String> {
        let stored: Stored<'_> = rmp_serde::from_slice(bytes).map_err(|e| e.to_string())?;
        Ok(Record {
            create_rev: stored.create_rev,
            mod_rev: stored.mod_rev,
            version: stored.version,
            schema: stored.schema,
            expires_at_ms: stored.expires_at_ms,
            value: bytes.slice_ref(stored.value),
        })
    }

    /// The record with a value of its own, which does not keep the whole message in memory that brought it.
    pub fn detached(&self) -> Record {
        Record {
            value: Bytes::copy_from_slice(&self.value),
            ..self.clone()
        }
    }

    /// The record of a log entry.
    pub fn from_log(revision: u64, written: &Written<'_>) -> Record {
        Record {
            create_rev: written.create_rev,
            mod_rev: revision,
            version: written.version,
            schema: written.schema,
            expires_at_ms: written.expires_at_ms,
            value: Bytes::copy_from_slice(written.value),
        }
    }

    /// The record for the log.
    pub fn to_log(&self) -> Written<'_> {
        Written {
            create_rev: self.create_rev,
            version: self.version,
            schema: self.schema,
            expires_at_ms: self.expires_at_ms,
            value: &self.value,
        }
    }

    /// The record for an answer.
    pub fn to_proto(&self) -> v1::Record {
        v1::Record {
            value: self.value.clone(),
            create_rev: self.create_rev,
            mod_rev: self.mod_rev,
            version: self.version,
            schema: self.schema,
            expires_at_ms: self.expires_at_ms,
            unreadable: String::new(),
        }
    }
}
