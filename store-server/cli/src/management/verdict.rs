//! The sentence at the end, and what exit code it means.

use stillpoint_proto::v1::{ActionOutcome, ActionSummary, ManageRequest, ProcessState, Selection};

use super::{
    answers::Answers,
    events::Events,
    expected::Expected,
    follow::{Ended, bar, follow},
    options::ActionOptions,
    report::Report,
    selection::describe,
    words::{name_of, some_names, state_word},
};
use crate::{failure::Failure, interrupt::Interrupt, output};

/// How an action is spoken of: `asking` while it goes on, `12 of 12 answered` when it is done.
#[derive(Clone, Copy, Debug)]
pub struct Verbs {
    /// While it goes on.
    pub going: &'static str,
    /// When it is done.
    pub done: &'static str,
}

/// Does it with one line for each process, and says what it came to.
pub fn perform(
    options: &ActionOptions,
    request: ManageRequest,
    verbs: Verbs,
    json: bool,
) -> Result<(), Failure> {
    let summed_up = |summary: &ActionSummary| counts(summary, verbs.done);
    perform_with(
        options,
        request,
        verbs,
        json,
        &mut Answers::default(),
        summed_up,
    )
}

/// Does it with a report of one's own and, for people, a last sentence of one's own.
pub fn perform_with<R: Report>(
    options: &ActionOptions,
    request: ManageRequest,
    verbs: Verbs,
    json: bool,
    report: &mut R,
    sentence: impl FnOnce(&ActionSummary) -> String,
) -> Result<(), Failure> {
    let asked = request.clone();
    let admin = options.port.connect()?;
    let interrupt = Interrupt::listen()?;
    let report: &mut dyn Report = match (json, asked.dry_run) {
        (true, _) => &mut Events,
        (false, true) => &mut Expected,
        (false, false) => report,
    };
    let ended = follow(admin, request, report, &bar(verbs.going, json), &interrupt)?;
    let said = match json || asked.dry_run {
        true => ended.summary.message.clone(),
        false => sentence(&ended.summary),
    };
    conclude(&asked, &ended, &said)?;
    if !(json || asked.dry_run || said.is_empty()) {
        output::print_line(&said)?;
    }
    Ok(())
}

/// The outcome as success or failure.
pub fn conclude(asked: &ManageRequest, ended: &Ended, said: &str) -> Result<(), Failure> {
    let outcome = ended.summary.outcome();
    let nobody = ended.expected.is_empty();
    match outcome {
        ActionOutcome::Nobody => Err(nobody_there(asked.selection.as_ref())),
        _ if asked.dry_run && nobody => Err(nobody_there(asked.selection.as_ref())),
        _ if asked.dry_run => Ok(()),
        ActionOutcome::Ok => Ok(()),
        ActionOutcome::Mixed => Err(Failure::of_action(outcome, said).hint(
            "a reload that succeeds brings all to one program: see `stillpoint reload plan`, `status` and `apply`",
        )),
        _ => Err(Failure::of_action(outcome, said)),
    }
}

/// Nobody fulfils the selection.
pub fn nobody_there(selection: Option<&Selection>) -> Failure {
    let selection = selection.cloned().unwrap_or_default();
    let message = match describe(&selection).as_str() {
        "all" => format!("namespace {} has no process", selection.namespace),
        whom => format!("namespace {} has no process {whom}", selection.namespace),
    };
    Failure::of_action(ActionOutcome::Nobody, message)
        .hint("`stillpoint sessions` lists who is there")
}

/// `12 of 12 answered`, or what became of each, with the names of those that should have answered and did not.
pub fn counts(summary: &ActionSummary, done: &str) -> String {
    let processes = &summary.processes;
    let in_state = |state| processes.iter().filter(move |p| p.state() == state);
    let all = processes.len();
    if summary.outcome() == ActionOutcome::Ok && in_state(ProcessState::Ok).count() == all {
        return format!("{all} of {all} {done}");
    }
    let states = [
        ProcessState::Ok,
        ProcessState::Error,
        ProcessState::Timeout,
        ProcessState::Gone,
        ProcessState::Skipped,
    ];
    let counted: Vec<_> = (states.into_iter())
        .map(|state| (in_state(state).count(), state_word(state)))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let silent: Vec<_> = in_state(ProcessState::Timeout)
        .chain(in_state(ProcessState::Gone))
        .map(|update| what_is_known(&name_of(update), &update.message))
        .collect();
    match (counted.is_empty(), silent.is_empty()) {
        (true, _) => summary.message.clone(),
        (false, true) => counted.join(", "),
        (false, false) => format!("{}: {}", counted.join(", "), some_names(&silent)),
    }
}

/// The store says `it has the command ...`: of whom, in one sentence.
fn what_is_known(name: &str, message: &str) -> String {
    match (message, message.strip_prefix("it ")) {
        ("", _) => name.to_owned(),
        (_, Some(rest)) => format!("{name} {rest}"),
        (message, None) => format!("{name}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{ProcessRef, ProcessUpdate};

    use super::*;

    fn summary(outcome: ActionOutcome, states: &[(ProcessState, &str)]) -> ActionSummary {
        let processes = states
            .iter()
            .enumerate()
            .map(|(n, (state, message))| ProcessUpdate {
                process: Some(ProcessRef {
                    service: "battle".into(),
                    instance: format!("b-{n}"),
                    ..ProcessRef::default()
                }),
                state: (*state).into(),
                message: (*message).into(),
                ..ProcessUpdate::default()
            });
        ActionSummary {
            outcome: outcome.into(),
            message: "the store's words".into(),
            processes: processes.collect(),
        }
    }

    #[test]
    fn the_last_sentence_counts_and_names_the_silent() {
        let ok = (ProcessState::Ok, "");
        assert_eq!(
            counts(&summary(ActionOutcome::Ok, &[ok, ok]), "answered"),
            "2 of 2 answered"
        );
        let mixed = [
            ok,
            (
                ProcessState::Timeout,
                "it has the command and does not answer",
            ),
            (ProcessState::Error, "boom"),
            ok,
            (ProcessState::Gone, "left its session"),
        ];
        assert_eq!(
            counts(&summary(ActionOutcome::Failed, &mixed), "answered"),
            "2 OK, 1 ERROR, 1 TIMEOUT, 1 GONE: battle/b-1 has the command and does not answer, battle/b-4: left its session"
        );
    }

    #[test]
    fn a_failure_without_processes_has_the_stores_words() {
        let failed = summary(ActionOutcome::Failed, &[]);
        assert_eq!(counts(&failed, "answered"), "the store's words");
    }
}
