//! Asking the operator before what cannot be taken back from processes.

use stillpoint_proto::v1::{ManageRequest, ProcessRef};

use super::{
    expected,
    follow::follow,
    options::ActionOptions,
    report::Report,
    verdict::nobody_there,
    words::{process_name, processes},
};
use crate::{confirm, failure::Failure, interrupt::Interrupt};

/// Nothing is printed of it.
struct Silence;

impl Report for Silence {}

/// Shows whom it would be, and goes on only with a yes.
pub fn confirm(
    options: &ActionOptions,
    request: &ManageRequest,
    question: &str,
) -> Result<(), Failure> {
    confirm::somebody_is_there("whom it would be")?;
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
    let question = format!("{question} {}", of(&expected));
    confirm::ask(&shown(&expected), &question)
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
