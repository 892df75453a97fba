//! `stillpoint drain`: lets running processes save, leave their sessions to successors, and exit.

use clap::Args;
use stillpoint_proto::v1::{DrainProcesses, manage_request::Action};

use crate::{
    failure::Failure,
    management::{
        EXIT_CODES,
        options::{ActionOptions, Pace},
        selection::SelectionOptions,
        verdict::{Verbs, perform},
    },
};

const AFTER_HELP: &str = "\
A process that is asked saves what it owns, leaves its session and its claims to a
successor, and its program ends: store:run() returns. A program with a loop of
its own hears of it with store:on(\"drain\", fn). OK means that the session is
left; who starts the successor is up to you. To replace a fleet, one after another,
use `stillpoint restart`.

Examples:
  stillpoint drain --service battle --instance battle-3
  stillpoint drain --all --timeout 1m --dry-run";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    action: ActionOptions,
}

/// Drains the processes.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let drain = Action::Drain(DrainProcesses {});
    let request = (options.action).paced(&options.pace, options.selection.to_selection(), drain);
    let verbs = Verbs {
        going: "draining",
        done: "left their sessions",
    };
    perform(&options.action, request, verbs, json)
}
