//! What was committed, as those who wrote it were told.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Condvar, Mutex};

/// Names a record: collection and key.
pub type Name = (&'static str, String);

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Begins the value; no two writes have the same.
    pub number: u64,
    /// The version that the writer was told.
    pub version: u64,
}

/// One commit.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The session that made it; empty for none.
    pub session: Arc<str>,
    /// What it did to each record; none: deleted it.
    pub changes: BTreeMap<Name, Option<Written>>,
}

/// All acknowledged commits, by revision. Whoever writes repeats until it is told, so none is missing in the end.
#[derive(Debug, Default)]
pub struct Truth {
    commits: Mutex<BTreeMap<u64, Commit>>,
    grown: Condvar,
    is_over: AtomicBool,
    /// Numbers given to values.
    numbers: AtomicU64,
}

impl Truth {
    /// A number that no value has yet.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes in a commit. Each revision is told to one writer, once.
    pub fn add(&self, revision: u64, commit: Commit) {
        let before = self.commits.lock().insert(revision, commit);
        assert!(before.is_none(), "revision {revision} was given twice");
        self.grown.notify_all();
    }

    /// Whoever drops this says that nobody writes any more, also when a writer panics.
    pub fn open(&self) -> Open<'_> {
        Open(self)
    }

    /// The last revision, once nobody writes any more.
    pub fn last(&self) -> Option<u64> {
        self.is_over().then(|| self.newest())
    }

    /// The newest revision that a writer was told.
    pub fn newest(&self) -> u64 {
        self.commits.lock().keys().next_back().copied().unwrap_or(0)
    }

    /// How many commits there are.
    pub fn count(&self) -> usize {
        self.commits.lock().len()
    }

    /// Waits until there are so many, or nobody writes any more.
    pub fn wait_for(&self, count: usize) {
        let mut commits = self.commits.lock();
        self.grown
            .wait_while(&mut commits, |c| c.len() < count && !self.is_over());
    }

    /// The commit of a revision.
    pub fn get(&self, revision: u64) -> Option<Commit> {
        self.commits.lock().get(&revision).cloned()
    }

    /// The first revision in a range whose commit is like this.
    pub fn find(&self, revisions: Range<u64>, is_it: impl Fn(&Commit) -> bool) -> Option<u64> {
        let commits = self.commits.lock();
        let mut commits = commits.range(revisions);
        commits.find(|(_, commit)| is_it(commit)).map(|(r, _)| *r)
    }

    /// All records as of a revision, with the revisions that wrote them.
    pub fn state_at(&self, revision: u64) -> BTreeMap<Name, (u64, Written)> {
        let mut state = BTreeMap::new();
        for (at, commit) in self.commits.lock().range(..=revision) {
            for (name, written) in &commit.changes {
                match written {
                    Some(written) => drop(state.insert(name.clone(), (*at, written.clone()))),
                    None => drop(state.remove(name)),
                }
            }
        }
        state
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Somebody writes.
pub struct Open<'a>(&'a Truth);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        // Nobody is between looking and waiting while the lock is held.
        drop(self.0.commits.lock());
        self.0.grown.notify_all();
    }
}
