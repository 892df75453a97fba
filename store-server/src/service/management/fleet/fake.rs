//! A process in memory, that fails as it is scripted.

use std::sync::Arc;

use super::{
    answer::{Answer, Report},
    program::Program,
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
    /// It loads a module for the first time, then does what it is asked.
    LoadMore,
}

/// All of them.
pub const ACTS: [Act; 13] = [
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
    Act::LoadMore,
];

/// What the kit of all processes tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kit {
    /// A preparation names the program that comes of it.
    pub names_target: bool,
    /// A program is told with the source of each of its modules.
    pub names_sources: bool,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Fake {
    /// Which.
    pub process: Process,
    /// The program that its files are.
    pub files: u32,
    /// What it runs.
    pub program: u32,
    /// The program of which it has loaded the other module, if it has.
    pub more: Option<u32>,
    /// What it ran when it came.
    pub first: u32,
    /// The other module that it had loaded when it came.
    pub first_more: Option<u32>,
    /// What it could go back to.
    pub past: Vec<(u32, Option<u32>)>,
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
    /// It has said what it runs, and loaded nothing more since.
    pub told: bool,
    /// What it does for the first command, the second...
    pub script: Vec<Act>,
    /// Commands that it got.
    pub asked: usize,
}

impl Fake {
    /// Does what it is asked.
    pub fn obey(&mut self, verb: Verb, kit: Kit) -> Answer {
        let mut report = Report::default();
        let is_new = self.program == self.files && self.more.is_none_or(|more| more == self.files);
        match verb {
            Verb::Plan => report.nothing = is_new,
            Verb::Prepare => {
                report.nothing = is_new;
                self.prepared = Some((!is_new).then_some(self.files));
                let more = self.more.map(|_| self.files);
                report.program = kit.names_target.then(|| kit.program(self.files, more));
            }
            Verb::Commit => {
                let Some(Some(new)) = self.prepared.take() else {
                    return Answer::Failed("nothing is prepared".into());
                };
                self.past.push((self.program, self.more));
                self.program = new;
                self.more = self.more.map(|_| new);
                self.committed = true;
                report.program = Some(kit.program(self.program, self.more));
            }
            Verb::Abort => self.prepared = None,
            Verb::Undo if !self.committed => report.nothing = true,
            Verb::Undo | Verb::Rollback => {
                self.committed = false;
                match self.past.pop() {
                    Some((before, more)) => {
                        self.program = before;
                        // What was loaded meanwhile stays as it is.
                        self.more = more.or(self.more);
                    }
                    None => report.nothing = true,
                }
            }
            Verb::Status => {
                report.program = Some(kit.program(self.program, self.more));
            }
        }
        Answer::Done(report)
    }

    /// Loads the other module, as its file is, if it has not. Nobody asked that of it, so nobody knows before it tells.
    pub fn load_more(&mut self) {
        if self.more.is_none() {
            self.more = Some(self.files);
            self.told = false;
        }
    }

    /// Whether it runs what it ran when it came, but for what it has loaded since.
    pub fn is_as_before(&self) -> bool {
        self.program == self.first && (self.first_more.is_none() || self.more == self.first_more)
    }
}

impl Kit {
    fn program(self, program: u32, more: Option<u32>) -> Program {
        let unit = |name: &str, program: u32| (name.into(), program.to_string().into());
        let sources = [unit("main", program)].into_iter();
        let sources = sources.chain(more.map(|more| unit("more", more)));
        Program {
            name: match more {
                None => program.to_string().into(),
                Some(more) => format!("{program}+{more}").into(),
            },
            sources: self.names_sources.then(|| Arc::new(sources.collect())),
        }
    }
}
