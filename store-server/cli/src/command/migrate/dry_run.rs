//! `stillpoint migrate dry-run`: what scripts would make of the records, without changing any.
//!
//! - [`live`]: of those of the running store, by the store. [`at_rest`]: of those in a backup, by ourselves.
//! - [`report`]: what was found.

mod at_rest;
mod live;
mod report;

use std::path::PathBuf;

use clap::{Args, value_parser};

use self::report::Report;
use super::EXIT_CODES;
use crate::{
    backup::{
        key::KeyFile,
        moment::{Moment, parse_moment},
    },
    failure::Failure,
    migrate::{
        collection::{Collection, Home},
        folder::Folder,
        words::records,
    },
    port::AdminPort,
};

const AFTER_HELP: &str = "\
Takes every record through the scripts of the folder and of the store, more than once, so
that a script whose result is not always the same is found, and back again. Shows the
first differences and failures, then for each collection how many records would change,
how much they would grow, how long the scripts take, and what is wrong with how many.

Without COLLECTION those are tried that `stillpoint migrate apply` would take further.

With --from the records are those of a backup, which is restored into a scratch directory
and removed afterwards, and the scripts those of the folder; no server is asked. URL is
what `stillpoint backup create --to` was told, a directory or s3://BUCKET/PREFIX, and --to
the moment, as for `stillpoint restore`: a label, a time, NAMESPACE@REVISION, seq:NUMBER.

With --json: one object a line for each collection.

Examples:
  stillpoint migrate dry-run
  stillpoint migrate dry-run ./migrations game/player --sample 10000
  stillpoint migrate dry-run --from /srv/backups/world1
  stillpoint migrate dry-run --from s3://backups/world1 --to before-2.0 --scratch /mnt/scratch
  stillpoint migrate dry-run --json | jq '.failures'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    folder: Folder,
    /// The collections; of namespace _any: in all namespaces [default: all with a newer version]
    #[arg(value_name = "COLLECTION")]
    collections: Vec<Collection>,
    /// The version to try; only with one collection [default: the newest]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    to_version: Option<u32>,
    /// Try about so many records, from all over the collection [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// Show so many differences and failures of each collection
    #[arg(long, value_name = "N", default_value = "10", value_parser = value_parser!(u32).range(1..=1000))]
    examples: u32,
    /// Try the records of a backup: where the backups are
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The moment whose records are tried [default: the newest of the backup]
    #[arg(long, value_name = "MOMENT", requires = "from", value_parser = parse_moment)]
    to: Option<Moment>,
    /// The backup to look in, by its name or label, with those before it [default: the newest]
    #[arg(long, value_name = "BACKUP", requires = "from")]
    backup: Option<String>,
    /// Where there is room for the backup's records [default: the directory for temporary files]
    #[arg(long, value_name = "DIR", requires = "from")]
    scratch: Option<PathBuf>,
    /// With --from: the settings of the store, whose limits count, as for `stillpoint serve`
    #[arg(
        long,
        env = "STILLPOINT_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    key: KeyFile,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Tries them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    if options.to_version.is_some() && options.collections.len() != 1 {
        return Err(Failure::usage(
            "--to-version is a version of one collection: name that, behind the folder",
        ));
    }
    let mut report = Report::new(json);
    match &options.from {
        Some(from) => at_rest::run(&options, from, &mut report)?,
        None => live::run(&options, &mut report)?,
    }
    match report.failed {
        0 => Ok(()),
        failed => Err(Failure::records_failed(format_args!(
            "{} cannot be migrated",
            records(failed)
        ))
        .hint("mend the scripts, or the records: see above what is wrong with how many")),
    }
}
