//! `stillpoint migrate resume`: lets the rewriting of a collection's records go on.

use clap::Args;
use stillpoint_proto::v1::ResumeMigrationRequest;

use super::{EXIT_CODES, pause::show};
use crate::{
    failure::Failure,
    migrate::{
        collection::{Collection, Home},
        pace::{Operator, Pace},
    },
    port::AdminPort,
};

const AFTER_HELP: &str = "\
After `stillpoint migrate pause`, or after it was stopped by too many records that could
not be migrated. Those in quarantine are tried again by whoever reads or writes them, not
by the job. Rate and limit are as before unless they are said; after too many records it
is as many more as the setting migration.failed_max says. --failed-max counts all that
have failed, also before.

Examples:
  stillpoint migrate resume game/player
  stillpoint migrate resume game/player --rate 500 --failed-max 1000";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection
    #[arg(value_name = "COLLECTION")]
    collection: Collection,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Lets it go on.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let resumed = options
        .port
        .connect()?
        .resume_migration(ResumeMigrationRequest {
            collection: Some(options.home.find(&options.collection)),
            rate: options.pace.rate(),
            failed_max: options.pace.failed_max(),
            actor: options.operator.name(),
        })?;
    show(&resumed.status.unwrap_or_default(), json)
}
