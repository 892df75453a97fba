//! Writing what differs, in commits of a bounded size.
//!
//! A commit is made on the condition that its records are still what they were compared with. If one is not, all of them are
//! compared again. In a rehearsal nothing is written, and the rest is the same. A record that cannot be migrated is told by
//! itself, and the others go on.

use stillpoint_proto::v1::{
    Reason, RestorePhase, RestoreProgress, RestoreRecordsEnd, StoreError,
    restore_records_response::Kind,
};

use super::{
    compare::{Difference, Then, compare, named},
    source::Source,
    wanted::Wanted,
};
use crate::store::Store;

/// Brings records back, or says what would be.
pub struct Work<'a> {
    /// The store.
    pub store: &'a Store,
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// Who asks.
    pub actor: &'a str,
    /// Nothing is written.
    pub is_rehearsal: bool,
    /// Called before the first commit.
    pub before_first: &'a mut dyn FnMut(),
    /// Told what comes of it; an error breaks it off.
    pub tell: &'a mut dyn FnMut(Kind) -> Result<(), StoreError>,
    /// What came of it so far.
    pub end: RestoreRecordsEnd,
}

/// Records compared while commits wait.
const PORTION: usize = 256;

/// Bytes that a commit has, unless its first record alone has more.
const COMMIT_BYTES: usize = 32 << 20;

/// So often records are compared and written before it is given up to find them at rest.
const ATTEMPTS: usize = 16;

impl Work<'_> {
    /// Compares and writes all of them.
    pub fn run(mut self, source: &Source) -> Result<RestoreRecordsEnd, StoreError> {
        match self.all(source) {
            Ok(()) => Ok(self.end),
            Err(error) => Err(self.with_what_was_done(error)),
        }
    }

    fn all(&mut self, source: &Source) -> Result<(), StoreError> {
        let (store, wanted) = (self.store, self.wanted);
        let mut states = source.states(store, wanted);
        let mut group = Group::default();
        loop {
            let portion = states.by_ref().take(PORTION);
            let portion = portion.collect::<Result<Vec<_>, _>>()?;
            if portion.is_empty() {
                break;
            }
            self.end.compared += portion.len() as u64;
            let (was, expired) = named(store, &wanted.names, portion)?;
            self.end.expired += expired;
            for difference in self.compare(was)? {
                if group.is_full(&difference, store.config().limits.batch_ops) {
                    self.write(std::mem::take(&mut group))?;
                }
                group.push(difference);
            }
            self.progress(source)?;
        }
        self.write(group)
    }

    /// The records that differ. Tells those of which nobody can say.
    fn compare(&mut self, was: Vec<Then>) -> Result<Vec<Difference>, StoreError> {
        let compared = compare(self.store, &self.wanted.names, was)?;
        for change in compared.unreadable {
            self.end.unreadable += 1;
            self.tell(Kind::Change(change))?;
        }
        Ok(compared.differences)
    }

    fn write(&mut self, group: Group) -> Result<(), StoreError> {
        let mut differences = group.differences;
        if differences.is_empty() {
            return Ok(());
        }
        if self.is_rehearsal {
            return (differences.into_iter()).try_for_each(|difference| {
                let change = difference.told(None);
                self.end.changed += 1;
                self.end.owned += u64::from(change.owner.is_some());
                self.tell(Kind::Change(change))
            });
        }
        if self.end.commits == 0 {
            (self.before_first)();
        }
        let namespace = &self.wanted.names.namespace;
        for _ in 0..ATTEMPTS {
            let given = differences.iter().map(Difference::given).collect();
            match self.store.give_back(namespace, self.actor, given) {
                Ok(given_back) => {
                    self.end.commits += 1;
                    self.end.revision = given_back.committed.revision;
                    // All of it is done, whoever hears of it.
                    self.end.changed += differences.len() as u64;
                    self.end.owned += given_back.owners.iter().flatten().count() as u64;
                    let mut each = differences.into_iter().zip(given_back.owners);
                    return each.try_for_each(|(difference, owner)| {
                        let mut change = difference.told(None);
                        change.owner = owner;
                        self.tell(Kind::Change(change))
                    });
                }
                // The store's version may have changed, too.
                Err(error) if is_outdated(error.reason()) => {
                    let was = differences.into_iter().map(Difference::then);
                    differences = self.compare(was.collect())?;
                    if differences.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(restless(&differences))
    }

    fn with_what_was_done(&self, mut error: StoreError) -> StoreError {
        if self.end.commits > 0 {
            error.message += &format!(
                " ({} records were brought back before, and stay so)",
                self.end.changed
            );
        }
        error
    }

    fn progress(&mut self, source: &Source) -> Result<(), StoreError> {
        let phase = match self.end.commits {
            0 => RestorePhase::Comparing,
            _ => RestorePhase::Writing,
        };
        self.tell(Kind::Progress(RestoreProgress {
            phase: phase.into(),
            records: self.end.compared,
            records_total: source.records(),
            ..RestoreProgress::default()
        }))
    }

    fn tell(&mut self, kind: Kind) -> Result<(), StoreError> {
        (self.tell)(kind)
    }
}

/// Whether a refusal says that the records have to be compared again.
fn is_outdated(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::VersionConflict | Reason::MigrationFailed | Reason::SchemaUnsupported
    )
}

/// Others write the records faster than they can be compared.
fn restless(differences: &[Difference]) -> StoreError {
    let name = differences.first().map(Difference::name);
    let text = name.map_or_else(String::new, |name| {
        format!("{}/{}", name.collection, name.key.escape_ascii())
    });
    let message = format!(
        "{text} and {} records with it: one of them was written again each time they had been compared, {ATTEMPTS} \
         times; stop those who write them, or name fewer records",
        differences.len().saturating_sub(1)
    );
    let mut error = StoreError::new(Reason::VersionConflict, message);
    error.key = name.cloned();
    error
}

/// Records that are written together.
#[derive(Default)]
struct Group {
    differences: Vec<Difference>,
    bytes: usize,
}

impl Group {
    fn is_full(&self, next: &Difference, records_max: usize) -> bool {
        let has_some = !self.differences.is_empty();
        has_some
            && (self.differences.len() >= records_max || self.bytes + next.bytes() > COMMIT_BYTES)
    }

    fn push(&mut self, difference: Difference) {
        self.bytes += difference.bytes();
        self.differences.push(difference);
    }
}
