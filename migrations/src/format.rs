//! The on-disk format of a data directory, and the file that tells it.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Name of the file in the data directory.
pub const FILE: &str = "store.toml";

/// The format this program writes.
///
/// 1: the first one.
pub const CURRENT: u32 = 1;

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
            "the data has format 99, this program knows formats up to 1: use a newer stillpoint"
        );
    }
}
