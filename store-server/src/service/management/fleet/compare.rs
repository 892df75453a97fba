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

/// Why a commit would make several programs of one. `None`: nothing is known of that.
pub fn would_part(members: &[Member]) -> Option<String> {
    let why = "the files are not the same for all, who would come to run different programs";
    // Not every kit names what would come of it. Programs are compared only if all do; else it is known that one that has
    // changes comes to another program than one that has none and was the same before.
    let mut changing = members.iter().filter(|member| member.has_changes());
    let all_named = changing.all(|member| member.target().is_some());
    parting(members, why, |member| match member.has_changes() {
        true if !all_named => Some("a new one"),
        _ => member.target(),
    })
}

/// Why a commit has made several programs of one. `None`: it has not, or nothing is known of that.
pub fn has_parted(members: &[Member]) -> Option<String> {
    let why = "the files were not the same for all, who came to run different programs";
    parting(members, why, |member| member.commit.as_ref()?.program())
}

fn parting<'m>(
    members: &'m [Member],
    why: &str,
    after: impl Fn(&'m Member) -> Option<&'m str>,
) -> Option<String> {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    for member in members {
        let (before, programs) = services.entry(&member.process.service).or_default();
        before.extend(member.before.program());
        if let Some(program) = after(member) {
            programs
                .entry(program)
                .or_default()
                .push(member.process.identity());
        }
    }
    // Processes that differ already are not kept from coming closer.
    let parted = services
        .values()
        .filter(|(before, after)| before.len() == 1 && after.len() > 1);
    let parted: Vec<_> = parted.map(|(_, after)| who_runs(after.iter())).collect();
    (!parted.is_empty()).then(|| format!("{why}: {}", parted.join("; ")))
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
