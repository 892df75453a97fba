//! What is told at the end, from what is known of each process.
//!
//! The processes of one service are one program, of several services several. What a process does not say itself is known
//! only of one that was asked for no commit: it runs what it ran before.

use std::collections::{BTreeMap, BTreeSet};

use stillpoint_proto::v1::ActionOutcome;

use super::{
    answer::Answer,
    member::{Member, find},
    words::{named, reason, sentence},
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

/// The programs of each service, and who runs them.
type Programs = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What is known of all processes.
#[derive(Debug, Default)]
struct Picture {
    programs: Programs,
    /// It is not known what they run.
    unknown: Vec<String>,
    /// They answer, and have no program that could be reloaded.
    untold: Vec<String>,
    /// They were not there when nothing had been done yet, or are there no more.
    absent: Vec<String>,
    /// They run another program than before.
    changed: Vec<String>,
}

/// The end of a reload after which `found` is what runs.
pub fn of(course: &Course, members: &[Member], found: &[(Process, Answer)]) -> Verdict {
    let picture = Picture::of(course, members, found);
    let parted: Vec<_> = picture.parted().collect();
    let (outcome, mut parts) = match course {
        Course::Back(why) if picture.changed.is_empty() => (
            ActionOutcome::RolledBack,
            vec![format!("no process was changed: {why}")],
        ),
        Course::Back(why) => {
            let changed = format!(
                "{} run another program than before",
                named(&picture.changed)
            );
            (
                ActionOutcome::Failed,
                vec![format!("it was taken back: {why}"), changed],
            )
        }
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
        (some, none) => format!("{some} of {} processes would change", some + none),
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
    let said: Vec<_> = shown
        .iter()
        .map(|(process, answer)| reason(process, answer))
        .collect();
    (!said.is_empty()).then(|| named(&said))
}

/// Why a commit would make several programs of one: the files are not the same for all. `None`: nothing is known of that.
pub fn parting(members: &[Member]) -> Option<String> {
    let mut services: BTreeMap<&str, (BTreeSet<&str>, BTreeMap<&str, Vec<String>>)> =
        BTreeMap::new();
    for member in members {
        let (before, targets) = services.entry(&member.process.service).or_default();
        before.extend(member.before.program());
        if member.prepare.as_ref().is_some_and(Answer::is_done) {
            // Where one that has changes and one that has none are the same before, they are not after.
            let target = member.target().unwrap_or("a new one");
            targets
                .entry(target)
                .or_default()
                .push(member.process.identity());
        }
    }
    // Processes that differ already are not kept from coming closer.
    let parted = services
        .values()
        .filter(|(before, targets)| before.len() == 1 && targets.len() > 1);
    let parted: Vec<_> = parted
        .map(|(_, targets)| who_runs(targets.iter()))
        .collect();
    (!parted.is_empty()).then(|| {
        let who = parted.join("; ");
        format!(
            "the files are not the same for all, who would come to run different programs: {who}"
        )
    })
}

/// The program of those of each service that have committed, where it is one.
pub fn goals(members: &[Member], found: &[(Process, Answer)]) -> BTreeMap<String, String> {
    let mut programs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (process, answer) in found {
        if let Some(program) = answer.program()
            && find(members, process).is_some_and(Member::has_committed)
        {
            programs
                .entry(&process.service)
                .or_default()
                .insert(program);
        }
    }
    let goals = programs
        .into_iter()
        .filter(|(_, programs)| programs.len() == 1);
    let goals = goals.flat_map(|(service, programs)| {
        programs
            .into_iter()
            .map(move |program| (service.to_owned(), program.to_owned()))
    });
    goals.collect()
}

/// Those that run another program than those that have committed, and have not committed themselves.
pub fn behind(
    goals: &BTreeMap<String, String>,
    members: &[Member],
    found: &[(Process, Answer)],
) -> Vec<(Process, Answer)> {
    let behind = found.iter().filter(|(process, answer)| {
        let goal = goals.get(&process.service).map(String::as_str);
        let differs = goal.is_some() && answer.program().is_some_and(|p| Some(p) != goal);
        differs && !find(members, process).is_some_and(Member::has_committed)
    });
    behind.cloned().collect()
}

impl Picture {
    fn of(course: &Course, members: &[Member], found: &[(Process, Answer)]) -> Picture {
        let mut picture = Picture::default();
        let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for member in members {
            before
                .entry(&member.process.service)
                .or_default()
                .extend(member.before.program());
        }
        for (process, answer) in found {
            let member = find(members, process);
            let identity = process.identity();
            let Some(program) = program_of(course, member, answer) else {
                let place = match (answer, member) {
                    (Answer::Gone(_), Some(member)) if !may_run_either(course, member) => {
                        &mut picture.absent
                    }
                    (Answer::Done(_) | Answer::Failed(_), _) if takes_untold(course, member) => {
                        &mut picture.untold
                    }
                    _ => &mut picture.unknown,
                };
                place.push(match answer.why() {
                    "" => format!("{identity} (it tells no program)"),
                    why => format!("{identity} ({why})"),
                });
                continue;
            };
            let was: BTreeSet<&str> = match member {
                Some(member) => member.before.program().into_iter().collect(),
                None => before.get(&*process.service).cloned().unwrap_or_default(),
            };
            if !was.is_empty() && !was.contains(program) {
                picture.changed.push(identity.clone());
            }
            let programs = picture.programs.entry(process.service.clone()).or_default();
            programs
                .entry(program.to_owned())
                .or_default()
                .push(identity);
        }
        picture
    }

    /// The services that run different programs.
    fn parted(&self) -> impl Iterator<Item = String> {
        let parted = self
            .programs
            .iter()
            .filter(|(_, programs)| programs.len() > 1);
        parted.map(|(service, programs)| {
            format!(
                "{service} runs different programs: {}",
                who_runs(programs.iter())
            )
        })
    }

    /// How many run what.
    fn counted(&self) -> String {
        let services = self.programs.iter().flat_map(|(service, programs)| {
            programs.iter().map(move |(program, who)| match who.len() {
                1 => format!("1 process of {service} runs program {program}"),
                n => format!("{n} processes of {service} run program {program}"),
            })
        });
        services.collect::<Vec<_>>().join(", ")
    }
}

/// What a process runs, as it says itself, or as it must be.
fn program_of<'a>(
    course: &Course,
    member: Option<&'a Member>,
    answer: &'a Answer,
) -> Option<&'a str> {
    if let Some(program) = answer.program() {
        return Some(program);
    }
    let member = member?;
    if !member.is_touched() {
        return member.before.program();
    }
    let committed = *course == Course::Through && member.has_committed();
    committed.then(|| member.target()).flatten()
}

/// Whether a process that says nothing may run the one program or the other.
fn may_run_either(course: &Course, member: &Member) -> bool {
    member.is_touched() && !(*course == Course::Through && member.has_committed())
}

/// Whether a process that answers and tells no program has nothing to do with how it went.
fn takes_untold(course: &Course, member: Option<&Member>) -> bool {
    match course {
        Course::Looked | Course::Back(_) | Course::Nothing => {
            member.is_none_or(|member| !member.is_touched())
        }
        Course::Reverted | Course::Through => false,
    }
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
        let runs = picture.programs[*service].keys();
        let new = |program: &String| {
            let mut targets = of_it().filter(|member| member.has_changes());
            targets.any(|member| member.target() == Some(program))
                || of_it().all(|member| member.before.program() != Some(program))
        };
        asked && !of_it().any(Member::has_committed) && !runs.into_iter().all(new)
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

fn who_runs<'a, P: AsRef<str> + 'a>(
    programs: impl Iterator<Item = (P, &'a Vec<String>)>,
) -> String {
    let programs = programs.map(|(program, who)| format!("{} in {}", program.as_ref(), named(who)));
    programs.collect::<Vec<_>>().join("; ")
}
