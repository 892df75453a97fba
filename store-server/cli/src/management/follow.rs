//! Makes the call, and prints what is told until the end, or until Ctrl-C.
//!
//! The stream is read on a thread of its own, since reading blocks. This one waits for words and looks for Ctrl-C in
//! between. To leave is to end the program: the store sees the connection close, and does what the contract says of a
//! caller that leaves.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use indicatif::ProgressBar;
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{
    ActionBegun, ActionSummary, ManageRequest, ManageResponse, Phase, ProcessRef, ProcessState,
    ProcessUpdate, StoreError, manage_request::Action, manage_response::Kind, reload_fleet::Step,
};

use super::{
    report::Report,
    words::{is_last, name_of, phase_word},
};
use crate::{failure::Failure, interrupt::Interrupt, output, progress};

/// How long Ctrl-C may wait for us.
const TICK: Duration = Duration::from_millis(20);

/// Words that wait to be printed; then the reader waits, and in the end the store.
const WORDS_MAX: usize = 1024;

/// How an action ended.
#[derive(Debug)]
pub struct Ended {
    /// Those that should have answered.
    pub expected: Vec<ProcessRef>,
    /// The store's last word.
    pub summary: ActionSummary,
}

/// Asks, and prints what `report` makes of the answers.
pub fn follow(
    admin: AdminClient,
    request: ManageRequest,
    report: &mut dyn Report,
    bar: &ProgressBar,
    interrupt: &Interrupt,
) -> Result<Ended, Failure> {
    let mut standing = Standing::new(&request);
    let words = listen(admin, request);
    let summary = loop {
        let word = match words.recv_timeout(TICK) {
            Ok(word) => word.map_err(|error| standing.cut_off(error.into()))?,
            Err(RecvTimeoutError::Timeout) if interrupt.is_told() => return Err(standing.leave()),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => {
                let cut = Failure::operation("the store ended the answer before the action had");
                return Err(standing.cut_off(cut));
            }
        };
        // A kind that a newer server tells, and this program does not know.
        let Some(told) = word.kind else { continue };
        standing.hear(&told);
        standing.show(&told, bar);
        let text = report.tell(&told);
        if !text.is_empty() {
            bar.suspend(|| output::print_text(&text))?;
        }
        if let Kind::Summary(summary) = told {
            break summary;
        }
    };
    bar.finish_and_clear();
    Ok(Ended {
        expected: standing.begun.expected,
        summary,
    })
}

/// Reads the stream on a thread of its own.
fn listen(
    mut admin: AdminClient,
    request: ManageRequest,
) -> Receiver<Result<ManageResponse, StoreError>> {
    let (tell, told) = sync_channel(WORDS_MAX);
    // Nobody waits for the thread: when we are gone, so is the one it tells.
    thread::spawn(move || match admin.manage(request) {
        Ok(words) => words
            .map(|word| tell.send(word))
            .find(Result::is_err)
            .map_or((), drop),
        Err(error) => drop(tell.send(Err(error))),
    });
    told
}

/// How far the action is, for those who watch it and those who leave it.
#[derive(Debug)]
struct Standing {
    action: Option<Action>,
    dry_run: bool,
    begun: ActionBegun,
    /// From here on a fleet reload does not stop at its caller's wish.
    has_committed: bool,
}

impl Standing {
    fn new(request: &ManageRequest) -> Self {
        Standing {
            action: request.action.clone(),
            dry_run: request.dry_run,
            begun: ActionBegun::default(),
            has_committed: false,
        }
    }

    fn hear(&mut self, told: &Kind) {
        match told {
            Kind::Begun(begun) => self.begun = begun.clone(),
            Kind::Phase(phase) => self.has_committed |= phase.phase() == Phase::Commit,
            Kind::Update(_) | Kind::Summary(_) => {}
        }
    }

