//! `stillpoint command`: runs a named command in running processes.

use clap::Args;
use stillpoint_proto::{
    name::check_name,
    v1::{RunCommand, manage_request::Action},
};

use super::put::read_value;
use crate::{
    failure::Failure,
    json,
    management::{
        EXIT_CODES,
        options::{ActionOptions, Pace},
        selection::SelectionOptions,
        verdict::{Verbs, perform},
    },
};

const AFTER_HELP: &str = "\
A process has the commands that its program named with store:command(name, fn),
and those that every client has: ping, info, gc, memory, drain, and of the
reload kit reload.plan, reload.apply, reload.rollback, reload.status and
reload.audit. No command runs code that comes with it.

One line for each process, as they answer: its last state, the time it took, and
the answer as JSON, or what failed, with the traceback below.
  OK       it is done
  ERROR    it failed, or the process has no such command
  TIMEOUT  not answered in time: what was asked may still be done
  GONE     the process is not there, or was lost meanwhile
  SKIPPED  not asked, as one before had failed (--stop-on-error)
With --json: every word as one object a line, the summary last.

Examples:
  stillpoint command ping --all
  stillpoint command info --service battle --instance 'battle-*' --json
  stillpoint command kick '{\"player\": \"ann\"}' --label zone=eu --parallel 4
  stillpoint command gc --service battle --parallel 1 --stop-on-error";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The command's name
    #[arg(value_parser = parse_command)]
    name: String,
    /// Its arguments, as JSON; @FILE reads them from a file, - from stdin
    #[arg(allow_negative_numbers = true)]
    arguments: Option<String>,
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    action: ActionOptions,
}

fn parse_command(text: &str) -> Result<String, String> {
    check_name("command", text).map(|()| text.into())
}

/// Runs the command in the processes.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let arguments = match &options.arguments {
        Some(argument) => json::to_msgpack(&read_value("the arguments", argument)?),
        None => Vec::new(),
    };
    let command = Action::Command(RunCommand {
        name: options.name,
        arguments: arguments.into(),
    });
    let request = (options.action).paced(&options.pace, options.selection.to_selection(), command);
    let verbs = Verbs {
        going: "asking",
        done: "answered",
    };
    perform(&options.action, request, verbs, json)
}
