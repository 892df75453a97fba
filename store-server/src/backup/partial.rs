//! What is noted in the target of a backup that is being pulled, so that it can be gone on with.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{BackupError, File, Target};
use crate::{
    archive::sealed,
    store::copying::{Outline, Reached},
};

/// Where the note is.
pub const NOTE_FILE: &str = "partial.json";

/// The format of notes that this program writes. Of another it makes nothing: the backup is begun anew.
const FORMAT: u32 = 1;

/// A backup that is not complete.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note<'a> {
    format: u32,
    /// What it is.
    pub outline: Cow<'a, Outline>,
    /// How often it was gone on with.
    pub round: u32,
    /// The files that came whole.
    pub files: Cow<'a, [File]>,
    /// The view key of the last record in them.
    #[serde(with = "serde_bytes")]
    pub last_key: Vec<u8>,
    /// How far the log in them is.
    pub reached: Cow<'a, Reached>,
    /// How far the store was when the records were read; none: not known, as the note is of an older program.
    #[serde(default)]
    pub seen: Option<Seen>,
}

/// How far a store was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its newest commit.
    pub seq: u64,
    /// The state hash after it.
    pub state_hash: String,
}

impl<'a> Note<'a> {
    /// What there is to note.
    pub fn new(
        outline: &'a Outline,
        round: u32,
        files: &'a [File],
        last_key: &[u8],
        reached: &'a Reached,
        seen: Option<Seen>,
    ) -> Note<'a> {
        Note {
            format: FORMAT,
            outline: Cow::Borrowed(outline),
            round,
            files: Cow::Borrowed(files),
            last_key: last_key.to_vec(),
            reached: Cow::Borrowed(reached),
            seen,
        }
    }

    /// Writes it in place of the one before.
    pub async fn write(&self, target: &Target) -> Result<(), BackupError> {
        let text = sealed::seal(self).map_err(|error| target.unreadable(NOTE_FILE, error))?;
        target.replace(NOTE_FILE, text.into()).await
    }
}

impl Note<'static> {
    /// Reads it, if there is one that can be read; the message says why it cannot.
    pub async fn read(target: &Target) -> Result<Option<Result<Self, String>>, BackupError> {
        let bytes = match target.get(NOTE_FILE).await {
            Err(BackupError::Missing { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let read = sealed::checked(&bytes).map_err(|error| error.to_string());
        let read = read.and_then(|text| {
            serde_json::from_str::<Note<'static>>(text).map_err(|error| error.to_string())
        });
        let note = match read {
            Ok(note) if note.format != FORMAT => Err(format!("it has format {}", note.format)),
            read => read,
        };
        Ok(Some(note.map(Note::with_keys).map_err(|detail| {
            target.unreadable(NOTE_FILE, detail).to_string()
        })))
    }

    /// Removes it.
    pub async fn remove(target: &Target) -> Result<(), BackupError> {
        target.remove(NOTE_FILE).await
    }

    /// Files with the name of their key, as those of a manifest.
    fn with_keys(mut self) -> Self {
        let key_id = self.outline.encryption.as_ref().map(|of| of.key_id.clone());
        for file in self.files.to_mut() {
            file.key_id.clone_from(&key_id);
        }
        self
    }
}
