//! Storing the files of a backup that a server gives: the operator's side of a pull.
//!
//! What came whole is noted in the target, so that whoever is cut off goes on behind it: in the same process or in the next one.
//! The log is followed as it comes, so the state that the backup ends with is known here, whatever the server has forgotten.

use std::fs::File as LockFile;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Bytes, BytesMut};
use stillpoint_proto::v1::{
    PullBackupRequest, PullBegun, PullEnd, PullPart, Reason, StoreError, pull_backup_response,
};

use super::{
    BackupError, File, FileKind, Kind, Manifest, Progress, Target,
    catalog::list,
    create::newest,
    partial::Note,
    portion::{Portion, check, decompress, entries},
    verify::checksums,
    writing::Writing,
};
use crate::{
    archive::names,
    log::Entry,
    store::{
        Applied,
        copying::{Outline, Reached},
    },
};

/// What kind of backup is pulled.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Only what was committed since the newest backup.
    pub incremental: bool,
    /// What the operator calls it; empty for nothing.
    pub label: String,
    /// Do not go on with one that is not complete: begin anew.
    pub restart: bool,
}

/// What there was of a backup that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// These files, which are gone on with.
    Files {
        /// How many.
        count: u64,
        /// Bytes of them in the target.
        stored_bytes: u64,
    },
    /// Something that cannot be gone on with, for this reason. The backup is begun anew.
    Unusable(String),
}

/// What came of a message.
#[derive(Debug)]
pub enum Taken {
    /// There is more to come.
    More,
    /// What there was cannot be gone on with, for this reason: ask again.
    Again(String),
    /// The backup is complete.
    Complete(Box<Manifest>),
}

/// A backup that is being pulled.
#[derive(Debug)]
pub struct Receiving<'a> {
    target: &'a Target,
    options: PullOptions,
    /// Held so that nobody else pulls to the same directory.
    _lock: Option<LockFile>,
    /// The backup that an incremental one continues.
    parent: Option<Manifest>,
    /// None: the server has told nothing yet.
    under_way: Option<UnderWay<'a>>,
}

/// A backup of which something is there.
#[derive(Debug)]
struct UnderWay<'a> {
    writing: Writing<'a>,
    /// View key of the last record.
    last_key: Vec<u8>,
    /// How far the log is; without any log, where it begins.
    reached: Reached,
    /// What came of the next file.
    coming: BytesMut,
    /// Files that are in the note.
    noted: usize,
}

/// The note is written anew when it lacks one in so many files: writing it for each takes too long where there are thousands.
const NOTED_SHARE: usize = 64;

impl<'a> Receiving<'a> {
    /// Looks for a backup that is not complete, and checks its files.
    pub async fn open(
        target: &'a Target,
        options: PullOptions,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Receiving<'a>, Found), BackupError> {
        let lock = target.lock().await?;
        let mut receiving = Receiving {
            target,
            options,
            _lock: lock,
            parent: None,
            under_way: None,
        };
        let found = match Note::read(target).await? {
            None => Found::Nothing,
            Some(_) if receiving.options.restart => {
                Found::Unusable("it was to be begun anew".into())
            }
            Some(Err(why)) => Found::Unusable(why),
            Some(Ok(note)) => receiving.resume(note, progress).await?,
        };
        if receiving.under_way.is_none() {
            receiving.begin_anew().await?;
        }
        Ok((receiving, found))
    }

