//! `stillpoint restart`: replaces running processes by their successors, one after another.

use std::time::Duration;

use clap::{Args, value_parser};
use stillpoint_proto::v1::{ManageRequest, RestartProcesses, manage_request::Action};

use super::put::millis;
use crate::{
    failure::Failure,
    management::{
        EXIT_CODES,
        options::ActionOptions,
        selection::SelectionOptions,
        verdict::{Verbs, perform},
    },
    port::parse_time,
};

const AFTER_HELP: &str = "\
Each process is drained: it saves, leaves its session, and its program ends. Then
its successor, the next process that opens the same service and instance, is
waited for before the next one is begun with. The first that fails, or whose
successor does not come, stops it: the rest is SKIPPED and runs as before.

The store does not start processes: something of yours has to do that when one
ends, e.g. systemd with Restart=always, or a shell loop.

Examples:
  stillpoint restart --service battle
  stillpoint restart --service battle --max-parallel 2 --successor-timeout 1m";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// Replace so many processes at a time
    #[arg(
        long,
        visible_alias = "parallel",
        value_name = "N",
        default_value = "1",
        value_parser = value_parser!(u32).range(1..)
    )]
    max_parallel: u32,
    /// Longest time a successor may take to come [default: the server's]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    successor_timeout: Option<Duration>,
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    action: ActionOptions,
}

/// Restarts the processes.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let restart = Action::Restart(RestartProcesses {
        successor_ms: options.successor_timeout.map_or(0, millis),
    });
    let selection = options.selection.to_selection();
    let request = ManageRequest {
        parallel: options.max_parallel,
        ..options.action.request(selection, restart)
    };
    let verbs = Verbs {
        going: "restarting",
        done: "restarted",
    };
    perform(&options.action, request, verbs, json)
}
