//! A process in memory, that fails as it is scripted.

use super::{
    answer::{Answer, Report},
    verb::Verb,
};
use crate::service::management::dispatch::Process;

/// The program that the files are.
pub const NEW: u32 = 9;

/// What a process does when it is asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// What it is asked.
    Do,
    /// Nothing; it says that it failed.
    Fail,
    /// What it is asked; it says that it failed.
    DoAndFail,
    /// What it is asked, too late for the answer.
    BeLate,
    /// Nothing more, until everything is over: then all that it was asked meanwhile.
    Hang,
    /// It ends, and nobody takes its place.
    Die,
    /// It ends, and its session with it.
    End,
    /// It ends, and its successor is there before long.
    BeReplaced,
    /// What it is asked; its connection is lost before the answer, and does not come back.
    BeLost,
    /// The same, and it comes back before long.
    BeBack,
    /// Its connection is lost with the question, and comes back before long.
    MissIt,
    /// Meanwhile another one comes, that still has the program of before.
    LetOneIn,
}

/// All of them.
pub const ACTS: [Act; 12] = [
    Act::Do,
    Act::Fail,
    Act::DoAndFail,
    Act::BeLate,
    Act::Hang,
    Act::Die,
    Act::End,
    Act::BeReplaced,
    Act::BeLost,
    Act::BeBack,
    Act::MissIt,
    Act::LetOneIn,
];

/// A process.
#[derive(Clone, Debug)]
pub struct Fake {
    /// Which.
    pub process: Process,
    /// The program that its files are.
    pub files: u32,
    /// What it runs.
    pub program: u32,
    /// What it ran when it came.
    pub first: u32,
    /// What it could go back to.
    pub past: Vec<u32>,
    /// It keeps itself ready for a commit: with the program to go over to, if there is one.
    pub prepared: Option<Option<u32>>,
    /// Its last commit was the reload's.
    pub committed: bool,
    /// It does nothing for now: what it is to do then.
    pub hangs: Option<Vec<Verb>>,
    /// It runs.
    pub alive: bool,
    /// Its connection comes back before long.
    pub returns: bool,
    /// It has said what it runs.
    pub told: bool,
    /// What it does for the first command, the second...
    pub script: Vec<Act>,
    /// Commands that it got.
    pub asked: usize,
}

impl Fake {
    /// Does what it is asked.
    pub fn obey(&mut self, verb: Verb, names_target: bool) -> Answer {
        let mut report = Report::default();
        match verb {
            Verb::Plan => report.nothing = self.program == self.files,
            Verb::Prepare => {
                report.nothing = self.program == self.files;
                self.prepared = Some((!report.nothing).then_some(self.files));
                report.program = names_target.then(|| self.files.to_string());
            }
            Verb::Commit => {
                let Some(Some(new)) = self.prepared.take() else {
                    return Answer::Failed("nothing is prepared".into());
                };
                self.past.push(self.program);
                self.program = new;
                self.committed = true;
                report.program = Some(new.to_string());
            }
            Verb::Abort => self.prepared = None,
            Verb::Undo if !self.committed => report.nothing = true,
            Verb::Undo | Verb::Rollback => {
                self.committed = false;
                match self.past.pop() {
                    Some(before) => self.program = before,
                    None => report.nothing = true,
                }
            }
            Verb::Status => {
                report.program = Some(self.program.to_string());
            }
        }
        Answer::Done(report)
    }
}
