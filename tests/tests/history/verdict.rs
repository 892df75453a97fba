//! Whether a history is as it should be, and what to say if not.

use std::{fs, path::Path};

use stillpoint_tests::linearizability::{Furthest, Verdict, check};

use crate::{
    language::{Answer, Call},
    model::{State, Store},
};

/// Calls that the checker may try: far more than it needs.
const STEPS_MAX: u64 = 1_000_000;

/// How many of the calls before the first wrong one are shown.
const SHOWN: usize = 25;

/// Asserts that a history is as it should be.
pub fn accept(seed: u64, calls: &[Call]) {
    match judge(calls) {
        Ok(steps) => {
            let unanswered = calls.iter().filter(|call| call.answered.is_none()).count();
            let calls = calls.len();
            println!("history {seed}: {calls} calls, {unanswered} unanswered, {steps} steps");
        }
        Err(fault) => panic!(
            "STILLPOINT_HISTORY_SEED={seed}: {}\nAll calls are in {}",
            fault.explain(calls),
            keep(seed, calls)
        ),
    }
}

/// Asserts that a history is known to be wrong.
pub fn refuse(seed: u64, what: &str, calls: &[Call]) {
    let verdict = judge(calls);
    assert!(
        matches!(
            verdict,
            Err(Fault::NotLinearizable(_) | Fault::StepBack(..))
        ),
        "STILLPOINT_HISTORY_SEED={seed}: {what} is not noticed: {verdict:?}"
    );
}

/// What is wrong with a history.
#[derive(Debug)]
enum Fault {
    /// An operation failed.
    Failed(String),
    NotLinearizable(Box<Furthest<State>>),
    Undecided,
    /// The later of two calls, one after the other, was answered with an older revision in the header.
    StepBack(usize, usize),
}

/// The checker's steps, if nothing is wrong.
fn judge(calls: &[Call]) -> Result<u64, Fault> {
    let answers = calls.iter().filter_map(|call| call.answered.as_ref());
    for (_, told) in answers {
        if let Answer::Failed(error) = &told.answer {
            return Err(Fault::Failed(error.clone()));
        }
    }
    if let Some((before, after)) = step_back(calls) {
        return Err(Fault::StepBack(before, after));
    }
    match check(&Store, calls, STEPS_MAX) {
        Verdict::Linearizable { steps } => Ok(steps),
        Verdict::Refused(furthest) => Err(Fault::NotLinearizable(furthest)),
        Verdict::Undecided => Err(Fault::Undecided),
    }
}

fn step_back(calls: &[Call]) -> Option<(usize, usize)> {
    let mut invoked: Vec<usize> = (0..calls.len()).collect();
    invoked.sort_by_key(|&i| calls[i].invoked);
    let told = |i: usize| {
        calls[i]
            .answered
            .as_ref()
            .filter(|(_, told)| told.revision > 0)
    };
    let mut answered: Vec<usize> = invoked
        .iter()
        .copied()
        .filter(|&i| told(i).is_some())
        .collect();
    answered.sort_by_key(|&i| told(i).map(|(at, _)| *at));
    let mut answered = answered.into_iter().peekable();
    let mut newest: Option<(u64, usize)> = None;
    for later in invoked {
        while let Some(earlier) =
            answered.next_if(|&i| told(i).is_some_and(|(at, _)| *at < calls[later].invoked))
        {
            newest = newest.max(told(earlier).map(|(_, told)| (told.revision, earlier)));
        }
        if let (Some((revision, earlier)), Some((_, told))) = (newest, told(later))
            && told.revision < revision
        {
            return Some((earlier, later));
        }
    }
    None
}

impl Fault {
    fn explain(&self, calls: &[Call]) -> String {
        let furthest = match self {
            Fault::Failed(error) => return format!("an operation failed: {error}"),
            Fault::Undecided => return format!("not decided after {STEPS_MAX} steps"),
            Fault::StepBack(before, after) => {
                let (before, after) = (&calls[*before], &calls[*after]);
                return format!("the revision goes back from\n  {before:?}\nto\n  {after:?}");
            }
            Fault::NotLinearizable(furthest) => furthest,
        };
        let list = |indices: &[usize]| -> String {
            indices
                .iter()
                .map(|&i| format!("  {:?}\n", calls[i]))
                .collect()
        };
        let newest = furthest.done.len().saturating_sub(SHOWN);
        format!(
            "the history is not linearizable. In order:\n{}lead to\n  {:?}\nwhere none of these fits:\n{}",
            list(&furthest.done[newest..]),
            furthest.state,
            list(&furthest.stuck)
        )
    }
}

/// Writes all calls to a file that outlives the test; gives its name.
fn keep(seed: u64, calls: &[Call]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{seed}.txt"));
    let lines: Vec<String> = calls.iter().map(|call| format!("{call:?}\n")).collect();
    match fs::write(&path, lines.concat()) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("no file: {error}"),
    }
}
