//! Which commit a restore goes to, and which backups it takes.

use super::{BackupError, File, FileKind, Kind, Listing, Manifest, Target, To, portion::entries};
use crate::{archive::names, log::Entry};

/// The backups of one history: of one incarnation, none newer than the one that ends it. Oldest first.
pub struct History<'a> {
    target: &'a Target,
    listing: &'a Listing,
    end: &'a Manifest,
    backups: Vec<&'a Manifest>,
}

/// What a restore takes.
#[derive(Debug)]
pub struct Plan {
    /// The full backup that it begins with.
    pub base: Manifest,
    /// The backups, that one first.
    pub backups: Vec<String>,
    /// The commit that it goes to.
    pub seq: u64,
    /// The files, in order, each with the commits of it that are needed.
    pub files: Vec<File>,
}

impl<'a> History<'a> {
    /// The history that a backup ends.
    pub fn new(
        target: &'a Target,
        listing: &'a Listing,
        backup: &str,
    ) -> Result<History<'a>, BackupError> {
        let end = listing.find(target, backup)?;
        let is_before =
            |m: &&Manifest| m.incarnation == end.incarnation && m.last_seq <= end.last_seq;
        Ok(History {
            target,
            listing,
            end,
            backups: listing.backups.iter().filter(is_before).collect(),
        })
    }

    /// What it takes to go to a state.
    pub async fn plan(&self, to: &To) -> Result<Plan, BackupError> {
        let seq = self.locate(to).await?;
        if seq == self.end.last_seq {
            let chain = self.listing.chain(self.target, self.end)?;
            return Ok(plan(&chain, seq));
        }
        let fulls = self.backups.iter().rev();
        let bases = fulls.filter(|m| m.kind == Kind::Full && m.last_seq <= seq);
        let mut chains = bases.filter_map(|base| self.reach(base, seq));
        match chains.next() {
            Some(chain) => Ok(plan(&chain, seq)),
            None => Err(self.not_covered(to)),
        }
    }

    /// A full backup and those whose logs follow it without a gap up to `seq`, as few as possible.
    fn reach(&self, base: &'a Manifest, seq: u64) -> Option<Vec<&'a Manifest>> {
        let mut chain = vec![base];
        let mut reached = base.last_seq;
        while reached < seq {
            let goes_on = |m: &&&Manifest| m.base_seq <= reached && m.last_seq > reached;
            let next = self
                .backups
                .iter()
                .filter(goes_on)
                .max_by_key(|m| m.last_seq)?;
            chain.push(next);
            reached = next.last_seq;
        }
        Some(chain)
    }

    /// The sequence number of a state.
    async fn locate(&self, to: &To) -> Result<u64, BackupError> {
        let found = match to {
            To::Latest => Some(self.end.last_seq),
            To::Seq(seq) => (*seq <= self.end.last_seq).then_some(*seq),
            To::Label(label) => self.locate_label(label),
            To::Time(time_ms) => self.locate_time(*time_ms).await?,
            To::Revision {
                namespace,
                revision,
            } => self.locate_revision(namespace, *revision).await?,
        };
        found.ok_or_else(|| self.not_covered(to))
    }

    fn locate_label(&self, label: &str) -> Option<u64> {
        let marks = self.backups.iter().flat_map(|m| &m.marks);
        let marked = marks
            .filter(|mark| mark.label == label)
            .map(|mark| mark.seq);
        let called = self.backups.iter().filter(|m| m.label == label);
        marked.max().or_else(|| called.map(|m| m.last_seq).max())
    }

    async fn locate_time(&self, time_ms: u64) -> Result<Option<u64>, BackupError> {
        let later = |m: &&Manifest| m.last_time_ms > time_ms;
        let Some(at) = self.backups.iter().position(later) else {
            return Ok((time_ms <= self.end.as_of_ms).then_some(self.end.last_seq));
        };
        let backup = self.backups[at];
        let first = (self.search(backup, |entry| entry.time_ms > time_ms)).await?;
        // That the commit before it is not later is known only if a backup has that one, too.
        let before = at.checked_sub(1).map_or(0, |at| self.backups[at].last_seq);
        let is_known = |seq: &u64| *seq > backup.base_seq || *seq <= before;
        // A full backup tells no times but that of its own log: nothing was committed up to it if the one before ends there, too.
        let at_end = (backup.last_seq <= before).then_some(backup.last_seq);
        Ok(first.map_or(at_end, |seq| Some(seq - 1)).filter(is_known))
    }

    async fn locate_revision(
        &self,
        namespace: &str,
        revision: u64,
    ) -> Result<Option<u64>, BackupError> {
        let revision_of = |m: &Manifest| m.namespaces.get(namespace).map_or(0, |ns| ns.revision);
        let reaches = |m: &&&Manifest| revision_of(m) >= revision;
        let Some(backup) = self.backups.iter().find(reaches) else {
            return Ok(None);
        };
        let wanted = |entry: &Entry<'_>| entry.namespace == namespace && entry.revision == revision;
        let found = self.search(backup, wanted).await?;
        let at_end = (revision_of(backup) == revision).then_some(backup.last_seq);
        Ok(found.or(at_end))
    }

    /// The first commit in a backup's log that is the one wanted.
    async fn search(
        &self,
        backup: &Manifest,
        is_wanted: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<Option<u64>, BackupError> {
        for file in backup.files.iter().filter(|f| f.kind == FileKind::Log) {
            let stored = self.target.get(&file.path).await?;
            let damaged = |detail| self.target.unreadable(&file.path, detail);
            for item in entries(self.target.unpack(file, &stored)?) {
                let (seq, bytes) = item.map_err(damaged)?;
                if is_wanted(&Entry::decode(&bytes).map_err(damaged)?) {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }

    fn not_covered(&self, to: &To) -> BackupError {
        let what = match to {
            To::Latest => "the newest state".to_owned(),
            To::Seq(seq) => format!("commit {seq}"),
            To::Revision {
                namespace,
                revision,
            } => format!("revision {revision} of {namespace}"),
            To::Time(time_ms) => format!("the state as of {}", names::time(*time_ms)),
            To::Label(label) => format!("the label {label:?}"),
        };
        let oldest = self.backups.iter().find(|m| m.kind == Kind::Full);
        let from = oldest.unwrap_or(&self.end);
        let detail = format!(
            "up to {} they begin with commit {} of {} and end with commit {} of {}, and between two full backups only what \
             incremental ones have is covered. Name another backup, or take one first",
            self.end.id,
            from.last_seq,
            names::time(from.last_time_ms),
            self.end.last_seq,
            names::time(self.end.as_of_ms),
        );
        BackupError::NotCovered {
            what,
            target: self.target.url().to_owned(),
            detail,
        }
    }
}

/// The plan to go along a chain of backups, as far as `seq`.
pub fn plan(chain: &[&Manifest], seq: u64) -> Plan {
    let base = chain[0];
    let records = base.files.iter().filter(|f| f.kind == FileKind::Records);
    let mut files: Vec<File> = records.cloned().collect();
    let mut reached = base.base_seq;
    for file in chain.iter().flat_map(|m| &m.files) {
        if file.kind == FileKind::Log && file.last_seq > reached && reached < seq {
            files.push(File {
                first_seq: reached + 1,
                last_seq: file.last_seq.min(seq),
                ..file.clone()
            });
            reached = file.last_seq;
        }
    }
    Plan {
        base: base.clone(),
        backups: chain.iter().map(|m| m.id.clone()).collect(),
        seq,
        files,
    }
}
