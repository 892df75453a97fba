//! What is known of one process in a reload.

use super::{answer::Answer, program::Program};
use crate::service::management::dispatch::Process;

/// A process that a reload has to do with, and what it has said so far.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which.
    pub process: Process,
    /// What it ran before anything was done.
    pub before: Answer,
    /// Whether it has made the new generation ready. `None`: that was not asked.
    pub prepare: Option<Answer>,
    /// Whether it has gone over, or, if that was asked, back. `None`: neither was asked.
    pub commit: Option<Answer>,
}

impl Member {
    /// One that was asked for nothing but what it runs.
    pub fn new(process: Process, before: Answer) -> Member {
        Member {
            process,
            before,
            prepare: None,
            commit: None,
        }
    }

    /// Whether it is this process, and not one before or after it.
    pub fn is(&self, process: &Process) -> bool {
        self.process.is_same(process)
    }

    /// Whether it may run another program than before by what was asked of it.
    pub fn is_touched(&self) -> bool {
        !matches!(self.commit, None | Some(Answer::Skipped(_)))
    }

    /// Whether it has committed, or gone back if that was asked.
    pub fn has_committed(&self) -> bool {
        self.commit.as_ref().is_some_and(Answer::is_done)
    }

    /// Whether it was lost in the commit.
    pub fn is_lost(&self) -> bool {
        matches!(self.commit, Some(Answer::Gone(_)))
    }

    /// Whether it has something ready to go over to.
    pub fn has_changes(&self) -> bool {
        let report = self.prepare.as_ref().and_then(Answer::report);
        report.is_some_and(|report| !report.nothing)
    }

    /// Whether it is ready, with nothing to go over to.
    pub fn is_idle(&self) -> bool {
        let report = self.prepare.as_ref().and_then(Answer::report);
        report.is_some_and(|report| report.nothing)
    }

    /// The program that it would run after the commit. Not every kit tells that: one that still names the program of before
    /// says nothing about the one after.
    pub fn target(&self) -> Option<&Program> {
        let report = self.prepare.as_ref()?.report()?;
        let before = self.before.program();
        if report.nothing {
            return before;
        }
        let is_old = |after: &Program| before.is_some_and(|before| before.name == after.name);
        report.program.as_ref().filter(|after| !is_old(after))
    }
}

/// The member that is this process.
pub fn find<'m>(members: &'m [Member], process: &Process) -> Option<&'m Member> {
    members.iter().find(|member| member.is(process))
}

/// The processes of those members.
pub fn those(members: &[Member], which: impl Fn(&Member) -> bool) -> Vec<Process> {
    let found = members.iter().filter(|member| which(member));
    found.map(|member| member.process.clone()).collect()
}

/// Keeps what these members said.
pub fn note(
    members: &mut [Member],
    asked: &[Process],
    answers: Vec<Answer>,
    place: impl Fn(&mut Member) -> &mut Option<Answer>,
) {
    for (process, answer) in asked.iter().zip(answers) {
        if let Some(member) = members.iter_mut().find(|member| member.is(process)) {
            *place(member) = Some(answer);
        }
    }
}
