//! The course of a reload: which phase comes next, and who is in it.
//!
//! ```text
//!  STATUS ── all say what they run ──▶ PREPARE ── all could ──▶ COMMIT ── all did ──────▶ STATUS ─▶ CATCH_UP ─▶ STATUS
//!     │                                   │                       │ or are gone                    who came meanwhile
//!     └─ nothing was begun                └─▶ ABORT ─▶ STATUS     └─▶ ROLLBACK ─▶ ABORT ─▶ STATUS
//! ```
//!
//! Two rules keep what is told at the end true. No commit is sent before every process has prepared; and whoever was sent
//! one has its program looked at afterwards, or counts as unknown. One that is gone during the commit holds nobody up: it
//! cannot be told to go back, and its successor loads the new files anyway.
//!
//! Here is neither a server nor a clock: a [`Fleet`] is asked, and says what came of it.

use stillpoint_proto::v1::Phase;

use super::{
    answer::Answer,
    compare,
    member::{Member, find, note, those},
    repair,
    verb::Verb,
    verdict::{self, Course, Verdict},
};
use crate::service::management::dispatch::Process;

/// The processes, as a reload sees them.
pub trait Fleet: Send {
    /// Asks these processes, and gives what each said, in their order.
    fn ask(
        &mut self,
        phase: Phase,
        verb: Verb,
        of: &[Process],
        reason: &str,
    ) -> impl Future<Output = Vec<Answer>> + Send;

    /// The processes that the operator's selection means now.
    fn now(&self) -> Vec<Process>;

    /// Whether the operator still listens.
    fn is_heard(&self) -> bool;

    /// Waits until each of these identities has a holder that is there, or no session; but not for ever.
    fn settle(&mut self, these: &[Process]) -> impl Future<Output = ()> + Send;
}

/// How often those that came meanwhile are brought up to the others, before it is said that they are not.
const CATCH_UP_ROUNDS: usize = 2;

/// How often it is looked who runs what, if processes come or are lost meanwhile.
const LOOKS: usize = 3;

/// All processes say what a reload would do.
pub async fn plan(fleet: &mut impl Fleet, processes: Vec<Process>) -> Verdict {
    let answers = fleet.ask(Phase::Plan, Verb::Plan, &processes, "").await;
    verdict::of_plan(&processes, &answers)
}

/// All processes say which program they run.
pub async fn status(fleet: &mut impl Fleet, processes: Vec<Process>) -> Verdict {
    let members = begin(fleet, processes, "").await;
    let found = as_they_were(&members);
    verdict::of(&Course::Looked, &members, &found)
}

/// All processes go back to the generation before the one they run.
pub async fn rollback(fleet: &mut impl Fleet, processes: Vec<Process>) -> Verdict {
    let mut members = begin(fleet, processes, "which program runs now").await;
    if let Some(why) = hindered(&members, |member| Some(&member.before)) {
        let found = as_they_were(&members);
        return verdict::of(&Course::Back(why), &members, &found);
    }
    let all = those(&members, |_| true);
    let answers = fleet.ask(Phase::Rollback, Verb::Rollback, &all, "").await;
    note(&mut members, &all, answers, |member| &mut member.commit);
    let found = look(fleet, &members).await;
    verdict::of(&Course::Reverted, &members, &found)
}

