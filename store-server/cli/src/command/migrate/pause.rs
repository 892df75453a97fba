//! `stillpoint migrate pause`: holds the rewriting of a collection's records up.

use clap::Args;
use stillpoint_proto::v1::{MigrationStatus, PauseMigrationRequest};

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    migrate::{
        collection::{Collection, Home},
        pace::Operator,
        words::{status_line, status_value},
    },
    output::{print_json, print_line},
    port::AdminPort,
};

const AFTER_HELP: &str = "\
Reads go on giving the new version; only the rewriting in the background rests, until
`stillpoint migrate resume`, also over a restart of the store.

Examples:
  stillpoint migrate pause game/player";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection
    #[arg(value_name = "COLLECTION")]
    collection: Collection,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Holds it up.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let paused = options
        .port
        .connect()?
        .pause_migration(PauseMigrationRequest {
            collection: Some(options.home.find(&options.collection)),
            actor: options.operator.name(),
        })?;
    show(&paused.status.unwrap_or_default(), json)
}

/// Says how a migration is going.
pub fn show(status: &MigrationStatus, json: bool) -> Result<(), Failure> {
    match json {
        true => print_json(&status_value(status), false)?,
        false => print_line(&status_line(status))?,
    }
    Ok(())
}
