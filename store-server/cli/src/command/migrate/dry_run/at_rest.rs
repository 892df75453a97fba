//! On the records of a backup, which is restored for that, by ourselves.

use std::{
    env,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use stillpoint_migrations::{Limits, Source, source::ANY_NAMESPACE};
use stillpoint_proto::{
    name::LATEST,
    v1::{
        CollectionName, DryRunDifference, DryRunFailures, DryRunProgress, DryRunSummary,
        QuarantinedRecord, RecordKey,
    },
};
use stillpoint_store_server::{
    backup::{BackupError, Restored, Target, To},
    migration::dry_run::{Findings, Stored, Told, Trial, dry_run},
};

use super::{Options, live::not_applied, report::Report};
use crate::{
    backup::{
        target::absolute,
        work::{self, Meter},
    },
    failure::Failure,
    interrupt::Interrupt,
    management::words::moment,
    migrate::collection::name,
    settings::GivenSettings,
};

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Restores the backup, and tries the scripts.
pub fn run(options: &Options, from: &str, report: &mut Report) -> Result<(), Failure> {
    let sources = options.folder.read_sound()?;
    let collections = match options.collections.as_slice() {
        [] => not_applied(&sources, &[]),
        named => options.home.find_all(named),
    };
    if collections.is_empty() {
        report.note(&format!(
            "nothing to try: there are no scripts in {}",
            options.folder.path().display()
        ));
        return Ok(());
    }
    let limits = limits(options)?;
    let target = Target::open(&absolute(from)?)?.with_key(options.key.read()?);
    let restored = {
        let meter = Meter::new("restoring");
        let tell = |progress| meter.tell(&progress);
        let backup = options.backup.as_deref().unwrap_or(LATEST);
        let to = options.to.clone().map_or(To::Latest, |moment| moment.0);
        let place = options.scratch.clone().unwrap_or_else(env::temp_dir);
        work::run(Restored::new(&target, backup, to, &place, &tell))?
    };
    let of = restored.report();
    report.note(&format!(
        "the records are those of commit {} of {}",
        of.seq,
        moment(of.time_ms)
    ));
    let interrupt = Interrupt::listen()?;
    for collection in &collections {
        let rehearsal = Rehearsal {
            restored: &restored,
            sources: &sources,
            limits: &limits,
            options,
            interrupt: &interrupt,
        };
        rehearsal.run(collection, report)?;
    }
    Ok(())
}

/// The store's bounds on what scripts make, by its settings.
fn limits(options: &Options) -> Result<Limits, Failure> {
    let settings = GivenSettings::of_environment().map_err(Failure::usage)?;
    let config = settings.into_config(options.config.as_deref());
    let config = config.map_err(Failure::usage)?;
    Ok(Limits {
        value_bytes: config.limits.value_bytes,
        nesting: config.limits.nesting,
        ..Limits::default()
    })
}

/// Scripts, and the records to try them on.
struct Rehearsal<'a> {
    restored: &'a Restored,
    sources: &'a [Source],
    limits: &'a Limits,
    options: &'a Options,
    interrupt: &'a Interrupt,
}

