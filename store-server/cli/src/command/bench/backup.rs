//! Backups while the store is worked on, restores, and starts after a kill.
//!
//! The writers are those of YCSB A, on documents of 400 bytes. They are measured alone and beside a full backup, once as
//! fast as it goes and once at the rate that is set where nobody sets one. Each backup is restored once. At last the
//! store is filled up, the server killed and started: as it is, and without its view, which it rebuilds.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{BackupSummary, CreateBackupRequest, create_backup_response::Kind};

use super::{
    measured::Latencies,
    plan::{Cell, ClientKind, Workload},
    records::Records,
    rust_driver::Driver,
    server::Target,
};
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    own_program::{self, OwnProcess},
    progress,
};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Records that are backed up.
    pub records: u32,
    /// Records with which the server starts.
    pub startup_records: u32,
    /// How often each is measured.
    pub rounds: u32,
    /// How long the writers are measured alone.
    pub time: Duration,
}

/// Bytes of a document.
pub const DOCUMENT_BYTES: u32 = 400;

/// Operations that the writers keep in flight.
pub const IN_FLIGHT: u32 = 32;

/// Longest time that a restore may take.
const RESTORE_MAX: Duration = Duration::from_secs(3600);

/// What runs beside the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// A full backup, as fast as it goes.
    Backup,
    /// A full backup at the usual rate.
    UsualBackup,
}

impl Beside {
    /// In the order of the table.
    const ALL: [Beside; 3] = [Beside::Nothing, Beside::Backup, Beside::UsualBackup];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Beside::Nothing => "nothing",
            Beside::Backup => "backup, no limit",
            Beside::UsualBackup => "backup, usual rate",
        }
    }
}

/// Something that took its time, and the bytes of records and log that it was about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Bytes, before compression.
    pub bytes: u64,
    /// Bytes of the files.
    pub stored_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Moved {
    /// Millions of bytes a second, before compression.
    pub fn mb_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64().max(1e-6)
    }
}

/// The writers, beside something.
#[derive(Debug)]
pub struct Writers {
    /// Operations, with the reads.
    pub ops: u64,
    /// Of the writes, in nanoseconds.
    pub latencies: Latencies,
    /// How long they were measured.
    pub elapsed: Duration,
    /// What ran beside them; nothing has no bytes.
    pub beside: Moved,
}

impl Writers {
    /// Operations per second, with the reads.
    pub fn ops_per_second(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    /// A latency that this share of the writes keeps, in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// All that was measured, each in as many rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// The writers, by what ran beside them.
    pub writers: Vec<(Beside, Vec<Writers>)>,
    /// Restores of the backups.
    pub restores: Vec<Moved>,
    /// Starts after a kill.
    pub starts: Vec<Duration>,
    /// The same without the view.
    pub rebuilds: Vec<Duration>,
}

/// Measures all of it.
pub fn measure(
    sizes: &Sizes,
    target: &mut Target,
    interrupt: &Interrupt,
) -> Result<Report, Failure> {
    let mut report = Report {
        writers: Beside::ALL.map(|beside| (beside, Vec::new())).into(),
        ..Report::default()
    };
    Records::new(DOCUMENT_BYTES, sizes.records).load(target)?;
    let bar = progress::steps("measuring", u64::from(sizes.rounds) * 6);
    let step = |what: &str| {
        bar.set_message(what.to_owned());
        bar.inc(1);
        interrupt.pause(Duration::ZERO)
    };
    let backups = target.beside("backups")?;
    for _ in 0..sizes.rounds {
        for (beside, rounds) in &mut report.writers {
            step(beside.name())?;
            let writers = write(sizes, target, *beside, &backups)?;
            if *beside == Beside::Backup {
                step("restore")?;
                let into = target.beside("restored")?;
                let elapsed = restore(&backups, &into, interrupt)?;
                report.restores.push(Moved {
                    elapsed,
                    ..writers.beside
                });
            }
            if *beside != Beside::Nothing {
                fs::remove_dir_all(&backups)?;
            }
            rounds.push(writers);
        }
    }
    if sizes.startup_records > sizes.records {
        Records::new(DOCUMENT_BYTES, sizes.startup_records).load_from(sizes.records, target)?;
    }
    for _ in 0..sizes.rounds {
        step("start")?;
        report.starts.push(target.kill_and_start(false)?);
        step("start without the view")?;
        report.rebuilds.push(target.kill_and_start(true)?);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Measures the writers for as long as the backup takes.
fn write(
    sizes: &Sizes,
    target: &Target,
    beside: Beside,
    backups: &Path,
) -> Result<Writers, Failure> {
    let records = Records::new(DOCUMENT_BYTES, sizes.records);
    let cell = Cell {
        workload: Workload::YcsbA,
        client: ClientKind::Rust,
        size: DOCUMENT_BYTES,
        in_flight: IN_FLIGHT,
    };
    let mut driver = Driver::new(target.connect()?, &cell, &records);
    driver.run(sizes.time / 10)?;
    driver.take_latencies();
    let begun = Instant::now();
    let moved = match beside {
        Beside::Nothing => {
            driver.run(sizes.time)?;
            Moved::default()
        }
        Beside::Backup => while_backed_up(&mut driver, target, backups, u64::MAX)?,
        Beside::UsualBackup => while_backed_up(&mut driver, target, backups, 0)?,
    };
    let elapsed = begun.elapsed();
    let (all, latencies) = driver.take_latencies();
    Ok(Writers {
        ops: all.len(),
        latencies,
        elapsed,
        beside: moved,
    })
}

fn while_backed_up(
    driver: &mut Driver,
    target: &Target,
    backups: &Path,
    bytes_per_second: u64,
) -> Result<Moved, Failure> {
    let request = CreateBackupRequest {
        target: backups.display().to_string(),
        bytes_per_second,
        actor: "stillpoint bench".into(),
        ..CreateBackupRequest::default()
    };
    let mut admin = target.connect_admin()?;
    thread::scope(|scope| {
        let taking = scope.spawn(|| {
            let begun = Instant::now();
            let summary = take(&mut admin, request)?;
            Ok(Moved {
                bytes: summary.raw_bytes,
                stored_bytes: summary.stored_bytes,
                elapsed: begun.elapsed(),
            })
        });
        let driven = driver.run_while(&mut |_| !taking.is_finished());
        let taken = taking.join();
        driven?;
        taken.unwrap_or_else(|_| Err(Failure::operation("the backup's thread failed")))
    })
}

fn take(admin: &mut AdminClient, request: CreateBackupRequest) -> Result<BackupSummary, Failure> {
    for told in admin.create_backup(request)? {
        if let Some(Kind::Done(summary)) = told?.kind {
            return Ok(summary);
        }
    }
    Err(Failure::operation(
        "the store ended the answer before the backup was complete",
    ))
}

/// Restores as an operator would, and removes what was restored; gives how long it took.
fn restore(backups: &Path, into: &Path, interrupt: &Interrupt) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut command = own_program::command()?;
    command
        .arg("restore")
        .arg("--from")
        .arg(backups)
        .arg("--into")
        .arg(into)
        .stdout(Stdio::null());
    let ended = OwnProcess::start(&mut command)?.wait(RESTORE_MAX, interrupt)?;
    let elapsed = begun.elapsed();
    match ended {
        Some(status) if status.success() => {
            fs::remove_dir_all(into)?;
            Ok(elapsed)
        }
        _ => Err(Failure::operation("the backup cannot be restored")),
    }
}
