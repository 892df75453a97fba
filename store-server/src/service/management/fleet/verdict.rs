//! What is told at the end, from what is known of each process.

use stillpoint_proto::v1::ActionOutcome;

use super::{
    answer::Answer,
    member::Member,
    picture::Picture,
    program::{Group, Program},
    words::{named, sentence, why},
};
use crate::service::management::dispatch::Process;

/// How an action ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How.
    pub outcome: ActionOutcome,
    /// For people, in a sentence.
    pub message: String,
}

/// The way a reload went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// It was only asked what runs.
    Looked,
    /// It was not begun, or taken back: why.
    Back(String),
    /// No process had anything to go over to.
    Nothing,
    /// They went back to the generation before.
    Reverted,
    /// They went over.
    Through,
}

/// The end of a reload after which `found` is what runs.
pub fn of(course: &Course, members: &[Member], found: &[(Process, Answer)]) -> Verdict {
    let picture = Picture::of(course, members, found);
    let parted: Vec<_> = picture.parted().collect();
    let (outcome, mut parts) = match course {
        Course::Back(why) => back(&picture, members, why),
        Course::Nothing => (ActionOutcome::Ok, vec!["nothing to reload".into()]),
        Course::Looked => looked(&picture),
        Course::Reverted => reverted(&picture, members, found),
        Course::Through => through(&picture, members, found),
    };
    if parted.is_empty() && picture.unknown.is_empty() {
        return Verdict {
            outcome,
            message: sentence(parts),
        };
    }
    if matches!(course, Course::Looked) {
        parts.clear();
    }
    parts.extend(parted);
    if !picture.unknown.is_empty() {
        parts.push(format!(
            "it is not known what runs in {}",
            named(&picture.unknown)
        ));
    }
    Verdict {
        outcome: ActionOutcome::Mixed,
        message: sentence(parts),
    }
}

/// The end of a plan.
pub fn of_plan(processes: &[Process], answers: &[Answer]) -> Verdict {
    let asked = processes.iter().zip(answers);
    let count = |nothing: bool| {
        let reports = answers.iter().filter_map(Answer::report);
        reports.filter(|report| report.nothing == nothing).count()
    };
    let mut parts = vec![match (count(false), count(true)) {
        (0, _) => "nothing to reload".to_owned(),
        (some, _) => format!("{some} of {} processes would change", processes.len()),
    }];
    let failed = reasons(asked.filter(|(_, answer)| !answer.is_done()));
    let outcome = match failed {
        Some(_) => ActionOutcome::Failed,
        None => ActionOutcome::Ok,
    };
    if outcome == ActionOutcome::Failed && count(false) == 0 {
        parts.clear();
    }
    parts.extend(failed);
    Verdict {
        outcome,
        message: sentence(parts),
    }
}

/// Who has not done what was asked, and why. `None`: nobody.
pub fn reasons<'a>(failed: impl Iterator<Item = (&'a Process, &'a Answer)>) -> Option<String> {
    let (skipped, failed): (Vec<_>, Vec<_>) =
        failed.partition(|(_, answer)| matches!(answer, Answer::Skipped(_)));
    // Who was not asked is no reason, unless nobody was.
    let shown = if failed.is_empty() { skipped } else { failed };
    (!shown.is_empty()).then(|| why(&shown))
}

fn back(picture: &Picture, members: &[Member], why: &str) -> (ActionOutcome, Vec<String>) {
    if !picture.changed.is_empty() {
        let changed = named(&picture.changed);
        let changed = format!("another program than before runs in {changed}");
        return (
            ActionOutcome::Failed,
            vec![format!("taken back: {why}"), changed],
        );
    }
    let what = match members.iter().any(Member::is_touched) {
        true => "taken back",
        false => "nothing was changed",
    };
    (ActionOutcome::RolledBack, vec![format!("{what}: {why}")])
}

fn looked(picture: &Picture) -> (ActionOutcome, Vec<String>) {
    let mut parts = vec![picture.counted()];
    if !picture.untold.is_empty() {
        parts.push(format!("no program is told by {}", named(&picture.untold)));
    }
    if !picture.absent.is_empty() {
        parts.push(format!("not there: {}", named(&picture.absent)));
    }
    let outcome = match parts.len() {
        1 => ActionOutcome::Ok,
        _ => ActionOutcome::Failed,
    };
    (outcome, parts)
}

fn reverted(
    picture: &Picture,
    members: &[Member],
    found: &[(Process, Answer)],
) -> (ActionOutcome, Vec<String>) {
    let failed = members.iter().filter_map(|member| {
        let answer = member.commit.as_ref()?;
        (!answer.is_done() && !is_replaced(member, found)).then_some((&member.process, answer))
    });
    let mut reports = members
        .iter()
        .filter_map(|member| member.commit.as_ref()?.report());
    if let Some(why) = reasons(failed) {
        return (
            ActionOutcome::Failed,
            vec![picture.counted(), format!("not gone back: {why}")],
        );
    }
    let went = match reports.all(|report| report.nothing) {
        true => "there is nothing to go back to".to_owned(),
        false => format!("gone back: {}", picture.counted()),
    };
    (ActionOutcome::Ok, vec![went])
}

fn through(
    picture: &Picture,
    members: &[Member],
    found: &[(Process, Answer)],
) -> (ActionOutcome, Vec<String>) {
    let mut parts = vec![picture.counted()];
    let lost = members
        .iter()
        .filter(|member| member.is_lost() && !is_replaced(member, found));
    let mut lost: Vec<_> = lost.map(|member| member.process.identity()).collect();
    lost.extend(picture.absent.iter().cloned());
    if !lost.is_empty() {
        parts.push(format!("gone, without a successor: {}", named(&lost)));
    }
    // Nobody that committed is left to say so: what came in its place must have come from the new files.
    let left_behind = picture.programs.keys().filter(|service| {
        let of_it = || {
            members
                .iter()
                .filter(|member| member.process.service == **service)
        };
        let asked = of_it().any(Member::has_changes);
        let new = |group: &Group| {
            let runs = |program: Option<&Program>| program.is_some_and(|p| group.runs(p));
            let mut targets = of_it().filter(|member| member.has_changes());
            targets.any(|member| runs(member.target()))
                || !of_it().any(|member| runs(member.before.program()))
        };
        asked && !of_it().any(Member::has_committed) && !picture.programs[*service].iter().all(new)
    });
    let left_behind: Vec<_> = left_behind.cloned().collect();
    if !left_behind.is_empty() {
        parts.push(format!(
            "no process has gone over in {}",
            named(&left_behind)
        ));
    }
    let outcome = match parts.len() {
        1 => ActionOutcome::Ok,
        _ => ActionOutcome::Failed,
    };
    (outcome, parts)
}

/// Whether a process, or its successor, is there and says what it runs.
fn is_replaced(member: &Member, found: &[(Process, Answer)]) -> bool {
    found.iter().any(|(process, answer)| {
        process.identity() == member.process.identity()
            && process.fence >= member.process.fence
            && answer.program().is_some()
    })
}
