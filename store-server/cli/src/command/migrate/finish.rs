//! `stillpoint migrate finish`: declares that nobody takes a collection back any more.

use clap::Args;
use stillpoint_proto::v1::FinishMigrationRequest;

use super::{EXIT_CODES, pause::show, rollback::found};
use crate::{
    confirm,
    failure::Failure,
    migrate::{
        collection::{Collection, Home, name},
        pace::Operator,
        words::status_line,
    },
    port::AdminPort,
};

const AFTER_HELP: &str = "\
When all programs are new: no session may speak an older version, and no record may have
one. From then on it cannot be rolled back. You are asked first; where there is no
terminal to ask on, --yes has to be said.

Examples:
  stillpoint migrate finish game/player
  stillpoint migrate finish game/player --yes";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection
    #[arg(value_name = "COLLECTION")]
    collection: Collection,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Declares it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let collection = options.home.find(&options.collection);
    if !options.yes {
        confirm::somebody_can_say_yes()?;
    }
    let mut port = options.port.connect()?;
    if !options.yes {
        let status = found(&mut port, &collection)?;
        let question = format!("give up every way back of {}", name(&collection));
        confirm::ask(&format!("{}\n", status_line(&status)), &question)?;
    }
    let finished = port.finish_migration(FinishMigrationRequest {
        collection: Some(collection),
        actor: options.operator.name(),
    })?;
    show(&finished.status.unwrap_or_default(), json)
}
