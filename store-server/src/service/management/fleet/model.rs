//! A fleet in memory, and what must be true of what is told in the end.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use stillpoint_proto::v1::{ActionOutcome, Phase};

use super::{
    answer::Answer,
    course::{self, Fleet},
    fake::{Act, Fake, Kit, NEW},
    verb::Verb,
    verdict::Verdict,
};
use crate::service::{management::dispatch::Process, session::SessionKey};

/// The processes of a service, and the operator.
#[derive(Clone, Debug)]
pub struct Model {
    /// Those whose sessions are not over.
    pub fakes: Vec<Fake>,
    /// Each phase that there was.
    pub phases: Vec<Phase>,
    /// What the kit of all processes tells.
    pub kit: Kit,
    /// A commit is asked of one after another, until one has not done it.
    pub one_by_one: bool,
    /// The operator leaves after so many phases.
    pub heard_for: usize,
    fences: u64,
}

impl Model {
    /// One process per script, with the program that it runs.
    pub fn new(scripts: &[(u32, Vec<Act>)]) -> Model {
        let mut model = Model {
            fakes: Vec::new(),
            phases: Vec::new(),
            kit: Kit::default(),
            one_by_one: false,
            heard_for: usize::MAX,
            fences: 0,
        };
        for (number, (program, script)) in scripts.iter().enumerate() {
            model.let_in(&format!("p{number}"), *program, script.clone());
        }
        model
    }

    /// What a reload tells of it. Those that hang have come back after that.
    pub fn apply(&mut self) -> Verdict {
        let processes = self.begin();
        let verdict = course::apply(self, processes).now_or_never();
        verdict.expect("nothing here waits")
    }

    /// The same for going back to the generation before.
    pub fn rollback(&mut self) -> Verdict {
        let processes = self.begin();
        let verdict = course::rollback(self, processes).now_or_never();
        verdict.expect("nothing here waits")
    }

    fn begin(&mut self) -> Vec<Process> {
        for fake in &mut self.fakes {
            (fake.first, fake.first_more, fake.told) = (fake.program, fake.more, false);
        }
        self.now()
    }

    fn let_in(&mut self, instance: &str, program: u32, script: Vec<Act>) {
        self.fences += 1;
        self.fakes.push(Fake {
            process: Process {
                key: SessionKey {
                    namespace: "world".into(),
                    id: format!("battle/{instance}/1").into(),
                },
                service: "battle".into(),
                instance: instance.into(),
                fence: self.fences,
                code_version: String::new(),
                attached: true,
            },
            files: NEW,
            program,
            more: None,
            first: program,
            first_more: None,
            past: Vec::new(),
            prepared: None,
            committed: false,
            hangs: None,
            alive: true,
            returns: false,
            told: false,
            script,
            asked: 0,
        });
    }

    fn one(&mut self, process: &Process, verb: Verb) -> Answer {
        let lost = || Answer::Gone("its connection was lost".into());
        let found = self
            .fakes
            .iter()
            .position(|fake| fake.process.fence == process.fence);
        let Some(at) = found.filter(|at| self.fakes[*at].process.attached) else {
            return lost();
        };
        let kit = self.kit;
        let fake = &mut self.fakes[at];
        let act = fake.script.get(fake.asked).copied().unwrap_or(Act::Do);
        fake.asked += 1;
        if let Some(queue) = &mut fake.hangs {
            queue.push(verb);
            return Answer::Late("it hangs".into());
        }
        match act {
            Act::Do => fake.obey(verb, kit),
            Act::LoadMore => {
                fake.load_more();
                fake.obey(verb, kit)
            }
            Act::Fail => Answer::Failed("it was told to fail".into()),
            Act::DoAndFail => {
                fake.obey(verb, kit);
                Answer::Failed("its answer cannot be written".into())
            }
            Act::BeLate => {
                fake.obey(verb, kit);
                Answer::Late("it was busy".into())
            }
            Act::Hang => {
                fake.hangs = Some(vec![verb]);
                Answer::Late("it hangs".into())
            }
            Act::Die => {
                fake.alive = false;
                fake.process.attached = false;
                lost()
            }
            Act::End => {
                self.fakes.remove(at);
                lost()
            }
            Act::BeReplaced => {
                let fake = self.fakes.remove(at);
                self.let_in(&fake.process.instance, NEW, Vec::new());
                // It has opened the session, and is about to attach.
                let successor = self.fakes.last_mut().expect("it was let in");
                successor.process.attached = false;
                successor.returns = true;
                lost()
            }
            Act::BeLost | Act::BeBack | Act::MissIt => {
                if act != Act::MissIt {
                    fake.obey(verb, kit);
                }
                fake.process.attached = false;
                fake.returns = act != Act::BeLost;
                lost()
            }
            Act::LetOneIn => {
                let (answer, first) = (fake.obey(verb, kit), fake.first);
                let name = format!("late-{}", self.fences);
                self.let_in(&name, first, Vec::new());
                answer
            }
        }
    }

