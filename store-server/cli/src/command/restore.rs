//! `stillpoint restore`: brings a store back to a moment.
//!
//! - [`into`]: into a new data directory, without a server.
//! - [`live`]: in place of the store that is running.
//! - [`records`]: only some records of it.

mod into;
mod live;
mod records;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stillpoint_proto::name::LATEST;

use crate::{
    backup::{
        key::KeyFile,
        moment::{Moment, parse_moment},
        target::From,
    },
    command::backup::EXIT_CODES,
    failure::Failure,
    port::AdminPort,
};

const AFTER_HELP: &str = "\
With --into: makes a data directory that a server can be started on. The directory
must not exist, or be empty; it is there only when the state in it was complete and
its hash was that of the store at that moment. Nothing else is touched: the
directory of now stays as it is, and so do the backups.

`restore records` brings only some records of the running store back: see there.

With --live: the running server builds that directory beside its own, and takes no
writes meanwhile. When the new one is complete and compared, it takes the place of
the old one, which is kept, and is served within a second or two. Until then a
failure changes nothing. The first 8 digits of the store's identity, which
`stillpoint status` shows, have to be typed, or given with --confirm.

The moment is one of
  latest                  the newest commit of the backup
  14:05, '10m ago'        a time of today, or of yesterday if that is still to come
  2026-11-23T14:05:00Z    a time; all times are in UTC, of the server's clock
  before-2.0              a label, as `stillpoint mark` sets them
  world1@4711             a revision of a namespace
  seq:90210               a commit by its number in the log

The store becomes a new incarnation, which its clients notice: sessions end, claims
are free, and watches are told the state anew.

Examples:
  stillpoint restore --from /mnt/backups/world1 --into ./restored
  stillpoint restore --from s3://backups/world1 --to 14:05 --into ./restored --dry-run
  stillpoint restore --from s3://backups/world1 --to before-2.0 --into ./restored
  stillpoint serve --data-dir ./restored
  stillpoint restore records player/42 --to 14:05 --dry-run
  stillpoint restore --from s3://backups/world1 --to 14:05 --live --dry-run
  stillpoint restore --from s3://backups/world1 --to 14:05 --live --confirm 3f2a91c0";

/// What was typed.
#[derive(Debug, Args)]
#[command(
    after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// The moment to go back to
    #[arg(long, value_name = "MOMENT", default_value = LATEST, value_parser = parse_moment)]
    to: Moment,
    /// The data directory to make
    #[arg(long, value_name = "DIR", required_unless_present = "live")]
    into: Option<PathBuf>,
    /// Restore the running store
    #[arg(long, conflicts_with = "into")]
    live: bool,
    /// The running store that is meant: the first 8 digits of its identity, or all
    #[arg(long, value_name = "STORE", requires = "live")]
    confirm: Option<String>,
    /// The backup to look in, by its name or label, with those before it
    #[arg(long, value_name = "BACKUP", default_value = LATEST)]
    backup: String,
    /// Change nothing, only say what would be
    #[arg(long)]
    dry_run: bool,
    /// Who asks, for the running store's audit [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    target: From,
    #[command(flatten)]
    key: KeyFile,
    #[command(flatten)]
    port: AdminPort,
}

/// A part of the store.
#[derive(Debug, Subcommand)]
enum Part {
    /// Bring some records of the running store back, as they were
    Records(Box<records::Options>),
}

/// Restores it.
pub fn run(mut options: Options, json: bool) -> Result<(), Failure> {
    match (options.part.take(), options.into.take()) {
        (Some(Part::Records(options)), _) => records::run(*options, json),
        (None, Some(into)) => into::run(options, into, json),
        (None, None) => live::run(options, json),
    }
}
