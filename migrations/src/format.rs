//! The on-disk format of a data directory, and the file that tells it.
//!
//! # Steps
//!
//! No step rewrites a directory: what an older program has written is read as it is, and what is written from then on is of
//! the [current](CURRENT) format. So a step is done where its data is read, in the store, and all of them at each start:
//!
//! | step | what is different | where it is carried out, in `store-server/src` |
//! |---|---|---|
//! | any | the number, raised before anything of ours is written, so that older programs refuse the directory | [`Identity::in_current_format`], called by `store/datadir.rs`, `raise_format` |
//! | 1 to 2 | a log entry without `once` has no name | `log/entry.rs`, the field's default |
//! | 2 to 3 | a checkpoint is one file, framed like the log | `store/checkpoint/old.rs` reads it, until one of ours is taken |
//! | 2 to 3 | log entries and marks have no `state_hash` | `log/entry.rs` and `store/view.rs`, the fields' defaults; `store/open.rs`, `count_state_hash`, reads the records for it |
//! | 3 to 4 | a session does not say which versions it speaks: 0 of each | `store/session.rs`, the field's default |
//!
//! A directory of every format, as a killed server left it, is kept in `migrations/fixtures/` with a list of what is in it.
//! `store-server/tests/store/fixture.rs` opens each, with both engines, and compares everything, so it takes every step there is.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Name of the file in the data directory.
pub const FILE: &str = "store.toml";

/// The format this program writes. It reads all before it, too: what differs is told by the data itself.
///
/// 1: the first one.
///
/// 2: a log entry may have a field more at its end, `once`, the name that a write has for whoever repeats it, and may be
/// made by the change of a session. Sessions, claims, timers and cursors of watches are records of the collections
/// `@session`, `@claim`, `@timer` and `@cursor`, in log, checkpoint and view; they do not count as records. A program
/// that knows format 1 only would apply named writes twice and let anybody write what a session owns.
///
/// 3: a log entry has another field at its end, `state_hash`, the hash of all records after the commit, and so have the
/// marks of view and checkpoint. Without it the records are read once, at the first start. Checkpoints lie in the files of full
/// backups; one that an older program has taken is read until the first one is taken in its place.
///
/// 4: a log entry may be made by a migration. Scripts, versions and what could not be migrated are records of the collections
/// `@script`, `@schema` and `@quarantine`; those in namespace `_any` count in all. A session has another field at its end, the
/// versions that it speaks. The record of a claim may name both an owner and those that the record was taken from. A program that
/// knows format 3 only would give everybody the version that a record is stored in,
/// and let clients write in `_any`.
pub const CURRENT: u32 = 4;

/// Who a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Format of the directory.
    pub format: u32,
    /// Identity of the store, made with the directory.
    pub store_id: Uuid,
    /// Raised by one at each restore.
    pub incarnation: u64,
}

/// Why a directory cannot be opened.
#[derive(Debug, Error)]
pub enum FormatError {
    /// It was written by a newer program.
    #[error(
        "the data has format {found}, this program knows formats up to {CURRENT}: use a newer stillpoint"
    )]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// The file cannot be understood.
    #[error("cannot be understood: {0}; restore the file from a backup of this data directory")]
    Malformed(String),
}

impl Identity {
    /// A new store.
    pub fn new() -> Identity {
        Identity {
            format: CURRENT,
            store_id: Uuid::new_v4(),
            incarnation: 1,
        }
    }

    /// The same store in the format this program writes; `None` if it has that already.
    pub fn in_current_format(&self) -> Option<Identity> {
        (self.format < CURRENT).then(|| Identity {
            format: CURRENT,
            ..self.clone()
        })
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Identity, FormatError> {
        let malformed = |e: toml::de::Error| FormatError::Malformed(e.message().to_owned());
        // The format decides how the rest is read, so look at it alone first.
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let FormatOnly { format } = toml::from_str(text).map_err(malformed)?;
        if format > CURRENT {
            return Err(FormatError::TooNew { found: format });
        }
        toml::from_str(text).map_err(malformed)
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let fields = toml::to_string(self).expect("an identity is always encodable");
        format!(
            "# Identity of this Stillpoint data directory. Written by the server; do not edit.\n{fields}"
        )
    }
}

impl Default for Identity {
    fn default() -> Self {
        Identity::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_file() {
        let identity = Identity::new();
        assert_eq!(
            Identity::parse(&identity.to_text()).expect("parses"),
            identity
        );
    }

    #[test]
    fn a_newer_format_is_refused_with_its_number() {
        let text = "format = 99\nsomething_new = true\n";
        let error = Identity::parse(text).expect_err("too new");
        assert_eq!(
            error.to_string(),
            format!(
                "the data has format 99, this program knows formats up to {CURRENT}: use a newer stillpoint"
            )
        );
    }

    #[test]
    fn an_older_format_is_read_and_raised_and_nothing_else_of_the_identity_changes() {
        let text = Identity::new()
            .to_text()
            .replace(&format!("format = {CURRENT}"), "format = 1");
        let old = Identity::parse(&text).expect("parses");
        assert_eq!(old.format, 1);
        let raised = old.in_current_format().expect("it is older");
        assert_eq!(raised.format, CURRENT);
        assert_eq!(
            (raised.store_id, raised.incarnation),
            (old.store_id, old.incarnation)
        );
        assert_eq!(raised.in_current_format(), None);
    }
}
