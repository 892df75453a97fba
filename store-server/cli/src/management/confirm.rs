//! Asking the operator before what cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use stillpoint_proto::v1::{ManageRequest, ProcessRef};

use super::{
    expected,
    follow::follow,
    options::ActionOptions,
    report::Report,
    verdict::nobody_there,
    words::{process_name, processes},
};
use crate::{failure::Failure, interrupt::Interrupt};

/// Nothing is printed of it.
struct Silence;

impl Report for Silence {}

/// Shows whom it would be, and goes on only with a yes. Where nobody can be asked, the yes has to be typed beforehand:
/// a script that forgot a filter would otherwise learn it too late.
pub fn confirm(
    options: &ActionOptions,
    request: &ManageRequest,
    question: &str,
) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "this cannot be taken back, and there is no terminal to ask on",
        )
        .hint("say --yes if it is meant, or --dry-run to see whom it would be"));
    }
    let dry = ManageRequest {
        dry_run: true,
        ..request.clone()
    };
    // Not listening: until something was asked, Ctrl-C simply ends the program.
    let (bar, interrupt) = (indicatif::ProgressBar::hidden(), Interrupt::default());
    let expected = follow(options.port.connect()?, dry, &mut Silence, &bar, &interrupt)?.expected;
    if expected.is_empty() {
        return Err(nobody_there(request.selection.as_ref()));
    }
    let mut terminal = io::stderr().lock();
    write!(
        terminal,
        "{}{question} {}? [y/N] ",
        shown(&expected),
        of(&expected)
    )?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::operation("nothing was done"))
}

/// Several are listed; one is named in the question.
fn shown(expected: &[ProcessRef]) -> String {
    match expected {
        [_] => String::new(),
        several => expected::list(several),
    }
}

fn of(expected: &[ProcessRef]) -> String {
    match expected {
        [one] => process_name(one),
        several => format!("these {}", processes(several.len())),
    }
}
