//! What is done with processes that are not where the others are: they are taken back, or brought up to them.

use std::collections::BTreeMap;

use stillpoint_proto::v1::Phase;

use super::{
    answer::Answer,
    course::Fleet,
    member::{Member, find, note, those},
    program::Group,
    verb::Verb,
};
use crate::service::management::dispatch::Process;

/// Lets all drop what they have made ready, or may have.
pub async fn abort(fleet: &mut impl Fleet, members: &[Member], why: &str) {
    let now = fleet.now();
    let ready = those(members, |member| match &member.prepare {
        Some(Answer::Done(_) | Answer::Late(_)) => true,
        // Its connection may be back.
        Some(Answer::Gone(_)) => is_there(&now, &member.process),
        Some(Answer::Failed(_) | Answer::Skipped(_)) | None => false,
    });
    if !ready.is_empty() {
        fleet.ask(Phase::Abort, Verb::Abort, &ready, why).await;
    }
}

/// Ends the reload for those that had nothing to go over to: they would keep themselves ready for it, and for no other.
pub async fn release(fleet: &mut impl Fleet, members: &[Member]) {
    let idle = those(members, Member::is_idle);
    if !idle.is_empty() {
        let reason = "nothing to reload there: they are free for the next";
        fleet.ask(Phase::Abort, Verb::Abort, &idle, reason).await;
    }
}

/// Lets those that have committed, or may have, go back, and the others drop what they have made ready. What is asked of
/// one that hangs stands behind the commit in its queue: whenever it comes back, it ends where it began.
pub async fn go_back(fleet: &mut impl Fleet, members: &[Member], why: &str) {
    let committed = those(members, |member| {
        matches!(
            member.commit,
            Some(Answer::Done(_) | Answer::Late(_) | Answer::Failed(_))
        )
    });
    if !committed.is_empty() {
        fleet
            .ask(Phase::Rollback, Verb::Undo, &committed, why)
            .await;
    }
    let ready = those(members, |member| {
        // A late one is told nothing more: what it has made ready is gone with the commit.
        member.is_idle() || matches!(member.commit, Some(Answer::Failed(_) | Answer::Skipped(_)))
    });
    if !ready.is_empty() {
        fleet.ask(Phase::Abort, Verb::Abort, &ready, why).await;
    }
    let lost = those(members, |member| {
        matches!(member.commit, Some(Answer::Gone(_)))
    });
    if !lost.is_empty() {
        fleet.settle(&lost).await;
        let now = fleet.now();
        let back: Vec<_> = lost
            .into_iter()
            .filter(|process| is_there(&now, process))
            .collect();
        if !back.is_empty() {
            fleet
                .ask(
                    Phase::Rollback,
                    Verb::Undo,
                    &back,
                    "they had lost their connections",
                )
                .await;
        }
    }
}

/// Brings these processes to the program of those that have committed. They become members.
pub async fn catch_up(
    fleet: &mut impl Fleet,
    members: &mut Vec<Member>,
    goals: &BTreeMap<String, Group>,
    behind: Vec<(Process, Answer)>,
) {
    let known = behind
        .iter()
        .filter(|(process, _)| find(members, process).is_some());
    let known: Vec<_> = known.map(|(process, _)| process.clone()).collect();
    if !known.is_empty() {
        // They may still have ready what they did not commit.
        fleet
            .ask(
                Phase::CatchUp,
                Verb::Abort,
                &known,
                "drop what they had prepared",
            )
            .await;
    }
    let processes: Vec<_> = behind.iter().map(|(process, _)| process.clone()).collect();
    let answers = fleet
        .ask(Phase::CatchUp, Verb::Prepare, &processes, "prepare")
        .await;
    let mut prepared = Vec::new();
    let mut useless = Vec::new();
    for ((process, before), prepare) in behind.into_iter().zip(answers) {
        let mut member = Member::new(process.clone(), before);
        let may_be_ready = matches!(prepare, Answer::Done(_) | Answer::Late(_));
        member.prepare = Some(prepare);
        let goal = goals.get(&process.service);
        let would_fit = match (member.target(), goal) {
            (Some(target), Some(goal)) => goal.runs(target),
            (target, _) => target.is_none(),
        };
        if member.has_changes() && would_fit {
            prepared.push(process.clone());
        } else if may_be_ready {
            useless.push(process.clone());
        }
        members.retain(|known| !known.is(&process));
        members.push(member);
    }
    if !useless.is_empty() {
        let reason = "they would not come to the program of the others";
        fleet
            .ask(Phase::CatchUp, Verb::Abort, &useless, reason)
            .await;
    }
    if !prepared.is_empty() {
        let answers = fleet
            .ask(Phase::CatchUp, Verb::Commit, &prepared, "commit")
            .await;
        note(members, &prepared, answers, |member| &mut member.commit);
    }
}

/// Whether exactly this process is there: the same holder of its session.
fn is_there(now: &[Process], process: &Process) -> bool {
    now.iter()
        .any(|found| found.is_same(process) && found.attached)
}
