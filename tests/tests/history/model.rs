//! The store as one thing used by one caller at a time: a few records and the newest revision.
//!
//! Revisions may leave gaps, but must grow with each commit. The revision of what was done but never answered is not
//! known; it is learnt from the first who is shown the record. Until then no guard can name it, since whoever names a
//! revision was told it before.

use stillpoint_tests::linearizability::Model;

use crate::language::{Answer, Document, Guard, KEYS, Key, Op, Record, Step, Told};

/// The store of one history.
pub struct Store;

/// All that the next answer may depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    records: [Option<Entry>; KEYS as usize],
    /// The newest revision is at least this.
    revision: u64,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    document: Document,
    create_rev: Revision,
    mod_rev: Revision,
    version: u64,
}

/// What is known of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Revision {
    Is(u64),
    /// Nobody has been told yet.
    IsOver(u64),
}

/// Why an operation is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    Conflict(Key),
    OutOfBounds,
}

impl Model for Store {
    type State = State;
    type Op = Op;
    type Answer = Told;

    fn initial(&self) -> State {
        State {
            records: Default::default(),
            revision: 0,
        }
    }

    fn step(&self, state: &State, op: &Op, told: Option<&Told>) -> Option<State> {
        let mut next = state.clone();
        let Some(Told { answer, .. }) = told else {
            return Some(next.perform(op).map_or_else(|_| state.clone(), |()| next));
        };
        let is_explained = match (op, answer) {
            (Op::One(step), Answer::Got(_)) => next.explains(step, answer, 0),
            (Op::BatchGet(keys), Answer::GotAll { revision, records }) => {
                next.shows_all(keys.iter().copied(), records) && next.was_read_at(*revision)
            }
            (Op::Scan, Answer::GotAll { revision, records }) => {
                next.shows_all(0..KEYS, records) && next.was_read_at(*revision)
            }
            (Op::One(step), _) if answer.revision().is_some() => {
                let revision = answer.revision().expect("it was just there");
                next.explains(step, answer, revision) && next.commits(state, revision)
            }
            (
                Op::Txn {
                    guards,
                    then,
                    otherwise,
                },
                Answer::Done {
                    succeeded,
                    revision,
                    results,
                },
            ) => {
                let steps = if *succeeded { then } else { otherwise };
                state.first_failed(guards).is_none() == *succeeded
                    && steps.len() == results.len()
                    && (steps.iter().zip(results))
                        .all(|(step, result)| next.explains(step, result, *revision))
                    && next.commits(state, *revision)
            }
            (_, Answer::Conflict { key, current }) => {
                state.clone().perform(op) == Err(Refusal::Conflict(*key))
                    && next.shows(*key, current.as_ref())
            }
            (_, Answer::OutOfBounds) => state.clone().perform(op) == Err(Refusal::OutOfBounds),
            _ => false,
        };
        is_explained.then_some(next)
    }

    /// As the revisions say that it was; what says nothing of itself may come as soon as it can.
    fn rank(&self, op: &Op, told: &Told) -> u64 {
        match (op, &told.answer) {
            (Op::One(_), answer) => answer.revision().map_or(0, |revision| 2 * revision),
            (_, Answer::Done { revision, .. }) => 2 * revision,
            // Behind the commit of this revision.
            (_, Answer::GotAll { revision, .. }) => 2 * revision + 1,
            _ => 0,
        }
    }
}

impl Answer {
    /// The revision of the commit that the answer to a single write tells of; 0: it wrote nothing.
    fn revision(&self) -> Option<u64> {
        match self {
            Answer::Put { mod_rev, .. } => Some(*mod_rev),
            Answer::Added(record) => Some(record.mod_rev),
            Answer::Deleted { revision, .. } => Some(*revision),
            _ => None,
        }
    }
}

impl State {
    /// Does what nobody was told the outcome of. After an error the state is worth nothing.
    fn perform(&mut self, op: &Op) -> Result<(), Refusal> {
        let before = self.clone();
        let commit = Revision::IsOver(self.revision);
        let steps = match op {
            Op::BatchGet(_) | Op::Scan => return Ok(()),
            Op::One(step) => std::slice::from_ref(step),
            Op::Txn {
                guards,
                then,
                otherwise,
            } => match self.first_failed(guards) {
                None => then,
                Some(key) if otherwise.is_empty() => return Err(Refusal::Conflict(key)),
                Some(_) => otherwise,
            },
        };
        for step in steps {
            self.apply(step, commit)?;
        }
        self.revision += u64::from(self.differs_from(&before));
        Ok(())
    }

