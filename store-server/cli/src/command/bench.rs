//! `stillpoint bench`: how fast the store is, through the Rust client and through Lua.
//!
//! One run is a grid of [`plan::Cell`]s. A cell keeps a fixed number of operations in flight from one thread on one
//! connection, after a warm-up, and is measured as often as there are rounds; its median round is reported. Rounds
//! interleave the cells, so that a disturbance of the machine does not fall on one cell alone.
//!
//! - [`plan`]: what is measured. [`records`]: the documents, and which of them is touched next.
//! - [`server`]: a server of our own, or one that runs. [`rust_driver`], [`lua_driver`]: the two clients.
//! - [`script`]: a process with Lua. [`measured`]: what a cell came to. [`report`]: the table.
//! - [`succession`], [`claimed`]: beside the grid, with `--succession`: restarts, and a document that one process owns.
//! - [`backup`], [`backup_report`]: beside the grid, with `--backup`: backups, restores, starts.
//! - [`migration`], [`migration_report`]: beside the grid, with `--migration`: what is felt of one, and how fast it is.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use self::{
    backup::Sizes,
    measured::Measured,
    plan::{Cell, ClientKind, Plan, Workload},
    records::Records,
    server::Target,
    succession::Successor,
};
use crate::{failure::Failure, interrupt::Interrupt, progress};

mod backup;
mod backup_report;
mod claimed;
mod lua_driver;
mod measured;
mod migration;
mod migration_report;
mod plan;
mod records;
mod report;
mod rust_driver;
mod script;
mod server;
mod succession;

/// The namespace that is written to; nobody keeps anything else there.
const NAMESPACE: &str = "bench";

const AFTER_HELP: &str = "\
Workloads: get and put touch all records alike, as does update, which adds to a
field (Rust: a patch; Lua: players:update, a read and a guarded write). YCSB A
is half reads, half writes of whole documents, B 95 % reads, C reads only, F
half reads, half read-modify-writes, all with zipfian keys (0.99). Every write
is durable: answered after the sync of the log.

Without --url the server is one of its own, in a fresh directory, and ends with
the run. With --url and --admin it is one that runs; the records are kept in
its namespace `bench`, and its counters hold for all that it does meanwhile.

At 1 in flight calls block; beyond, Rust submits and polls, Lua runs so many
coroutines.

With --succession it is planned restarts instead: Lua processes that succeed
each other, and the gap from the last acknowledged write of one to the first of
the next. And how fast Lua reads and changes a document that it has claimed.

With --backup it is full backups while YCSB A runs on documents of 400 bytes, 32
operations in flight: how fast they are, and what the writers feel of them; how
fast a backup is restored; and how long a server takes to serve again after it
was killed, with its view and without.

With --migration it is YCSB A with and without a migration that rewrites all records
beside it, and how many records a second are rewritten with nobody there.

Examples:
  stillpoint bench --quick
  stillpoint bench --workload get,put --size 400 --client rust --rounds 5
  stillpoint bench --dir /srv --workload put --in-flight 256
  stillpoint bench --succession --restarts 1000
  stillpoint bench --backup --rounds 3 --dir /srv
  stillpoint bench --migration --rounds 3 --json
  stillpoint bench --json > bench.json
";

/// Restarts of each kind, unless told otherwise.
const RESTARTS: u32 = 200;

/// The same for a quick look.
const RESTARTS_QUICK: u32 = 10;

/// Records that are backed up or migrated, unless told otherwise.
const BACKUP_RECORDS: u32 = 1_000_000;

/// Records with which a server is started after a kill, unless told otherwise.
const STARTUP_RECORDS: u32 = 5_000_000;

/// Both of them for a quick look.
const BACKUP_RECORDS_QUICK: u32 = 10_000;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// What to do [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    workload: Vec<Workload>,
    /// Operations in flight [default: 1,32,256]
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Vec<u32>,
    /// Bytes of a document [default: 100,400,4096]
    #[arg(long, value_delimiter = ',', value_name = "BYTES,...", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    size: Vec<u32>,
    /// Through which client [default: both]
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientChoice>,
    /// How long each cell is measured [default: 3]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Records of each size [default: 10000, with --backup and --migration 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    records: Option<u32>,
    /// How often each cell is measured; the median is reported [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// A few short cells, to see that it all works
    #[arg(long)]
    quick: bool,
    /// Measure planned restarts and a claimed document instead
    #[arg(long, conflicts_with_all = ["workload", "in_flight", "size", "client", "records", "rounds"])]
    succession: bool,
    /// Restarts of each kind [default: 200]
    #[arg(long, value_name = "N", requires = "succession", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    restarts: Option<u32>,
    /// Measure backups, restores and starts instead
    #[arg(long, conflicts_with_all = ["workload", "in_flight", "size", "client", "succession", "url"])]
    backup: bool,
    /// Measure migrations instead
    #[arg(long, conflicts_with_all = ["workload", "in_flight", "size", "client", "succession", "backup", "url"])]
    migration: bool,
    /// Records with which a killed server is started [default: 5000000]
    #[arg(long, value_name = "N", requires = "backup", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    startup_records: Option<u32>,
    /// Use the server at unix:PATH or http://HOST:PORT instead of one of its own
    #[arg(long, value_name = "URL", requires = "admin", help_heading = "Store")]
    url: Option<String>,
    /// Operator's port of that server
    #[arg(long, value_name = "URL", requires = "url", help_heading = "Store")]
    admin: Option<String>,
    /// Where the own server's directory is made: on the disk to be measured [default: the system's temporary directory]
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "url",
        help_heading = "Store"
    )]
    dir: Option<PathBuf>,
}

