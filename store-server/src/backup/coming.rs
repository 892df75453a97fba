//! What came of a backup that is being pulled.

use bytes::{Bytes, BytesMut};
use stillpoint_proto::v1::PullPart;

use super::{
    BackupError, File, FileKind, Target,
    partial::{Note, Seen},
    portion::{Portion, check, decompress, entries},
    writing::Writing,
};
use crate::{log::Entry, store::copying::Reached};

/// A backup of which something is there.
#[derive(Debug)]
pub struct UnderWay<'a> {
    /// What is stored of it.
    pub writing: Writing<'a>,
    /// View key of the last record.
    pub last_key: Vec<u8>,
    /// How far the log is; without any log, where it begins.
    pub reached: Reached,
    /// How far the store was when the last records were read. What is gone on with has to have that commit, too: the records
    /// may be as new.
    pub seen: Option<Seen>,
    /// What came of the next file.
    coming: BytesMut,
    /// Files that are in the note.
    noted: usize,
}

/// The note is written anew when it lacks one in so many files: writing it for each takes too long where there are thousands.
const NOTED_SHARE: usize = 64;

impl<'a> UnderWay<'a> {
    /// One of which this came.
    pub fn new(
        writing: Writing<'a>,
        last_key: Vec<u8>,
        reached: Reached,
        seen: Option<Seen>,
    ) -> UnderWay<'a> {
        UnderWay {
            noted: writing.files.len(),
            writing,
            last_key,
            reached,
            seen,
            coming: BytesMut::new(),
        }
    }

    /// Goes on in another connection, with the next whole file.
    pub fn go_on(&mut self) {
        self.coming.clear();
    }

    /// Takes a part of a file; whether the file is whole now, and stored.
    pub async fn part(&mut self, part: PullPart) -> Result<bool, BackupError> {
        self.coming.extend_from_slice(&part.bytes);
        if part.file.is_empty() {
            return Ok(false);
        }
        let file: File = serde_json::from_str(&part.file).map_err(senseless)?;
        let bytes = self.coming.split().freeze();
        check(&file, &bytes).map_err(senseless)?;
        match file.kind {
            FileKind::Records if part.last_key.is_empty() || self.writing.has_log() => {
                return Err(senseless("records come without a key, or after the log"));
            }
            FileKind::Records => {}
            FileKind::Log => self.follow(&file, &bytes)?,
        }
        let is_records = file.kind == FileKind::Records;
        let portion = Portion {
            file,
            bytes,
            last_key: Bytes::new(),
        };
        self.writing.store(portion).await?;
        if is_records {
            self.last_key = part.last_key.into();
            self.seen = (part.seen_seq > 0).then_some(Seen {
                seq: part.seen_seq,
                state_hash: part.seen_hash,
            });
        }
        Ok(true)
    }

    /// Follows the log, which goes on where it was.
    fn follow(&mut self, file: &File, packed: &[u8]) -> Result<(), BackupError> {
        let raw = decompress(file, packed).map_err(senseless)?;
        for item in entries(raw) {
            let (seq, entry) = item.map_err(senseless)?;
            let expected = self.reached.seq + 1;
            if seq != expected {
                let detail = format!("commit {seq} follows where {expected} was expected");
                return Err(senseless(detail));
            }
            let entry = Entry::decode(&entry).map_err(senseless)?;
            self.reached.follow(seq, &entry);
        }
        Ok(())
    }

    /// Notes what came, unless that is not worth it yet.
    pub async fn note_if_due(&mut self, target: &Target) -> Result<(), BackupError> {
        let count = self.writing.files.len();
        match count - self.noted > count / NOTED_SHARE {
            true => self.note(target).await,
            false => Ok(()),
        }
    }

    /// Notes what came.
    pub async fn note(&mut self, target: &Target) -> Result<(), BackupError> {
        let Writing {
            outline,
            files,
            round,
            ..
        } = &self.writing;
        let (last_key, seen) = (&self.last_key, self.seen.clone());
        let note = Note::new(outline, *round, files, last_key, &self.reached, seen);
        note.write(target).await?;
        self.noted = self.writing.files.len();
        Ok(())
    }
}

/// The error of an answer that makes no sense.
pub fn senseless(detail: impl ToString) -> BackupError {
    BackupError::Answer {
        detail: detail.to_string(),
    }
}
