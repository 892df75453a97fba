//! A manifest in its file, under a checksum; also what is noted of a copy before it has one.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    manifest::{FORMAT_ENCRYPTED, Manifest},
    names::manifest_path,
};

/// Why a manifest cannot be read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It was written by a newer program.
    #[error("it has format {found}, this program knows formats up to {known}")]
    TooNew {
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// It is not as it was written.
    #[error("{0}")]
    Damaged(String),
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Unreadable::Damaged(error.to_string())
    }
}

/// The content of the file. The checksum is that of the manifest's text as it stands there.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    blake3: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// The content of a manifest's file.
pub fn seal(manifest: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let raw = serde_json::to_string(manifest).and_then(RawValue::from_string)?;
    serde_json::to_vec(&Sealed {
        blake3: blake3::hash(raw.get().as_bytes()).to_string(),
        manifest: &raw,
    })
}

/// Reads the content of a manifest's file, which is at `path`.
pub fn unseal(path: &str, bytes: &[u8]) -> Result<Manifest, Unreadable> {
    let text = checked(bytes)?;
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    // The format decides how the rest is read, so look at it alone first.
    let FormatOnly { format } = serde_json::from_str(text)?;
    if format > FORMAT_ENCRYPTED {
        return Err(Unreadable::TooNew {
            found: format,
            known: FORMAT_ENCRYPTED,
        });
    }
    let manifest = Manifest::from_json(text)?;
    if manifest_path(&manifest.id) != path {
        let detail = format!("it is that of backup {}", manifest.id);
        return Err(Unreadable::Damaged(detail));
    }
    Ok(manifest)
}

/// What was sealed, if its checksum is right.
pub fn checked(bytes: &[u8]) -> Result<&str, Unreadable> {
    let sealed: Sealed<'_> = serde_json::from_slice(bytes)?;
    let text = sealed.manifest.get();
    match blake3::hash(text.as_bytes()).to_string() == sealed.blake3 {
        true => Ok(text),
        false => Err(Unreadable::Damaged("its checksum is wrong".into())),
    }
}
