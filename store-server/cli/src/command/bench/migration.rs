//! What those who work feel of a migration, and how fast records are rewritten when nobody does.
//!
//! The foreground is YCSB A on documents of 400 bytes. Each round measures it alone, then for as long as the records are
//! rewritten at the usual rate beside it, and then rewrites them once more, as fast as it goes, with nobody there. Each of those
//! is a migration of its own, from one version to the next.

use std::{
    thread,
    time::{Duration, Instant},
};

use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{
    ApplyMigrationsRequest, CollectionName, MigrationPhase, MigrationScript, MigrationStatus,
    PublishScriptsRequest,
};

use super::{
    NAMESPACE,
    backup::{DOCUMENT_BYTES, IN_FLIGHT},
    measured::Latencies,
    migration_report,
    plan::{Cell, ClientKind, Workload},
    records::Records,
    rust_driver::Driver,
    server::Target,
};
use crate::{failure::Failure, interrupt::Interrupt, progress};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Records that are rewritten.
    pub records: u32,
    /// How often each is measured.
    pub rounds: u32,
    /// How long the foreground is measured alone.
    pub time: Duration,
}

/// Records that were rewritten, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Rewriting {
    /// Records that the job went through.
    pub records: u64,
    /// From the moment at which the version counts.
    pub elapsed: Duration,
}

impl Rewriting {
    /// Records a second.
    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }
}

/// The foreground, alone or beside a migration.
#[derive(Debug)]
pub struct Foreground {
    /// Of all operations, in nanoseconds.
    pub all: Latencies,
    /// Of the writes.
    pub writes: Latencies,
    /// How long it was measured.
    pub elapsed: Duration,
    /// What ran beside it.
    pub beside: Option<Rewriting>,
}

/// All that was measured, each in as many rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// The foreground alone.
    pub alone: Vec<Foreground>,
    /// The foreground while records are rewritten.
    pub beside: Vec<Foreground>,
    /// The rewriting alone.
    pub rewritings: Vec<Rewriting>,
}

/// Measures, and prints it.
pub fn run(
    sizes: &Sizes,
    target: &Target,
    interrupt: &Interrupt,
    json: bool,
) -> Result<(), Failure> {
    let report = measure(sizes, target, interrupt)?;
    migration_report::print(sizes, &target.version()?, &report, json)
}

fn measure(sizes: &Sizes, target: &Target, interrupt: &Interrupt) -> Result<Report, Failure> {
    let records = Records::new(DOCUMENT_BYTES, sizes.records);
    records.load(target)?;
    let mut report = Report::default();
    let mut scripts = Scripts::new(&records.collection);
    let bar = progress::steps("measuring", u64::from(sizes.rounds) * 3);
    let step = |what: &str| {
        bar.set_message(what.to_owned());
        bar.inc(1);
        interrupt.pause(Duration::ZERO)
    };
    for _ in 0..sizes.rounds {
        step("foreground")?;
        report.alone.push(work(sizes, target, &records, None)?);
        step("foreground and rewriting")?;
        let next = scripts.next();
        report
            .beside
            .push(work(sizes, target, &records, Some(next))?);
        step("rewriting")?;
        let mut admin = target.connect_admin()?;
        report
            .rewritings
            .push(migrate(&mut admin, scripts.next(), u64::MAX)?);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Measures the foreground: for some time, or for as long as a migration goes on.
fn work(
    sizes: &Sizes,
    target: &Target,
    records: &Records,
    migration: Option<PublishScriptsRequest>,
) -> Result<Foreground, Failure> {
    let cell = Cell {
        workload: Workload::YcsbA,
        client: ClientKind::Rust,
        size: DOCUMENT_BYTES,
        in_flight: IN_FLIGHT,
    };
    let mut driver = Driver::new(target.connect()?, &cell, records);
    driver.run(sizes.time / 10)?;
    driver.take_latencies();
    let begun = Instant::now();
    let beside = match migration {
        None => {
            driver.run(sizes.time)?;
            None
        }
        Some(scripts) => Some(while_migrated(&mut driver, target, scripts)?),
    };
    let elapsed = begun.elapsed();
    let (all, writes) = driver.take_latencies();
    Ok(Foreground {
        all,
        writes,
        elapsed,
        beside,
    })
}

fn while_migrated(
    driver: &mut Driver,
    target: &Target,
    scripts: PublishScriptsRequest,
) -> Result<Rewriting, Failure> {
    let mut admin = target.connect_admin()?;
    thread::scope(|scope| {
        let migrating = scope.spawn(|| migrate(&mut admin, scripts, 0));
        let driven = driver.run_while(&mut |_| !migrating.is_finished());
        let migrated = migrating.join();
        driven?;
        migrated.unwrap_or_else(|_| Err(Failure::operation("the migration's thread failed")))
    })
}

/// Applies the newest of these scripts, and waits until all records are rewritten. Rate 0 is the usual one.
fn migrate(
    admin: &mut AdminClient,
    scripts: PublishScriptsRequest,
    rate: u64,
) -> Result<Rewriting, Failure> {
    let collection = scripts.scripts.last().map(|script| CollectionName {
        namespace: script.namespace.clone(),
        collection: script.collection.clone(),
    });
    let collection = collection.unwrap_or_default();
    admin.publish_scripts(scripts)?;
    let request = ApplyMigrationsRequest {
        collections: vec![collection.clone()],
        rate,
        actor: "stillpoint bench".into(),
        ..ApplyMigrationsRequest::default()
    };
    for told in admin.apply_migrations(request)? {
        told?;
    }
    let begun = Instant::now();
    let mut last = MigrationStatus::default();
    for told in admin.follow_migration(collection)? {
        last = told?.status.unwrap_or(last);
    }
    if last.phase() != MigrationPhase::Rewritten {
        return Err(Failure::operation(format_args!(
            "the records were not all rewritten: {}",
            last.stopped_why
        )));
    }
    Ok(Rewriting {
        records: last.seen,
        elapsed: begun.elapsed(),
    })
}

/// Scripts, one for each migration, all alike.
struct Scripts {
    collection: String,
    all: Vec<MigrationScript>,
}

impl Scripts {
    fn new(collection: &str) -> Scripts {
        Scripts {
            collection: collection.to_owned(),
            all: Vec::new(),
        }
    }

    /// One more.
    fn next(&mut self) -> PublishScriptsRequest {
        let number = self.all.len() as u32 + 1;
        self.all.push(MigrationScript {
            namespace: NAMESPACE.into(),
            collection: self.collection.clone(),
            number,
            name: "bench".into(),
            text: script(number),
            ..MigrationScript::default()
        });
        PublishScriptsRequest {
            scripts: self.all.clone(),
            actor: "stillpoint bench".into(),
        }
    }
}

/// A script that changes a field of every document, there and back.
fn script(number: u32) -> String {
    let from = number - 1;
    format!(
        "return {{ from = {from}, to = {number}, \
         up = function(doc) doc.level = doc.level + 1 end, \
         down = function(doc) doc.level = doc.level - 1 end, \
         samples = {{ {{ level = 7, gold = 1 }} }} }}"
    )
}
