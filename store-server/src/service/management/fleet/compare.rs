//! Which program processes come to, and who is not there yet.

use std::collections::BTreeMap;

use super::{
    answer::Answer,
    member::{Member, find},
    program::{Group, Program, groups, who_runs},
};
use crate::service::management::dispatch::Process;

/// The programs that a service runs, and those that it would run after the commit, each with a process that does.
type Service<'a> = (Vec<(&'a Program, String)>, Vec<(&'a Program, String)>);

/// Why a commit would make several programs of one. `None`: nothing is known of that.
pub fn would_part(members: &[Member]) -> Option<String> {
    let why = "the files are not the same for all, who would come to run different programs";
    // Not every kit names what would come of it. Programs are compared only if all do; else it is known that one that has
    // changes comes to another program than one that has none and was the same before.
    let mut changing = members.iter().filter(|member| member.has_changes());
    let all_named = changing.all(|member| member.target().is_some());
    let unnamed = Program::named("a new one");
    parting(members, why, |member| match member.has_changes() {
        true if !all_named => Some(&unnamed),
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
    after: impl Fn(&'m Member) -> Option<&'m Program>,
) -> Option<String> {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    for member in members {
        let (before, programs) = services.entry(&member.process.service).or_default();
        let identity = member.process.identity();
        before.extend(member.before.program().map(|p| (p, identity.clone())));
        programs.extend(after(member).map(|program| (program, identity)));
    }
    let parted = services.into_values().filter_map(|(before, after)| {
        let after = groups(after.into_iter());
        // Processes that differ already are not kept from coming closer.
        let parted = after.len() > 1 && groups(before.into_iter()).len() == 1;
        parted.then(|| who_runs(&after))
    });
    let parted: Vec<_> = parted.collect();
    (!parted.is_empty()).then(|| format!("{why}: {}", parted.join("; ")))
}

/// What those of each service run that have committed, where it is one program.
pub fn goals(members: &[Member], found: &[(Process, Answer)]) -> BTreeMap<String, Group> {
    let mut programs: BTreeMap<&str, Vec<(&Program, String)>> = BTreeMap::new();
    for (process, answer) in found {
        if let Some(program) = answer.program()
            && find(members, process).is_some_and(Member::has_committed)
        {
            let of_service = programs.entry(&process.service).or_default();
            of_service.push((program, process.identity()));
        }
    }
    let goals = programs.into_iter().filter_map(|(service, programs)| {
        let [goal] = <[Group; 1]>::try_from(groups(programs.into_iter())).ok()?;
        Some((service.to_owned(), goal))
    });
    goals.collect()
}

/// Those that run another program than those that have committed, and have not committed themselves.
pub fn behind(
    goals: &BTreeMap<String, Group>,
    members: &[Member],
    found: &[(Process, Answer)],
) -> Vec<(Process, Answer)> {
    let behind = found.iter().filter(|(process, answer)| {
        let differs = match (goals.get(&process.service), answer.program()) {
            (Some(goal), Some(program)) => !goal.runs(program),
            _ => false,
        };
        differs && !find(members, process).is_some_and(Member::has_committed)
    });
    behind.cloned().collect()
}