    async fn resume(
        &mut self,
        note: Note<'static>,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Found, BackupError> {
        let (outline, files) = (note.outline.into_owned(), note.files.into_owned());
        if list(self.target)
            .await?
            .backups
            .iter()
            .any(|m| m.id == outline.id)
        {
            // Only the note was left to be removed.
            return Ok(Found::Nothing);
        }
        if (outline.kind == Kind::Incremental) != self.options.incremental {
            return Err(BackupError::OtherKind {
                id: outline.id,
                kind: match outline.kind {
                    Kind::Full => "a full",
                    Kind::Incremental => "an incremental",
                },
                target: self.target.url().to_owned(),
            });
        }
        if let Some(encryption) = &outline.encryption {
            self.target.check_encryption(encryption, &outline.id)?;
        } else if self.target.encryption().is_some() {
            let why = "it is not encrypted, and is to be".to_owned();
            return Ok(Found::Unusable(why));
        }
        match checksums(self.target, &outline.id, files.clone(), progress).await {
            Err(error @ BackupError::Unsound { .. }) => {
                return Ok(Found::Unusable(error.to_string()));
            }
            checked => checked?,
        }
        let outline = Outline {
            label: match self.options.label.as_str() {
                "" => outline.label,
                label => label.to_owned(),
            },
            ..outline
        };
        let found = Found::Files {
            count: files.len() as u64,
            stored_bytes: files.iter().map(|file| file.bytes).sum(),
        };
        let mut under_way = UnderWay {
            noted: files.len(),
            writing: Writing::resume(self.target, outline, files, note.round + 1),
            last_key: note.last_key,
            reached: note.reached.into_owned(),
            coming: BytesMut::new(),
        };
        // Of the files that are stored from now on none has the name of one that was stored and not noted.
        under_way.note(self.target).await?;
        self.under_way = Some(under_way);
        Ok(found)
    }

    /// Throws away what there is of it.
    async fn begin_anew(&mut self) -> Result<(), BackupError> {
        self.under_way = None;
        Note::remove(self.target).await?;
        self.parent = match self.options.incremental {
            true => Some(newest(self.target).await?),
            false => None,
        };
        Ok(())
    }

