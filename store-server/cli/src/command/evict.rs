//! `stillpoint evict`: ends sessions without asking their processes.

use clap::Args;
use stillpoint_proto::v1::{EvictSessions, manage_request::Action};

use crate::{
    failure::Failure,
    management::{
        EXIT_CODES,
        confirm::confirm,
        options::{ActionOptions, Pace},
        selection::SelectionOptions,
        verdict::{Verbs, perform},
    },
};

const AFTER_HELP: &str = "\
The session is over at once: its claims are free, and its process, if it lives, is
told that it is fenced and can write no more; what it had not saved is lost. This
is for processes that hang. Those that answer are better drained.

You are shown whom it would be, and asked. Where there is no terminal to ask on,
--yes has to be said.

Examples:
  stillpoint evict --service battle --instance battle-3 --reason 'hangs since noon'
  stillpoint evict --service battle --instance 'battle-*' --yes";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// Told to the processes, and kept in the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    action: ActionOptions,
}

/// Ends the sessions.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let evict = Action::Evict(EvictSessions {
        reason: options.reason.unwrap_or_default(),
    });
    let request = (options.action).paced(&options.pace, options.selection.to_selection(), evict);
    if !(options.yes || options.action.dry_run) {
        confirm(&options.action, &request, "end the session of")?;
    }
    let verbs = Verbs {
        going: "evicting",
        done: "evicted",
    };
    perform(&options.action, request, verbs, json)
}
