//! Which program processes come to, and who is not there yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    answer::Answer,
    member::{Member, find},
    words::who_runs,
};
use crate::service::management::dispatch::Process;

/// The programs that a service runs, and those it would run after the commit.
type Service<'a> = (BTreeSet<&'a str>, BTreeMap<&'a str, Vec<String>>);

/// Why a commit would make several programs of one: the files are not the same for all. `None`: nothing is known of that.
pub fn parting(members: &[Member]) -> Option<String> {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
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