    /// What to ask of the server.
    pub fn request(&self) -> PullBackupRequest {
        let request = PullBackupRequest {
            incremental: self.options.incremental,
            ..PullBackupRequest::default()
        };
        match (&self.under_way, &self.parent) {
            (Some(under_way), _) => {
                let outline = &under_way.writing.outline;
                let has_log = under_way.writing.has_log();
                PullBackupRequest {
                    incarnation: outline.incarnation,
                    base_seq: outline.base_seq,
                    after_key: under_way.last_key.clone().into(),
                    records_done: has_log,
                    after_seq: match has_log {
                        true => under_way.reached.seq,
                        false => 0,
                    },
                    ..request
                }
            }
            (None, Some(parent)) => PullBackupRequest {
                incarnation: parent.incarnation,
                base_seq: parent.last_seq,
                ..request
            },
            (None, None) => request,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Option<Progress> {
        self.under_way.as_ref().map(|of| of.writing.progress())
    }

    /// Whether what the server refuses is to go on: then what there was is thrown away, and the reason is given.
    pub async fn refused(&mut self, error: &StoreError) -> Result<Option<String>, BackupError> {
        let reason = error.reason();
        if self.under_way.is_none()
            || !matches!(reason, Reason::Compacted | Reason::WrongIncarnation)
        {
            return Ok(None);
        }
        self.begin_anew().await?;
        Ok(Some(error.message.clone()))
    }

    /// Takes what the server tells.
    pub async fn take(
        &mut self,
        told: pull_backup_response::Kind,
        incarnation: u64,
    ) -> Result<Taken, BackupError> {
        match told {
            pull_backup_response::Kind::Begun(begun) => self.begun(begun, incarnation).await,
            pull_backup_response::Kind::Part(part) => {
                let under_way = self.under_way.as_mut();
                let under_way = under_way.ok_or_else(|| senseless("a part comes first"))?;
                if under_way.part(part).await? {
                    under_way.note_if_due(self.target).await?;
                }
                Ok(Taken::More)
            }
            pull_backup_response::Kind::End(end) => self.end(end).await,
        }
    }

    async fn begun(&mut self, begun: PullBegun, incarnation: u64) -> Result<Taken, BackupError> {
        self.target.claim(&begun.store_id).await?;
        let known = match (&self.under_way, &self.parent) {
            (Some(under_way), _) => under_way.reached.state_hash.as_ref(),
            (None, parent) => parent.as_ref().and_then(|m| m.state_hash.as_ref()),
        };
        let is_another =
            known.is_some_and(|ours| !begun.state_hash.is_empty() && *ours != begun.state_hash);
        match (&mut self.under_way, &self.parent) {
            (Some(_), _) if is_another => {
                self.begin_anew().await?;
                let why = "it is of another history: a copy of the store has told it";
                return Ok(Taken::Again(why.into()));
            }
            (None, Some(parent)) if is_another => {
                return Err(BackupError::NoParent {
                    why: format!(
                        "backup {} is not of this store's history: a copy of the store made it",
                        parent.id
                    ),
                });
            }
            (Some(under_way), _) => {
                under_way.coming.clear();
                under_way
                    .writing
                    .expect(begun.records_total, begun.log_bytes);
            }
            (None, parent) => {
                let (reached, applied) = match parent {
                    Some(parent) => (Reached::end_of(parent), String::new()),
                    None => {
                        let applied = Applied::decode(&begun.applied).map_err(senseless)?;
                        (Reached::applied(&applied), BASE64.encode(&begun.applied))
                    }
                };
                let outline = Outline {
                    id: names::id(begun.begun_ms, begun.last_seq),
                    kind: match parent {
                        Some(_) => Kind::Incremental,
                        None => Kind::Full,
                    },
                    parent: parent.as_ref().map_or_else(String::new, |m| m.id.clone()),
                    store_id: begun.store_id,
                    incarnation,
                    server_version: begun.server_version,
                    label: self.options.label.clone(),
                    begun_ms: begun.begun_ms,
                    base_seq: reached.seq,
                    applied,
                    encryption: self.target.encryption(),
                };
                let mut writing = Writing::new(self.target, outline);
                writing.expect(begun.records_total, begun.log_bytes);
                self.under_way = Some(UnderWay {
                    writing,
                    last_key: Vec::new(),
                    reached,
                    coming: BytesMut::new(),
                    noted: 0,
                });
            }
        }
        Ok(Taken::More)
    }

    async fn end(&mut self, end: PullEnd) -> Result<Taken, BackupError> {
        let under_way = self.under_way.take();
        let UnderWay {
            writing,
            mut reached,
            ..
        } = under_way.ok_or_else(|| senseless("the end comes first"))?;
        if end.last_seq != reached.seq {
            let seq = reached.seq;
            let detail = format!("the log ends with commit {} instead of {seq}", end.last_seq);
            return Err(senseless(detail));
        }
        if let Some(ours) = &reached.state_hash
            && !end.state_hash.is_empty()
            && *ours != end.state_hash
        {
            return Err(senseless("it says another state hash than its log"));
        }
        reached.as_of_ms = end.as_of_ms.max(reached.time_ms);
        let manifest = writing.complete(reached).await?;
        Note::remove(self.target).await?;
        Ok(Taken::Complete(Box::new(manifest)))
    }
}

impl UnderWay<'_> {
    /// Takes a part of a file; whether the file is whole now, and stored.
    async fn part(&mut self, part: PullPart) -> Result<bool, BackupError> {
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

    async fn note_if_due(&mut self, target: &Target) -> Result<(), BackupError> {
        let count = self.writing.files.len();
        match count - self.noted > count / NOTED_SHARE {
            true => self.note(target).await,
            false => Ok(()),
        }
    }

    async fn note(&mut self, target: &Target) -> Result<(), BackupError> {
        let Writing {
            outline,
            files,
            round,
            ..
        } = &self.writing;
        let note = Note::new(outline, *round, files, &self.last_key, &self.reached);
        note.write(target).await?;
        self.noted = self.writing.files.len();
        Ok(())
    }
}

/// The error of an answer that makes no sense.
fn senseless(detail: impl ToString) -> BackupError {
    BackupError::Answer {
        detail: detail.to_string(),
    }
}
