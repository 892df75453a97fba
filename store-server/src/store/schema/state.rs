//! The records that migrations are kept in: scripts, how far each collection is, and what could not be migrated.
//!
//! Each value is a MessagePack map by name: fields are only ever added, with a default, so that a store of an older program
//! stays readable.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stillpoint_migrations::Source;

use crate::store::record::Record;

/// How far a collection is, by collection's name. It is there from the first apply on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchemaState {
    /// The version that counts.
    pub version: u32,
    /// The one before the last apply or rollback.
    pub from_version: u32,
    /// What the background job does.
    pub phase: Phase,
    /// The job has looked at all keys up to this one; empty: it begins.
    #[serde(with = "serde_bytes")]
    pub cursor: Vec<u8>,
    /// Records that the job has looked at.
    pub seen: u64,
    /// Records that it has rewritten.
    pub rewritten: u64,
    /// Records that it could not migrate.
    pub failed: u64,
    /// More of those stop it.
    pub failed_max: u64,
    /// Records that it rewrites per second at most; 0: the setting says.
    pub rate: u64,
    /// When the version was set, in milliseconds since 1970.
    pub applied_ms: u64,
    /// Who set it.
    pub actor: String,
    /// The label of the moment before it; empty: there is none.
    pub label: String,
    /// It is a rollback that takes what it can from the history.
    pub from_history: bool,
    /// Why the job does not go on, for people; empty: it does, or is through.
    pub stopped_why: String,
    /// The newest version that was declared finished: nobody goes back behind it; 0: none was.
    pub finished_version: u32,
    /// The newest version that it has been at; 0: of an older program, which did not keep it. Ask [`newest`](Self::newest).
    pub newest_version: u32,
}

impl SchemaState {
    /// The newest version that it has been at, rollbacks or not: log, backups and history may have values of it for ever.
    pub fn newest(&self) -> u32 {
        let known = [self.version, self.from_version, self.finished_version];
        known.into_iter().fold(self.newest_version, u32::max)
    }

    /// The version behind which nobody goes back; 0: to any.
    pub fn floor(&self) -> u32 {
        match self.phase {
            Phase::Finished => self.version.max(self.finished_version),
            _ => self.finished_version,
        }
    }
}

/// What a background job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It rewrites records.
    #[default]
    Rewriting,
    /// An operator holds it up.
    Paused,
    /// Too many records could not be migrated.
    Stopped,
    /// It has gone through all records.
    Rewritten,
    /// Nobody goes back any more.
    Finished,
}

/// A record that could not be migrated, by collection, 0 and key. It counts while the record is at that revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quarantined {
    /// The version it has.
    pub schema: u32,
    /// Its revision.
    pub mod_rev: u64,
    /// The script and what is wrong.
    pub error: String,
    /// When it was found, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A script, by collection, 0 and number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredScript {
    /// What it is called besides its number.
    pub name: String,
    /// The Lua in it.
    pub text: String,
    /// BLAKE3 of the text.
    #[serde(with = "serde_bytes")]
    pub hash: Vec<u8>,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// Who published it.
    pub actor: String,
}

impl StoredScript {
    /// The record of a script.
    pub fn new(source: &Source, published_ms: u64, actor: &str) -> StoredScript {
        StoredScript {
            name: source.name.clone(),
            text: source.text.clone(),
            hash: source.hash.as_bytes().to_vec(),
            published_ms,
            actor: actor.into(),
        }
    }
}

/// A value of one of these records.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    // Writing to a Vec cannot fail, and every type here is one that MessagePack has.
    let bytes = rmp_serde::to_vec_named(value).expect("always encodable");
    bytes.into()
}

/// Reads the value of one of these records. It fails for what this program does not know, e.g. another [`Phase`]: what that
/// means cannot be guessed.
pub fn decode<T: DeserializeOwned>(what: &str, record: &Record) -> Result<T, String> {
    let value = &record.value;
    rmp_serde::from_slice(value).map_err(|e| {
        format!(
            "the record of {what} cannot be read: {e}; if a newer program wrote it, start that one"
        )
    })
}

/// The name of a script's record.
pub fn script_name(collection: &str, number: u32) -> Bytes {
    let mut name = BytesMut::with_capacity(collection.len() + 5);
    name.put_slice(collection.as_bytes());
    name.put_u8(0);
    name.put_u32(number);
    name.freeze()
}

/// Collection and number in the name of a script's record.
pub fn split_script_name(name: &[u8]) -> Option<(&str, u32)> {
    let (collection, number) = name.split_last_chunk::<4>()?;
    let collection = collection.strip_suffix(&[0])?;
    let collection = std::str::from_utf8(collection).ok()?;
    Some((collection, u32::from_be_bytes(*number)))
}

/// The name of the record of a record in quarantine.
pub fn quarantine_name(collection: &str, key: &[u8]) -> Bytes {
    let mut name = BytesMut::with_capacity(collection.len() + 1 + key.len());
    name.put_slice(collection.as_bytes());
    name.put_u8(0);
    name.put_slice(key);
    name.freeze()
}

/// Collection and key in the name of the record of a record in quarantine.
pub fn split_quarantine_name(name: &[u8]) -> Option<(&str, &[u8])> {
    let at = name.iter().position(|byte| *byte == 0)?;
    let collection = std::str::from_utf8(&name[..at]).ok()?;
    Some((collection, &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_of_a_newer_program_is_an_error_that_says_what_to_do() {
        #[derive(Serialize)]
        struct Newer {
            version: u32,
            phase: &'static str,
            more: bool,
        }
        let read = |phase| {
            let value = encode(&Newer {
                version: 3,
                phase,
                more: true,
            });
            decode::<SchemaState>(
                "a migration",
                &Record {
                    create_rev: 1,
                    mod_rev: 1,
                    version: 1,
                    schema: 0,
                    expires_at_ms: 0,
                    value,
                },
            )
        };
        let known = read("Paused").expect("fields may be added");
        assert_eq!((known.version, known.phase), (3, Phase::Paused));
        let error = read("Frozen").expect_err("nobody knows what it means");
        for part in ["a migration", "Frozen", "start that one"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names_split_where_they_were_joined() {
        let name = script_name("player", 256);
        assert_eq!(split_script_name(&name), Some(("player", 256)));
        assert_eq!(split_script_name(b"player"), None);
        let name = quarantine_name("player", b"a\0b");
        assert_eq!(split_quarantine_name(&name), Some(("player", &b"a\0b"[..])));
    }

    #[test]
    fn a_state_with_other_fields_is_read_as_far_as_it_is_known() {
        #[derive(Serialize)]
        struct Other {
            version: u32,
            added_later: &'static str,
        }
        let other = Other {
            version: 3,
            added_later: "by a newer program",
        };
        let record = Record {
            create_rev: 1,
            mod_rev: 1,
            version: 1,
            schema: 0,
            expires_at_ms: 0,
            value: encode(&other),
        };
        let state: SchemaState = decode("a state", &record).expect("decodes");
        let expected = SchemaState {
            version: 3,
            ..SchemaState::default()
        };
        assert_eq!(state, expected);
    }
}
