//! What a migration would do to the records of the running store. It reads them page by page, and rests as long as it works,
//! so that nobody feels it.

use std::{
    cell::Cell,
    collections::BTreeSet,
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use stillpoint_migrations::Source;
use stillpoint_proto::v1::{
    DryRunDifference, DryRunFailures, DryRunMigrationRequest, DryRunMigrationResponse,
    DryRunProgress, DryRunSummary, QuarantinedRecord, Reason, RecordKey, StoreError,
    dry_run_migration_response::Kind,
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use tonic::Status;

use super::{
    migrations::{Migrations, invalid},
    name::Name,
    publish::{asked, merged},
};
use crate::{
    migration::dry_run::{Findings, Stored, Told, Trial, dry_run},
    store::{Store, keys, schema::Table, server_time_ms},
};

/// Examples that are told where the caller does not say how many ...
const EXAMPLES: u32 = 10;

/// ... and at most.
const EXAMPLES_MAX: u32 = 1000;

/// Messages on their way to a caller. A slow one holds up the trial, not the store.
const TOLD_MAX: usize = 16;

/// How often the caller is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// It works so long at a stretch, and then rests as long as it worked.
const WORK: Duration = Duration::from_millis(5);

type Answer = Result<DryRunMigrationResponse, Status>;

/// Begins a dry run; gives what is told of it.
pub fn begin(
    migrations: &Arc<Migrations>,
    request: DryRunMigrationRequest,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    let name = Name::asked(request.collection)?;
    let table = migrations.store.schemas();
    let sources = merged(&table, &asked(request.scripts)?);
    let newest = newest(&sources, &name).ok_or_else(|| {
        invalid(format!(
            "there are no scripts for {name}: give some, or publish them with `stillpoint migrate publish DIR`"
        ))
    })?;
    let (sender, told) = mpsc::channel(TOLD_MAX);
    let run = Run {
        store: migrations.store.clone(),
        stopping: migrations.stopping.clone(),
        table,
        sources,
        to: match request.to_version {
            0 => newest,
            to => to,
        },
        sample: request.sample,
        examples: match request.examples {
            0 => EXAMPLES,
            examples => examples.min(EXAMPLES_MAX),
        },
        sender,
        told: Cell::new(Instant::now()),
        since: Cell::new(Instant::now()),
    };
    spawn_blocking(move || run.run(&name));
    Ok(told)
}

/// The newest version that scripts make of a collection.
fn newest(sources: &[Source], name: &Name) -> Option<u32> {
    let serve = |source: &&Source| source.serves(&name.namespace, &name.collection);
    let sources = sources.iter().filter(serve);
    sources.map(|source| source.number).max()
}

struct Run {
    store: Store,
    stopping: watch::Receiver<bool>,
    table: Arc<Table>,
    sources: Vec<Source>,
    /// The version to try.
    to: u32,
    sample: u64,
    examples: u32,
    sender: mpsc::Sender<Answer>,
    /// When the caller was last told how far it is.
    told: Cell<Instant>,
    /// Since when it has worked at a stretch.
    since: Cell<Instant>,
}

impl Run {
    fn run(self, name: &Name) {
        let last = match self.all(name) {
            Ok(Some(findings)) => Ok(self.message(Kind::Done(summary(&findings, self.to)))),
            Ok(None) => return,
            Err(error) => Err(error.to_status()),
        };
        drop(self.sender.blocking_send(last));
    }

    /// Tries the records of all namespaces that are meant; `None`: nobody listens.
    fn all(&self, name: &Name) -> Result<Option<Findings>, StoreError> {
        let names = match name.is_any() {
            true => self.everywhere(name),
            false => vec![name.clone()],
        };
        let mut total = 0;
        for name in &names {
            total += self.count(name)?;
        }
        let every = match self.sample {
            0 => 1,
            sample => total.div_ceil(sample).max(1),
        };
        let mut findings = Findings::new(self.examples.into());
        let mut place = 0;
        for name in &names {
            let total = total.div_ceil(every);
            let flow = self.one(name, every, &mut place, total, &mut findings)?;
            if flow.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(findings))
    }

    /// The collection in all namespaces, each of which an apply takes to the same version, whatever scripts of its own it has.
    /// Those that are at a newer one are left out, as that does.
    fn everywhere(&self, name: &Name) -> Vec<Name> {
        let namespaces: BTreeSet<_> = self.store.state().namespaces.into_keys().collect();
        let names = namespaces.iter().map(|namespace| name.within(namespace));
        let is_newer = |name: &Name| {
            let version = self.table.version(&name.namespace, &name.collection);
            version.is_some_and(|version| version > self.to)
        };
        names
            .filter(|name| !name.is_any() && !is_newer(name))
            .collect()
    }

    fn count(&self, name: &Name) -> Result<u64, StoreError> {
        let mut count = 0;
        for record in self.store.live_records(range(name)) {
            record?;
            count += 1;
            self.rest()?;
        }
        Ok(count)
    }

    /// Tries every so many-eth record of a collection.
    fn one(
        &self,
        name: &Name,
        every: u64,
        place: &mut u64,
        records_total: u64,
        findings: &mut Findings,
    ) -> Result<ControlFlow<()>, StoreError> {
        let Name {
            namespace,
            collection,
        } = name;
        let limits = self.table.limits();
        let trial = Trial::new(namespace, collection, &self.sources, Some(self.to), limits);
        let mut trial = trial.map_err(|error| invalid(error.to_string()))?;
        let records = self.store.live_records(range(name)).filter_map(|found| {
            let (key, record) = match self.rest().and(found) {
                Ok((key, record)) => (key, record?),
                Err(error) => return Some(Err(error)),
            };
            let is_chosen = (*place).is_multiple_of(every);
            *place += 1;
            is_chosen.then(|| {
                Ok(Stored {
                    key,
                    schema: record.schema,
                    value: record.value,
                })
            })
        });
        dry_run(&mut trial, records, findings, |findings, told| {
            self.tell(name, findings, told, records_total)
        })
    }

    /// Rests if it has worked long enough, and gives up where nobody waits for it any more.
    fn rest(&self) -> Result<(), StoreError> {
        let worked = self.since.get().elapsed();
        if worked < WORK {
            return Ok(());
        }
        let why = match *self.stopping.borrow() {
            true => "the server stops; try again later",
            false if self.sender.is_closed() => "its caller left",
            false => {
                thread::sleep(worked);
                self.since.set(Instant::now());
                return Ok(());
            }
        };
        let message = format!("the dry run was given up: {why}");
        Err(StoreError::new(Reason::Unavailable, message))
    }

    fn tell(
        &self,
        name: &Name,
        findings: &Findings,
        told: Told,
        records_total: u64,
    ) -> ControlFlow<()> {
        let key = |record: &Stored| {
            Some(RecordKey {
                collection: name.collection.clone(),
                key: record.key.clone(),
            })
        };
        let kind = match told {
            Told::Difference { before, after } => Kind::Difference(DryRunDifference {
                namespace: name.namespace.clone(),
                key: key(&before),
                from_version: before.schema,
                before: before.value,
                after,
            }),
            Told::Failure { record, error } => Kind::Failure(QuarantinedRecord {
                namespace: name.namespace.clone(),
                key: key(&record),
                schema: record.schema,
                mod_rev: 0,
                error,
                time_ms: server_time_ms(),
            }),
            Told::Tried if self.told.get().elapsed() >= TELL_EVERY => {
                self.told.set(Instant::now());
                Kind::Progress(DryRunProgress {
                    records: findings.records,
                    records_total,
                })
            }
            Told::Tried => return ControlFlow::Continue(()),
        };
        match self.sender.blocking_send(Ok(self.message(kind))) {
            Ok(()) => ControlFlow::Continue(()),
            // The caller has left.
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn message(&self, kind: Kind) -> DryRunMigrationResponse {
        DryRunMigrationResponse {
            header: Some(self.store.header()),
            kind: Some(kind),
        }
    }
}

fn range(name: &Name) -> crate::engine::KeyRange {
    keys::scan_range(&name.namespace, &name.collection, b"", b"", b"")
}

/// What was found, for an answer.
fn summary(findings: &Findings, to_version: u32) -> DryRunSummary {
    DryRunSummary {
        to_version,
        records: findings.records,
        changed: findings.changed,
        failed: findings.failed,
        bytes_before: findings.bytes_before,
        bytes_after: findings.bytes_after,
        largest_after: findings.largest_after,
        micros: findings.time.as_micros().try_into().unwrap_or(u64::MAX),
        failures: (findings.failures().into_iter())
            .map(|(error, records)| DryRunFailures {
                error: error.into(),
                records,
            })
            .collect(),
    }
}
