//! `stillpoint restore`: from backups to a data directory.

use std::path::PathBuf;

use clap::Args;
use rmpv::Value;
use stillpoint_proto::name::LATEST;
use stillpoint_store_server::backup::{self, RestoreOptions, RestoreReport};

use crate::{
    backup::{
        moment::{Moment, parse_moment},
        target::From,
        words::{backups, namespace_text, namespaces_value},
        work::{self, Meter},
    },
    command::backup::EXIT_CODES,
    failure::Failure,
    management::words::moment,
    output::{print_json, print_text},
    record::object,
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
Makes a data directory that a server can be started on. The directory must not
exist, or be empty; it is there only when the state in it was complete and its hash
was that of the store at that moment. Nothing else is touched: the directory of
now stays as it is, and so do the backups.

The moment is one of
  latest                  the newest commit of the backup
  14:05, '10m ago'        a time of today, or of yesterday if that is still to come
  2026-11-23T14:05:00Z    a time; all times are in UTC, of the server's clock
  before-2.0              a label, as `stillpoint mark` sets them
  world1@4711             a revision of a namespace
  seq:90210               a commit by its number in the log

The store becomes a new incarnation, which its clients notice.

Examples:
  stillpoint restore --from /mnt/backups/world1 --into ./restored
  stillpoint restore --from s3://backups/world1 --to 14:05 --into ./restored --dry-run
  stillpoint restore --from s3://backups/world1 --to before-2.0 --into ./restored
  stillpoint serve --data-dir ./restored";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The moment to go back to
    #[arg(long, value_name = "MOMENT", default_value = LATEST, value_parser = parse_moment)]
    to: Moment,
    /// The data directory to make
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// The backup to look in, by its name or label, with those before it
    #[arg(long, value_name = "BACKUP", default_value = LATEST)]
    backup: String,
    /// Make nothing, only say what would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: From,
}

/// Restores it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?;
    let what = RestoreOptions {
        backup: options.backup,
        to: options.to.0,
        into: options.into,
        dry_run: options.dry_run,
    };
    let report = {
        let meter = Meter::new("restoring");
        let tell = |progress| meter.tell(&progress);
        work::run(backup::restore(&target, &what, &tell))?
    };
    match json {
        true => print_json(&to_value(&report, what.dry_run), false)?,
        false => print_text(&describe(&report, what.dry_run))?,
    }
    Ok(())
}

fn describe(report: &RestoreReport, dry_run: bool) -> String {
    let from = format!(
        "{} of {}",
        size_text(report.stored_bytes),
        backups(report.backups.len())
    );
    let into = report.into.display();
    if dry_run {
        let needed = report.backups.iter().map(|id| format!("  {id}\n"));
        return format!(
            "would restore commit {} into {into}, as incarnation {}, from {from}:\n{}",
            report.seq,
            report.incarnation,
            needed.collect::<String>()
        );
    }
    let mut text = format!(
        "restored commit {} of {} into {into}, as incarnation {}, from {from}\n",
        report.seq,
        moment(report.time_ms),
        report.incarnation
    );
    for (name, state) in &report.namespaces {
        text += &format!("  {}\n", namespace_text(name, state));
    }
    text += &match &report.state_hash {
        Some(hash) => format!("its state hash is that of the store at that moment: {hash}\n"),
        None => "the store knew no state hash to compare with\n".to_owned(),
    };
    text + &format!("start it with: stillpoint serve --data-dir {into}\n")
}

fn to_value(report: &RestoreReport, dry_run: bool) -> Value {
    let needed = report.backups.iter().map(|id| Value::from(id.as_str()));
    let hash = report.state_hash.as_deref();
    object([
        ("dry_run", dry_run.into()),
        ("into", report.into.display().to_string().into()),
        ("backups", Value::Array(needed.collect())),
        ("stored_bytes", report.stored_bytes.into()),
        ("seq", report.seq.into()),
        ("time_ms", report.time_ms.into()),
        ("namespaces", namespaces_value(&report.namespaces)),
        ("state_hash", hash.map_or(Value::Nil, Value::from)),
        ("store_id", report.store_id.as_str().into()),
        ("incarnation", report.incarnation.into()),
    ])
}