    /// Those that hang come back, and do what they were asked.
    pub fn wake(&mut self) {
        for fake in &mut self.fakes {
            for verb in fake.hangs.take().into_iter().flatten() {
                fake.obey(verb, Kit::default());
            }
        }
    }

    /// Checks what is told against what they really run.
    #[track_caller]
    pub fn check(&self, verdict: &Verdict) {
        // Who came after the last look is not spoken of.
        let alive = || {
            self.fakes
                .iter()
                .filter(|fake| fake.alive && fake.asked > 0)
        };
        let programs = self.programs(alive());
        let seen = self.seen(alive());
        let told = self.programs(alive().filter(|fake| fake.told));
        let as_before = alive().all(Fake::is_as_before);
        let doubtful = self.fakes.iter().any(|fake| {
            let silent = !fake.alive || !fake.process.attached || fake.hangs.is_some();
            silent
                || !fake.told
                || fake
                    .script
                    .get(fake.asked.wrapping_sub(1))
                    .is_some_and(|act| *act != Act::Do)
        });
        let holds = match verdict.outcome {
            ActionOutcome::Ok => programs <= 1,
            ActionOutcome::RolledBack => as_before && told <= 1,
            ActionOutcome::Failed => told <= 1,
            ActionOutcome::Mixed => seen > 1 || doubtful,
            _ => false,
        };
        assert!(holds, "{verdict:?} is not true of {:#?}", self.fakes);
        // Each that is named runs a program, or says why it is not known.
        assert!(!verdict.message.is_empty());
    }

    /// How many programs these run: of each module, only those count that have loaded it.
    fn programs<'f>(&self, fakes: impl Iterator<Item = &'f Fake>) -> usize {
        let (mut main, mut more) = (BTreeSet::new(), BTreeSet::new());
        for fake in fakes {
            main.insert(fake.program);
            more.extend(fake.more);
        }
        main.len().max(more.len())
    }

    /// How many they seem to run: where sources are not told, one that has loaded the other module cannot be known from
    /// one that runs another program.
    fn seen<'f>(&self, fakes: impl Iterator<Item = &'f Fake>) -> usize {
        if self.kit.names_sources {
            return self.programs(fakes);
        }
        let names: BTreeSet<_> = fakes.map(|fake| (fake.program, fake.more)).collect();
        names.len()
    }

    /// What each that is alive runs, by instance.
    pub fn running(&self) -> BTreeMap<String, u32> {
        let alive = self.fakes.iter().filter(|fake| fake.alive);
        alive
            .map(|fake| (fake.process.instance.clone(), fake.program))
            .collect()
    }

    /// Whether any of them keeps itself ready for a commit that does not come.
    pub fn is_ready(&self) -> bool {
        self.fakes.iter().any(|fake| fake.prepared.is_some())
    }

    /// Whether all that were there from the beginning, and still are, run what they ran then.
    pub fn is_as_before(&self) -> bool {
        self.fakes
            .iter()
            .all(|fake| fake.is_as_before() || !fake.alive)
    }
}

impl Fleet for Model {
    async fn ask(&mut self, phase: Phase, verb: Verb, of: &[Process], _: &str) -> Vec<Answer> {
        self.phases.push(phase);
        let mut failed = false;
        let answers = of.iter().map(|process| {
            if failed && verb == Verb::Commit && self.one_by_one {
                return Answer::Skipped("one before it had failed".into());
            }
            let answer = self.one(process, verb);
            failed |= !answer.is_done();
            if verb == Verb::Status
                && answer.is_done()
                && let Some(fake) = self
                    .fakes
                    .iter_mut()
                    .find(|fake| fake.process.fence == process.fence)
            {
                fake.told = true;
            }
            answer
        });
        answers.collect()
    }

    fn now(&self) -> Vec<Process> {
        self.fakes.iter().map(|fake| fake.process.clone()).collect()
    }

    fn is_heard(&self) -> bool {
        self.phases.len() < self.heard_for
    }

    async fn settle(&mut self, these: &[Process]) {
        for fake in &mut self.fakes {
            let meant = these
                .iter()
                .any(|process| process.instance == fake.process.instance);
            if meant && fake.returns {
                fake.process.attached = true;
            }
        }
    }
}
