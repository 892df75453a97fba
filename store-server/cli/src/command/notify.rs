//! `stillpoint notify`: tells running processes something.

use clap::Args;
use stillpoint_proto::v1::{SendNotice, manage_request::Action};

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
A program hears it with store:on(\"notice\", fn). OK means that the process has it,
not that the program did something about it: for that, give it a command.

Examples:
  stillpoint notify 'maintenance at 12:00' --all
  stillpoint notify weather --service battle --payload '{\"rain\": true}'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// What to tell
    message: String,
    /// A value to go with it, as JSON; @FILE reads it from a file, - from stdin
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    payload: Option<String>,
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    action: ActionOptions,
}

/// Tells the processes.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let payload = match &options.payload {
        Some(argument) => json::to_msgpack(&read_value("the payload", argument)?),
        None => Vec::new(),
    };
    let notice = Action::Notice(SendNotice {
        message: options.message,
        payload: payload.into(),
    });
    let request = (options.action).paced(&options.pace, options.selection.to_selection(), notice);
    let verbs = Verbs {
        going: "telling",
        done: "have it",
    };
    perform(&options.action, request, verbs, json)
}