    /// Does a step as part of the commit `revision`; whether it can have had this result.
    fn explains(&mut self, step: &Step, result: &Answer, revision: u64) -> bool {
        let had = |state: &State, key: Key| state.records[usize::from(key)].is_some();
        let existed = had(self, step.key());
        if self.apply(step, Revision::Is(revision)).is_err() {
            return false;
        }
        match (step, result) {
            (Step::Get(key), Answer::Got(record)) => self.shows(*key, record.as_ref()),
            (Step::Put { key, .. }, Answer::Put { mod_rev, version }) => {
                let entry = self.records[usize::from(*key)].as_ref();
                *mod_rev == revision && entry.is_some_and(|entry| entry.version == *version)
            }
            (Step::Add { key, .. }, Answer::Added(record)) => self.shows(*key, Some(record)),
            (
                Step::Delete { .. },
                Answer::Deleted {
                    existed: told,
                    revision: at,
                },
            ) => *told == existed && *at == if existed { revision } else { 0 },
            _ => false,
        }
    }

    /// Whether the commit that led here from `before` can have this revision.
    fn commits(&mut self, before: &State, revision: u64) -> bool {
        if !self.differs_from(before) {
            // What is not known of what was deleted since does not matter.
            return revision == 0 || self.was_read_at(revision);
        }
        let is_newer = revision > before.revision;
        self.revision = self.revision.max(revision);
        is_newer
    }

    /// Whether anything was written since. Every write changes a record's version, or whether it is there.
    fn differs_from(&self, before: &State) -> bool {
        let version = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.version);
        let mut pairs = self.records.iter().zip(&before.records);
        pairs.any(|(now, then)| version(now) != version(then))
    }

    /// Whether it can be that this was the newest revision.
    fn was_read_at(&mut self, revision: u64) -> bool {
        let can_be = revision >= self.revision;
        self.revision = self.revision.max(revision);
        can_be
    }

    fn shows_all(&mut self, keys: impl IntoIterator<Item = Key>, told: &[Option<Record>]) -> bool {
        let mut count = 0;
        let all = keys.into_iter().zip(told).all(|(key, record)| {
            count += 1;
            self.shows(key, record.as_ref())
        });
        all && count == told.len()
    }

    /// Whether a record is as told; what was not known of its revisions is known from now on.
    fn shows(&mut self, key: Key, told: Option<&Record>) -> bool {
        let entry = &mut self.records[usize::from(key)];
        let (Some(entry), Some(told)) = (entry.as_mut(), told) else {
            return entry.is_none() && told.is_none();
        };
        self.revision = self.revision.max(told.mod_rev);
        entry.document == told.document
            && entry.version == told.version
            && entry.mod_rev.learn(told.mod_rev)
            && entry.create_rev.learn(told.create_rev)
            && (told.create_rev == told.mod_rev) == (told.version == 1)
    }

    fn apply(&mut self, step: &Step, commit: Revision) -> Result<(), Refusal> {
        let entry = &mut self.records[usize::from(step.key())];
        match step {
            Step::Get(_) => {}
            Step::Put {
                key,
                document,
                guard,
            } => {
                require(*key, entry.as_ref(), *guard)?;
                Entry::write(entry, document.clone(), commit);
            }
            Step::Add { delta, min, .. } => {
                let old = entry.as_ref().map(|entry| entry.document.clone());
                let mut document = old.unwrap_or(Document { n: 0, tag: 0 });
                document.n += delta;
                if min.is_some_and(|min| document.n < min) {
                    return Err(Refusal::OutOfBounds);
                }
                Entry::write(entry, document, commit);
            }
            Step::Delete { key, guard } => {
                require(*key, entry.as_ref(), *guard)?;
                *entry = None;
            }
        }
        Ok(())
    }

    fn first_failed(&self, guards: &[(Key, Guard)]) -> Option<Key> {
        let failed = guards
            .iter()
            .find(|(key, guard)| !guard.holds(self.records[usize::from(*key)].as_ref()));
        failed.map(|(key, _)| *key)
    }
}

impl Entry {
    fn write(entry: &mut Option<Entry>, document: Document, commit: Revision) {
        let (create_rev, version) = match entry {
            Some(entry) => (entry.create_rev, entry.version + 1),
            None => (commit, 1),
        };
        *entry = Some(Entry {
            document,
            create_rev,
            mod_rev: commit,
            version,
        });
    }
}

impl Revision {
    /// Whether it can be this; then it is from now on.
    fn learn(&mut self, told: u64) -> bool {
        let can_be = match *self {
            Revision::Is(revision) => told == revision,
            Revision::IsOver(revision) => told > revision,
        };
        *self = Revision::Is(told);
        can_be
    }
}

impl Guard {
    fn holds(self, entry: Option<&Entry>) -> bool {
        match self {
            Guard::Exists(exists) => entry.is_some() == exists,
            Guard::ModRev(0) => entry.is_none(),
            Guard::ModRev(revision) => entry.is_some_and(|e| e.mod_rev == Revision::Is(revision)),
        }
    }
}

fn require(key: Key, entry: Option<&Entry>, guard: Option<Guard>) -> Result<(), Refusal> {
    match guard {
        Some(guard) if !guard.holds(entry) => Err(Refusal::Conflict(key)),
        _ => Ok(()),
    }
}