impl Rehearsal<'_> {
    /// Tries a collection, in all namespaces if that is meant.
    fn run(&self, collection: &CollectionName, report: &mut Report) -> Result<(), Failure> {
        let here = self.restored.report().namespaces.keys();
        let namespaces: Vec<&str> = match collection.namespace.as_str() {
            ANY_NAMESPACE => here.map(String::as_str).collect(),
            namespace => vec![namespace],
        };
        report.begin(&name(collection));
        let mut counted = Vec::new();
        let mut total: u64 = 0;
        let to = match self.options.to_version {
            None => self.newest(collection)?,
            Some(to) => to,
        };
        for namespace in namespaces {
            if collection.namespace == ANY_NAMESPACE && self.is_beyond(namespace, collection, to)? {
                continue;
            }
            let records = self.restored.records(namespace, &collection.collection);
            let mut count: u64 = 0;
            for record in records {
                record?;
                count += 1;
            }
            counted.push((namespace, count));
            total += count;
        }
        let every = match self.options.sample {
            None => 1,
            Some(sample) => total.div_ceil(sample).max(1),
        };
        let mut progress = Progress {
            told: Instant::now(),
            total: total.div_ceil(every),
        };
        let mut findings = Findings::new(self.options.examples.into());
        for (namespace, count) in counted {
            if count == 0 && collection.namespace == ANY_NAMESPACE {
                continue;
            }
            let mut trial = Trial::new(
                namespace,
                &collection.collection,
                self.sources,
                Some(to),
                self.limits,
            )
            .map_err(Failure::usage)?;
            let records = self.records(namespace, &collection.collection, every);
            let mut failure = Ok(());
            let flow = dry_run(&mut trial, records, &mut findings, |findings, told| {
                let name = (namespace, collection.collection.as_str());
                failure = tell(report, name, told);
                progress.tell(report, findings);
                match failure.is_err() || self.interrupt.is_told() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })?;
            failure?;
            if flow.is_break() {
                return Err(Failure::operation("interrupted: nothing was changed"));
            }
        }
        report.end(&summary(&findings, to))
    }

    /// The newest version that the scripts make of a collection; in all namespaces that of all of them.
    fn newest(&self, collection: &CollectionName) -> Result<u32, Failure> {
        let CollectionName {
            namespace,
            collection,
        } = collection;
        let serve = |source: &&Source| source.serves(namespace, collection);
        let newest = self
            .sources
            .iter()
            .filter(serve)
            .map(|source| source.number);
        newest.max().ok_or_else(|| {
            let folder = self.options.folder.path().display();
            Failure::usage(format_args!(
                "there are no scripts for {namespace}/{collection} in {folder}"
            ))
        })
    }

    /// Whether a namespace is at a newer version: an apply in all of them leaves it as it is.
    fn is_beyond(
        &self,
        namespace: &str,
        collection: &CollectionName,
        to: u32,
    ) -> Result<bool, Failure> {
        let version = self.restored.version(namespace, &collection.collection)?;
        Ok(version.is_some_and(|version| version > to))
    }

    /// Every so many records of a collection.
    fn records(
        &self,
        namespace: &str,
        collection: &str,
        every: u64,
    ) -> impl Iterator<Item = Result<Stored, BackupError>> {
        let records = self.restored.records(namespace, collection);
        let step = usize::try_from(every).unwrap_or(usize::MAX);
        records.step_by(step).map(|found| {
            found.map(|(key, record)| Stored {
                key,
                schema: record.schema,
                value: record.value,
            })
        })
    }
}

/// When it was last told how far it is, and of how many records.
struct Progress {
    told: Instant,
    total: u64,
}

impl Progress {
    fn tell(&mut self, report: &Report, findings: &Findings) {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            report.progress(&DryRunProgress {
                records: findings.records,
                records_total: self.total,
            });
        }
    }
}

/// Tells of a record as the store would.
fn tell(
    report: &mut Report,
    (namespace, collection): (&str, &str),
    told: Told,
) -> Result<(), Failure> {
    let key = |record: &Stored| {
        Some(RecordKey {
            collection: collection.into(),
            key: record.key.clone(),
        })
    };
    match told {
        Told::Difference { before, after } => report.difference(DryRunDifference {
            namespace: namespace.into(),
            key: key(&before),
            from_version: before.schema,
            before: before.value,
            after,
        }),
        Told::Failure { record, error } => report.failure(QuarantinedRecord {
            namespace: namespace.into(),
            key: key(&record),
            schema: record.schema,
            error,
            ..QuarantinedRecord::default()
        }),
        Told::Tried => Ok(()),
    }
}

fn summary(findings: &Findings, to_version: u32) -> DryRunSummary {
    let failures = findings.failures().into_iter();
    let failures = failures.map(|(error, records)| DryRunFailures {
        error: error.into(),
        records,
    });
    DryRunSummary {
        to_version,
        records: findings.records,
        changed: findings.changed,
        failed: findings.failed,
        bytes_before: findings.bytes_before,
        bytes_after: findings.bytes_after,
        largest_after: findings.largest_after,
        micros: findings.time.as_micros().try_into().unwrap_or(u64::MAX),
        failures: failures.collect(),
    }
}
