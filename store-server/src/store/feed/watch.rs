//! One watch, as it reads. Nothing here waits but for files; who drives it decides when to read what.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use stillpoint_proto::v1::{StoreError, WatchEvent};

use super::{Commit, Feed, Position, filter::Filter};
use crate::{
    log::{Entry, reader::Reader},
    store::{
        schema::{self, Lens, Speaks},
        shared::Shared,
    },
};

/// One watch.
#[derive(Debug)]
pub struct Watch {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    /// Its place, for retention.
    pub(super) place: Arc<AtomicU64>,
    pub(super) filter: Filter,
    /// The versions that whoever began it speaks, also after he has a successor.
    pub(super) speaks: Speaks,
    pub(super) position: Position,
    pub(super) reader: Reader,
}

/// A commit as far as it is watched.
#[derive(Debug)]
pub struct Tell {
    /// Its revision.
    pub revision: u64,
    /// Server time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The session that made it; empty for none.
    pub session: Arc<str>,
    /// Whether it is to be left out, but where the state is told.
    pub is_own: bool,
    /// Its changes, by view key. At least one.
    pub events: Vec<(Bytes, WatchEvent)>,
    /// Where to go on as long as not all of it was told.
    pub before: Position,
}

/// What is there for a watch.
#[derive(Debug)]
pub enum Recent {
    /// Commits, perhaps none that is watched.
    Told(Vec<Tell>),
    /// There is more, but in the log.
    InLog,
    /// It has heard all.
    Nothing,
}

/// What comes next cannot be told any more.
#[derive(Debug)]
pub struct Gap {
    /// Why, for people.
    pub reason: String,
}

impl Watch {
    /// How far it has read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Where it hears of commits.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// Fails if the store takes no writes until it is restarted: what was not told yet may never be.
    pub fn check_alive(&self) -> Result<(), StoreError> {
        match self.shared.gate.has_failed() {
            true => self.shared.gate.check(),
            false => Ok(()),
        }
    }

    /// Reads on in memory, about so many bytes.
    pub fn read_recent(&mut self, bytes_max: usize) -> Result<Recent, Gap> {
        let feed = &self.shared.feed;
        if self.position.seq >= feed.told_seq() {
            return Ok(Recent::Nothing);
        }
        let found = feed
            .ring
            .read()
            .after(self.position.seq, &self.filter.namespace, bytes_max);
        let Some((commits, seen_seq)) = found else {
            return Ok(Recent::InLog);
        };
        let mut tells = Vec::new();
        for commit in commits {
            let before = self.follow(commit.seq, commit.revision)?;
            tells.extend(self.tell(&commit, before));
        }
        self.show_all(&mut tells);
        self.move_to(Position {
            seq: seen_seq,
            ..self.position
        });
        Ok(Recent::Told(tells))
    }

    /// Reads on in the log: a portion of about so many bytes, perhaps without a commit that is watched. Reads files.
    pub fn read_log(&mut self, bytes_max: usize) -> Result<Vec<Tell>, Gap> {
        let shared = self.shared.clone();
        let synced_seq = shared.feed.told_seq();
        let mut reader = self.reader;
        let mut tells = Vec::new();
        let mut bytes = 0;
        let mut gap = None;
        let after_seq = self.position.seq;
        let read = reader.read(&shared.segments, after_seq, synced_seq, |seq, entry| {
            match self.take_logged(seq, entry) {
                Ok(None) => {}
                Ok(Some(tell)) => {
                    bytes += entry.len();
                    tells.push(tell);
                }
                Err(found) => {
                    gap = Some(found);
                    return ControlFlow::Break(());
                }
            }
            match bytes < bytes_max {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        self.reader = reader;
        self.move_to(self.position);
        if let Some(gap) = gap {
            return Err(gap);
        }
        self.show_all(&mut tells);
        match read {
            Ok(()) => Ok(tells),
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(%error, "a watch cannot go on in the log, and is told the state anew");
                Err(Gap { reason })
            }
        }
    }

    fn take_logged(&mut self, seq: u64, bytes: &[u8]) -> Result<Option<Tell>, Gap> {
        let unreadable = |detail: String| Gap {
            reason: format!("commit {seq} cannot be read: {detail}"),
        };
        let (namespace, revision) = Entry::peek(bytes).map_err(unreadable)?;
        if *namespace != *self.filter.namespace {
            self.position.seq = seq;
            return Ok(None);
        }
        let before = self.follow(seq, revision)?;
        let entry = Entry::decode(bytes).map_err(unreadable)?;
        let commit = Commit::from_log(seq, &entry, |collection, key| {
            self.filter.wants(collection, key)
        });
        Ok(self.tell(&commit, before))
    }

    /// Goes behind a commit of its namespace, which must be the next one; gives where it was.
    fn follow(&mut self, seq: u64, revision: u64) -> Result<Position, Gap> {
        let before = self.position;
        if revision != before.revision + 1 {
            let reason = format!(
                "revision {revision} follows where {} was expected",
                before.revision + 1
            );
            return Err(Gap { reason });
        }
        self.position = Position {
            revision,
            seq,
            ..before
        };
        Ok(before)
    }

    /// A commit as far as it is watched, with its records as they are stored; `None`: it is not.
    fn tell(&self, commit: &Commit, before: Position) -> Option<Tell> {
        let events = self.filter.events(commit);
        (!events.is_empty()).then(|| Tell {
            revision: commit.revision,
            time_ms: commit.time_ms,
            session: commit.session.clone(),
            is_own: self.filter.skips(&commit.session),
            events,
            before,
        })
    }

    fn show_all(&self, tells: &mut [Tell]) {
        let events = tells.iter_mut().flat_map(|tell| &mut tell.events);
        self.show(events.map(|(_, event)| event));
    }

    /// Brings what is told to the version of who is told. Where that is many records, other tasks of the thread go on
    /// elsewhere meanwhile.
    pub(super) fn show<'e>(&self, events: impl Iterator<Item = &'e mut WatchEvent>) {
        if self.filter.keys_only || !self.shared.schemas.is_managed() {
            return;
        }
        let table = self.shared.schemas.table();
        let namespace = self.filter.namespace.clone();
        let Some(lens) = Lens::new(&table, namespace, self.speaks.clone()) else {
            return;
        };
        let foreign = events.filter_map(|WatchEvent { key, record, .. }| {
            let (key, record) = (key.as_ref()?, record.as_mut()?);
            let is_foreign = lens.is_foreign(&key.collection, record);
            is_foreign.then_some((key, record))
        });
        let foreign: Vec<_> = foreign.collect();
        schema::aside_of(foreign.len(), || {
            for (key, record) in foreign {
                lens.show(&key.collection, &key.key, record);
            }
        });
    }

    pub(super) fn move_to(&mut self, position: Position) {
        self.position = position;
        self.place.store(position.seq, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.feed.leave(self.id);
    }
}
