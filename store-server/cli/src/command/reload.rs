//! `stillpoint reload`: reloads the program of running processes: of all that are meant, or of none.
//!
//! - [`plan`]: what would change, by groups of processes that say the same.
//! - [`phases`]: how a reload goes, a line for each phase.
//! - [`status`]: which program each process runs.
//! - [`fields`]: reading what the reload kit answers.

use clap::{Args, Subcommand};
use stillpoint_proto::v1::{
    ActionSummary, ReloadFleet, manage_request::Action, reload_fleet::Step,
};

use crate::{
    failure::Failure,
    management::{
        EXIT_CODES,
        options::{ActionOptions, Pace},
        selection::SelectionOptions,
        verdict::{Verbs, perform_with},
    },
};

mod fields;
mod phases;
mod plan;
mod status;

const AFTER_HELP: &str = "\
For processes whose programs use the reload kit (require \"stillpoint.reload\").

plan      changes nothing: what would change, vanish, or be lost, by groups of
          processes that say the same
apply     all prepare the new program beside the one that runs; if all could, all
          go over to it, else none does
rollback  all go back to the generation before
status    which program each runs; one that runs another than the rest is named

A process that starts meanwhile is brought to the new program too. After Ctrl-C
a reload that has not begun to commit goes back; one that has goes on to its end.

Examples:
  stillpoint reload plan --service battle
  stillpoint reload apply --service battle --timeout 30s
  stillpoint reload status --service battle --json | jq 'select(.event == \"update\")'
  stillpoint reload rollback --service battle";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    step: StepOptions,
}

#[derive(Debug, Subcommand)]
enum StepOptions {
    /// Change nothing, and say what a reload would do
    Plan(Whom),
    /// Reload the program of all of them, or of none
    Apply(Whom),
    /// Let all go back to the generation before
    Rollback(Whom),
    /// Say which program each process runs
    Status(Whom),
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Whom {
    #[command(flatten)]
    selection: SelectionOptions,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    action: ActionOptions,
}

/// Takes the step.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let (step, whom) = match options.step {
        StepOptions::Plan(whom) => (Step::Plan, whom),
        StepOptions::Apply(whom) => (Step::Apply, whom),
        StepOptions::Rollback(whom) => (Step::Rollback, whom),
        StepOptions::Status(whom) => (Step::Status, whom),
    };
    let reload = Action::Reload(ReloadFleet {
        step: step.into(),
        ..ReloadFleet::default()
    });
    let action = &whom.action;
    let request = action.paced(&whom.pace, whom.selection.to_selection(), reload);
    let verbs = |going| Verbs {
        going,
        done: "done",
    };
    // The store looks at the programs of all, and knows best what to say.
    let said = |summary: &ActionSummary| summary.message.clone();
    match step {
        Step::Plan => {
            let mut plans = plan::Plans::default();
            perform_with(action, request, verbs("planning"), json, &mut plans, said)
        }
        Step::Status => {
            let mut statuses = status::Statuses::default();
            perform_with(action, request, verbs("looking"), json, &mut statuses, said)
        }
        _ => {
            let mut phases = phases::Phases::default();
            perform_with(action, request, verbs("reloading"), json, &mut phases, said)
        }
    }
}