/// One client or both.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ClientChoice {
    /// The Rust client
    Rust,
    /// The Lua client, in the built-in Lua
    Lua,
    /// One after the other
    Both,
}

/// Measures, and prints the table.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let plan = options.plan();
    // Our server's directory is removed in the end, also if that comes early.
    let interrupt = Interrupt::listen()?;
    let mut target = match (&options.url, &options.admin) {
        (Some(url), Some(admin)) => Target::running(url, admin),
        _ => Target::start(options.dir.as_deref())?,
    };
    if options.succession {
        return measure_succession(&options, &plan, &target, &interrupt, json);
    }
    if options.backup {
        return measure_backup(&options, &plan, &mut target, &interrupt, json);
    }
    if options.migration {
        let sizes = migration::Sizes {
            records: options.records.unwrap_or(options.usual(BACKUP_RECORDS)),
            rounds: plan.rounds,
            time: plan.time,
        };
        return migration::run(&sizes, &target, &interrupt, json);
    }
    let version = target.check(&plan)?;
    for &size in &plan.sizes {
        Records::new(size, plan.records).load(&target)?;
    }
    let measured = measure(&plan, &target, &interrupt)?;
    report::print(&plan, &version, &measured, json)
}

/// Measures every cell in every round; per cell its rounds.
fn measure(
    plan: &Plan,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Vec<(Cell, Vec<Measured>)>, Failure> {
    let mut cells: Vec<(Cell, Vec<Measured>)> =
        plan.cells().map(|cell| (cell, Vec::new())).collect();
    let bar = progress::steps("measuring", (cells.len() as u64) * u64::from(plan.rounds));
    for _ in 0..plan.rounds {
        for (cell, rounds) in &mut cells {
            interrupt.pause(Duration::ZERO)?;
            bar.set_message(cell.to_string());
            let measured = match cell.client {
                ClientKind::Rust => rust_driver::measure(plan, cell, target),
                ClientKind::Lua => lua_driver::measure(plan, cell, target),
            };
            rounds.push(measured.map_err(|failure| failure.at(*cell))?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(cells)
}

/// Measures restarts and the claimed document, and prints the tables.
fn measure_succession(
    options: &Options,
    plan: &Plan,
    target: &Target,
    interrupt: &Interrupt,
    json: bool,
) -> Result<(), Failure> {
    let usual = if options.quick {
        RESTARTS_QUICK
    } else {
        RESTARTS
    };
    let restarts = options.restarts.unwrap_or(usual);
    let version = target.version()?;
    let mut gaps = Vec::new();
    for successor in [Successor::Waits, Successor::StartedAfterwards] {
        let measured = succession::measure(successor, restarts, target, interrupt)?;
        gaps.push((successor, measured));
    }
    let rates = claimed::measure(plan.time, target)?;
    report::print_succession(&version, &gaps, &rates, json)
}

/// Measures backups, restores and starts, and prints the tables.
fn measure_backup(
    options: &Options,
    plan: &Plan,
    target: &mut Target,
    interrupt: &Interrupt,
    json: bool,
) -> Result<(), Failure> {
    let records = options.records.unwrap_or(options.usual(BACKUP_RECORDS));
    let usual = options.usual(STARTUP_RECORDS);
    let startup_records = options.startup_records.unwrap_or(usual);
    let sizes = Sizes {
        records,
        startup_records: startup_records.max(records),
        rounds: plan.rounds,
        time: plan.time,
    };
    let version = target.version()?;
    let report = backup::measure(&sizes, target, interrupt)?;
    backup_report::print(&sizes, &version, &report, json)
}

impl Options {
    /// So many records, or those of a quick look.
    fn usual(&self, full: u32) -> u32 {
        match self.quick {
            true => BACKUP_RECORDS_QUICK,
            false => full,
        }
    }

    /// What was typed, and the defaults for the rest.
    fn plan(&self) -> Plan {
        let base = match self.quick {
            true => Plan::quick(),
            false => Plan::full(),
        };
        fn given<T: Clone>(typed: &[T], default: Vec<T>) -> Vec<T> {
            match typed {
                [] => default,
                typed => typed.to_vec(),
            }
        }
        Plan {
            clients: match self.client {
                Some(ClientChoice::Rust) => vec![ClientKind::Rust],
                Some(ClientChoice::Lua) => vec![ClientKind::Lua],
                Some(ClientChoice::Both) | None => base.clients,
            },
            workloads: given(&self.workload, base.workloads),
            in_flight: given(&self.in_flight, base.in_flight),
            sizes: given(&self.size, base.sizes),
            records: self.records.unwrap_or(base.records),
            rounds: self.rounds.unwrap_or(base.rounds),
            time: self.seconds.unwrap_or(base.time),
            warm_up: base.warm_up,
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number, e.g. 3 or 0.5")?;
    if !(0.05..=3600.0).contains(&seconds) {
        return Err("write a number from 0.05 to 3600".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}
