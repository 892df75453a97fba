//! `stillpoint migrate`: changes the shape of records while programs of the old shape and of the new one run.

use clap::{Args, Subcommand};

use crate::failure::Failure;

mod apply;
mod dry_run;
mod finish;
mod lint;
mod list;
mod new;
mod pause;
mod publish;
mod quarantine;
mod resume;
mod rollback;
mod status;

/// The exit codes of these commands, for their help.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the store failed or refused, or a job stopped, 2 the command line
or a script is wrong, 3 a dry run found records that cannot be migrated.";

const AFTER_HELP: &str = "\
A migration is a Lua script per collection and step, DIR/game/player/0003_purse.lua:
number 3 makes version 3 of a document of version 2. Below DIR/_any/ are those that
serve all namespaces. A script has `up`, and `down` for programs that still run the old
code; `check` looks at the result, `samples` are documents to try it with.

From the moment of `apply` every read gives the new version, whatever is stored; the
records are rewritten in the background. Sessions that were opened before go on with
the version they know. Go from old code to new in this order: apply, then restart the
programs, then finish.

Collections are named NAMESPACE/COLLECTION, or COLLECTION in the namespace of
--namespace. DIR is ./migrations unless it is named.

Examples:
  stillpoint migrate new game/player purse
  stillpoint migrate lint
  stillpoint migrate dry-run
  stillpoint migrate apply --wait 60
  stillpoint migrate status
  stillpoint migrate quarantine game/player
  stillpoint migrate rollback game/player
  stillpoint migrate finish game/player";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the next script of a collection, to be filled in
    New(new::Options),
    /// Try the scripts of a folder with their samples, without a store
    Lint(lint::Options),
    /// Keep the scripts of a folder in the store
    Publish(publish::Options),
    /// List the scripts that the store has
    List(list::Options),
    /// See what scripts would make of the records, without changing any
    DryRun(Box<dry_run::Options>),
    /// Take collections to a newer version
    Apply(apply::Options),
    /// Hold the rewriting of a collection's records up
    Pause(pause::Options),
    /// Let the rewriting of a collection's records go on
    Resume(resume::Options),
    /// Take a collection back to an older version
    Rollback(rollback::Options),
    /// Declare that nobody takes a collection back any more
    Finish(finish::Options),
    /// Show how the migrations of all collections are going
    Status(status::Options),
    /// List the records that could not be migrated
    Quarantine(quarantine::Options),
}

/// Does what was typed.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    match options.command {
        Command::New(options) => new::run(options, json),
        Command::Lint(options) => lint::run(options, json),
        Command::Publish(options) => publish::run(options, json),
        Command::List(options) => list::run(options, json),
        Command::DryRun(options) => dry_run::run(*options, json),
        Command::Apply(options) => apply::run(options, json),
        Command::Pause(options) => pause::run(options, json),
        Command::Resume(options) => resume::run(options, json),
        Command::Rollback(options) => rollback::run(options, json),
        Command::Finish(options) => finish::run(options, json),
        Command::Status(options) => status::run(options, json),
        Command::Quarantine(options) => quarantine::run(options, json),
    }
}