/// All processes go over to the program as its files are now, or none.
pub async fn apply(fleet: &mut impl Fleet, processes: Vec<Process>) -> Verdict {
    let mut members = begin(fleet, processes, "which program runs now").await;
    if let Some(why) = hindered(&members, |member| Some(&member.before)) {
        let found = as_they_were(&members);
        return verdict::of(&Course::Back(why), &members, &found);
    }

    let all = those(&members, |_| true);
    let answers = fleet.ask(Phase::Prepare, Verb::Prepare, &all, "").await;
    note(&mut members, &all, answers, |member| &mut member.prepare);
    let hindrance = hindered(&members, |member| member.prepare.as_ref())
        .or_else(|| compare::would_part(&members))
        .or_else(|| (!fleet.is_heard()).then(|| "the caller left before the commit".into()));
    if let Some(why) = hindrance {
        repair::abort(fleet, &members, &why).await;
        let found = look(fleet, &members).await;
        return verdict::of(&Course::Back(why), &members, &found);
    }
    let changing = those(&members, Member::has_changes);
    if changing.is_empty() {
        repair::release(fleet, &members).await;
        let found = look(fleet, &members).await;
        return verdict::of(&Course::Nothing, &members, &found);
    }

    let answers = fleet.ask(Phase::Commit, Verb::Commit, &changing, "").await;
    note(&mut members, &changing, answers, |member| {
        &mut member.commit
    });
    let failed = hindered(&members, |member| {
        member
            .commit
            .as_ref()
            .filter(|commit| !matches!(commit, Answer::Gone(_)))
    });
    if let Some(why) = failed.or_else(|| compare::has_parted(&members)) {
        repair::go_back(fleet, &members, &why).await;
        let found = look(fleet, &members).await;
        return verdict::of(&Course::Back(why), &members, &found);
    }
    repair::release(fleet, &members).await;
    let mut found = look(fleet, &members).await;
    for _ in 0..CATCH_UP_ROUNDS {
        let goals = compare::goals(&members, &found);
        let behind = compare::behind(&goals, &members, &found);
        if behind.is_empty() {
            break;
        }
        repair::catch_up(fleet, &mut members, &goals, behind).await;
        found = look(fleet, &members).await;
    }
    verdict::of(&Course::Through, &members, &found)
}

/// What the processes run before anything is done with them.
async fn begin(fleet: &mut impl Fleet, processes: Vec<Process>, reason: &str) -> Vec<Member> {
    let answers = fleet
        .ask(Phase::Status, Verb::Status, &processes, reason)
        .await;
    let members = processes.into_iter().zip(answers);
    members
        .map(|(process, before)| Member::new(process, before))
        .collect()
}

/// What was found before anything was done still holds.
fn as_they_were(members: &[Member]) -> Vec<(Process, Answer)> {
    let found = members
        .iter()
        .map(|member| (member.process.clone(), member.before.clone()));
    found.collect()
}

/// What runs now, in all that the selection means now. If one is lost as it is asked, or one comes meanwhile, it is looked
/// again.
async fn look(fleet: &mut impl Fleet, members: &[Member]) -> Vec<(Process, Answer)> {
    let mut found: Vec<(Process, Answer)> = Vec::new();
    for _ in 0..LOOKS {
        let coming = fleet.now().into_iter().filter(|process| {
            // Who was gone before anything was done with it is not waited for.
            !process.attached && find(members, process).is_none_or(Member::is_touched)
        });
        let coming: Vec<_> = coming.collect();
        if !coming.is_empty() {
            fleet.settle(&coming).await;
        }
        found.retain(|(_, answer)| !matches!(answer, Answer::Gone(_)));
        let mut now = fleet.now();
        now.retain(|process| found.iter().all(|(known, _)| !known.is_same(process)));
        if !now.is_empty() {
            let reason = "which program runs now";
            let answers = fleet.ask(Phase::Status, Verb::Status, &now, reason).await;
            found.extend(now.into_iter().zip(answers));
        }
        let lost = found.iter().any(|(process, answer)| {
            let matters = find(members, process).is_none_or(Member::is_touched);
            matches!(answer, Answer::Gone(_)) && matters
        });
        let now = fleet.now();
        let mut news = now
            .iter()
            .filter(|p| found.iter().all(|(known, _)| !known.is_same(p)));
        if !lost && news.next().is_none() {
            break;
        }
    }
    // Whose session is over meanwhile is none of them any more.
    let now = fleet.now();
    found.retain(|(process, _)| now.iter().any(|there| there.is_same(process)));
    found
}

/// Why it cannot go on: who has not done what was asked. `None`: all have whom it concerns.
fn hindered<'m>(
    members: &'m [Member],
    said: impl Fn(&'m Member) -> Option<&'m Answer>,
) -> Option<String> {
    let failed = members.iter().filter_map(|member| {
        let answer = said(member)?;
        (!answer.is_done()).then_some((&member.process, answer))
    });
    verdict::reasons(failed)
}
