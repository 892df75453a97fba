//! Storing the files of a backup that a server gives: the operator's side of a pull.
//!
//! What came whole is noted in the target, so that whoever is cut off goes on behind it: in the same process or in the next one.
//! The log is followed as it comes, so the state that the backup ends with is known here, whatever the server has forgotten.

use std::fs::File as LockFile;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use stillpoint_proto::v1::{
    PullBackupRequest, PullBegun, PullEnd, Reason, StoreError, pull_backup_response,
};

use super::{
    BackupError, File, Kind, Manifest, Progress, Target,
    catalog::list,
    coming::{UnderWay, senseless},
    create::{check_incarnation, newest},
    partial::Note,
    verify::checksums,
    writing::Writing,
};
use crate::{
    archive::names::{self, DATA},
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
    lock: Option<LockFile>,
    /// The backup that an incremental one continues.
    parent: Option<Manifest>,
    /// None: the server has told nothing yet.
    under_way: Option<UnderWay<'a>>,
}

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
            lock,
            parent: None,
            under_way: None,
        };
        let found = match Note::read(target).await? {
            None => Found::Nothing,
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
        let found = self.check(&outline, &files, progress).await?;
        if let Found::Unusable(_) = found {
            self.give_up(&outline.id).await?;
            return Ok(found);
        }
        let outline = Outline {
            label: match self.options.label.as_str() {
                "" => outline.label,
                label => label.to_owned(),
            },
            ..outline
        };
        let writing = Writing::resume(self.target, outline, files, note.round + 1);
        let reached = note.reached.into_owned();
        let mut under_way = UnderWay::new(writing, note.last_key, reached, note.seen);
        // Of the files that are stored from now on none has the name of one that was stored and not noted.
        under_way.note(self.target).await?;
        self.under_way = Some(under_way);
        Ok(found)
    }

    /// Whether files that were noted can be gone on with.
    async fn check(
        &self,
        outline: &Outline,
        files: &[File],
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Found, BackupError> {
        if self.options.restart {
            return Ok(Found::Unusable("it was to be begun anew".into()));
        }
        if (outline.kind == Kind::Incremental) != self.options.incremental {
            return Err(BackupError::OtherKind {
                id: outline.id.clone(),
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
        match checksums(self.target, &outline.id, files.to_vec(), progress).await {
            Err(error @ BackupError::Unsound { .. }) => {
                return Ok(Found::Unusable(error.to_string()));
            }
            checked => checked?,
        }
        Ok(Found::Files {
            count: files.len() as u64,
            stored_bytes: files.iter().map(|file| file.bytes).sum(),
        })
    }

    /// Removes the files of a backup that is not complete; the note goes first.
    async fn give_up(&self, id: &str) -> Result<(), BackupError> {
        Note::remove(self.target).await?;
        self.sweep(id, &[]).await
    }

    /// Removes the files of a backup but these. In a bucket others may be pulling, too: there `expire` removes them later.
    async fn sweep(&self, id: &str, keep: &[File]) -> Result<(), BackupError> {
        if self.lock.is_some() {
            let folder = format!("{DATA}/{id}");
            for (path, _) in self.target.files(&folder).await? {
                if !keep.iter().any(|file| file.path == path) {
                    self.target.remove(&path).await?;
                }
            }
        }
        Ok(())
    }

    /// Throws away what there is of it.
    async fn begin_anew(&mut self) -> Result<(), BackupError> {
        match self.under_way.take() {
            Some(under_way) => self.give_up(&under_way.writing.outline.id).await?,
            None => Note::remove(self.target).await?,
        }
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
                    seen_seq: under_way.seen.as_ref().map_or(0, |seen| seen.seq),
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
        check_incarnation(self.target, incarnation).await?;
        let known = match (&self.under_way, &self.parent) {
            (Some(under_way), _) => under_way.reached.state_hash.as_ref(),
            (None, parent) => parent.as_ref().and_then(|m| m.state_hash.as_ref()),
        };
        let is_other = |ours: &String, theirs: &str| !theirs.is_empty() && ours != theirs;
        let seen = self.under_way.as_ref().and_then(|of| of.seen.as_ref());
        let is_another = known.is_some_and(|ours| is_other(ours, &begun.state_hash))
            || seen.is_some_and(|seen| is_other(&seen.state_hash, &begun.seen_hash));
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
                under_way.go_on();
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
                self.under_way = Some(UnderWay::new(writing, Vec::new(), reached, None));
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
        // Of one that was killed, a file may be there that was not noted.
        self.sweep(&manifest.id, &manifest.files).await?;
        Ok(Taken::Complete(Box::new(manifest)))
    }
}
