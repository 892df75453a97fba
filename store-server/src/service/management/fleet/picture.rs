//! What each process runs, as far as it is known.
//!
//! The processes of one service are one program, of several services several. What a process does not say itself is known
//! only of one that was asked for no commit, and runs what it ran before, and of one that has committed.

use std::collections::BTreeMap;

use super::{
    answer::Answer,
    member::{Member, find},
    program::{Group, Program, groups, who_runs},
    verdict::Course,
};
use crate::service::management::dispatch::Process;

/// The programs of each service, and who runs them.
pub type Programs = BTreeMap<String, Vec<Group>>;

/// What is known of all processes.
#[derive(Debug, Default)]
pub struct Picture {
    /// Who runs what.
    pub programs: Programs,
    /// It is not known what they run.
    pub unknown: Vec<String>,
    /// They answer, and have no program that could be reloaded.
    pub untold: Vec<String>,
    /// They were not there when nothing had been done yet, or are there no more; or they did not answer, and nothing was
    /// done.
    pub absent: Vec<String>,
    /// They run another program than before.
    pub changed: Vec<String>,
}

impl Picture {
    /// What is known after `found` was found.
    pub fn of(course: &Course, members: &[Member], found: &[(Process, Answer)]) -> Picture {
        let mut picture = Picture::default();
        let mut before: BTreeMap<&str, Vec<&Program>> = BTreeMap::new();
        let mut running: BTreeMap<String, Vec<(&Program, String)>> = BTreeMap::new();
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
                    // Whatever it runs, it was not asked for another one.
                    (Answer::Late(_), Some(member))
                        if matches!(course, Course::Back(_)) && !member.is_touched() =>
                    {
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
            let was: Vec<&Program> = match member {
                Some(member) => member.before.program().into_iter().collect(),
                None => before.get(&*process.service).cloned().unwrap_or_default(),
            };
            if !was.is_empty() && !was.iter().any(|was| was.is_same(program)) {
                picture.changed.push(identity.clone());
            }
            let of_service = running.entry(process.service.clone()).or_default();
            of_service.push((program, identity));
        }
        let running = running.into_iter();
        picture.programs = running
            .map(|(service, programs)| (service, groups(programs.into_iter())))
            .collect();
        picture
    }

    /// The services that run different programs.
    pub fn parted(&self) -> impl Iterator<Item = String> {
        let parted = self
            .programs
            .iter()
            .filter(|(_, programs)| programs.len() > 1);
        parted.map(|(service, programs)| {
            format!("{service} runs different programs: {}", who_runs(programs))
        })
    }

    /// How many run what.
    pub fn counted(&self) -> String {
        let services = self.programs.iter().flat_map(|(service, programs)| {
            programs.iter().map(move |group| match group.who.len() {
                1 => format!("1 process of {service} runs program {}", group.label()),
                n => format!("{n} processes of {service} run program {}", group.label()),
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
) -> Option<&'a Program> {
    if let Some(program) = answer.program() {
        return Some(program);
    }
    let member = member?;
    if !member.is_touched() {
        return member.before.program();
    }
    let commit = member
        .commit
        .as_ref()
        .filter(|_| *course == Course::Through)?;
    commit.report()?.program.as_ref().or(member.target())
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