    /// Moves the progress line.
    fn show(&self, told: &Kind, bar: &ProgressBar) {
        match told {
            Kind::Begun(begun) => bar.set_length(begun.expected.len() as u64),
            Kind::Phase(phase) => {
                bar.set_prefix(phase_word(phase.phase()));
                bar.set_length(phase.processes.into());
                bar.set_position(0);
                bar.set_message("");
            }
            Kind::Update(update) if is_last(update.state()) => bar.inc(1),
            Kind::Update(update) => bar.set_message(output::harmless(&said(update)).into_owned()),
            Kind::Summary(_) => {}
        }
    }

    /// The failure of one who left.
    fn leave(&self) -> Failure {
        self.see_audit(Failure::operation(format_args!(
            "interrupted: {}",
            self.left_behind()
        )))
    }

    /// The failure of one who was cut off.
    fn cut_off(&self, failure: Failure) -> Failure {
        self.see_audit(failure)
    }

    fn see_audit(&self, failure: Failure) -> Failure {
        match self.begun.action_id.as_str() {
            "" => failure,
            id => failure.hint(format_args!(
                "`stillpoint audit --action {id}` has the result"
            )),
        }
    }

    /// What goes on without us.
    fn left_behind(&self) -> &'static str {
        if self.dry_run {
            return "nothing was asked";
        }
        match &self.action {
            Some(Action::Reload(reload)) => match reload.step() {
                Step::Plan | Step::Status => "nothing was changed",
                Step::Apply if !self.has_committed => {
                    "the reload had not begun to commit when last heard of, so every process goes back"
                }
                _ => "the reload goes on to its end",
            },
            Some(Action::Restart(_)) => {
                "a process that was told to leave does so, and no further one is told"
            }
            _ => "what was begun goes on, and no further process is begun with",
        }
    }
}

/// The progress line for people; programs get none.
pub fn bar(verb: &str, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    progress::processes(verb)
}

/// What a process is at.
fn said(update: &ProcessUpdate) -> String {
    let name = name_of(update);
    match (update.state(), update.message.as_str()) {
        (ProcessState::Progress, message) if !message.is_empty() => format!("{name}: {message}"),
        (ProcessState::Progress, _) => format!("{name} is at it"),
        _ => format!("{name} has it"),
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{PhaseBegun, ReloadFleet, RestartProcesses};

    use super::*;

    fn left(action: Action, phases: &[Phase]) -> &'static str {
        let mut standing = Standing::new(&ManageRequest {
            action: Some(action),
            ..ManageRequest::default()
        });
        for phase in phases {
            standing.hear(&Kind::Phase(PhaseBegun {
                phase: (*phase).into(),
                ..PhaseBegun::default()
            }));
        }
        standing.left_behind()
    }

    fn reload(step: Step) -> Action {
        Action::Reload(ReloadFleet {
            step: step.into(),
            ..ReloadFleet::default()
        })
    }

    #[test]
    fn who_leaves_is_told_what_goes_on() {
        let goes_back = |phases: &[_]| left(reload(Step::Apply), phases).ends_with("goes back");
        assert!(goes_back(&[]));
        assert!(goes_back(&[Phase::Status, Phase::Prepare]));
        let goes_on =
            |step, phases: &[_]| left(reload(step), phases) == "the reload goes on to its end";
        assert!(goes_on(Step::Apply, &[Phase::Prepare, Phase::Commit]));
        assert!(goes_on(Step::Apply, &[Phase::Commit, Phase::Status]));
        assert!(goes_on(Step::Rollback, &[]));
        assert_eq!(
            left(reload(Step::Plan), &[Phase::Plan]),
            "nothing was changed"
        );
        let restart = left(Action::Restart(RestartProcesses::default()), &[]);
        assert!(restart.contains("no further one"));
    }

    #[test]
    fn who_is_cut_off_is_told_where_the_result_is() {
        let mut standing = Standing::new(&ManageRequest::default());
        assert!(
            !standing.leave().to_string().contains("audit"),
            "nothing has begun"
        );
        standing.begun.action_id = "0199".into();
        assert!(
            standing
                .leave()
                .to_string()
                .ends_with("hint: `stillpoint audit --action 0199` has the result\n")
        );
    }
}
