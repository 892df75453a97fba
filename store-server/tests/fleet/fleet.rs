//! Several processes, the operator, and what is true of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use stillpoint_proto::v1::{
    ActionOutcome, ActionSummary, ManageRequest, Phase, ProcessState, ReloadFleet, Selection,
    manage_request::Action, manage_response::Kind, reload_fleet::Step,
};

use crate::{
    fake::{Act, FILES, Fake, State},
    operator::{Operator, Running},
    process::NAMESPACE,
    server::Server,
};

/// The program that processes of a test begin with.
pub const OLD: u32 = 1;

/// Long enough that no test waits for it.
pub const LONG_MS: u64 = 600_000;

/// For tests that wait for it.
pub const SHORT_MS: u64 = 400;

/// A server, and the processes of one service.
pub struct World {
    /// The server.
    pub server: Arc<Server>,
    /// The service.
    pub service: String,
    /// The program that the files are.
    pub files: u32,
    /// Units whose sources processes name when they say which program they run.
    units: AtomicUsize,
    operator: Operator,
    fakes: Mutex<Vec<Arc<Fake>>>,
}

impl World {
    /// One with a process for each script, called `a`, `b`, and so on, which run the program of before.
    pub async fn start(scripts: &[Vec<Act>]) -> Arc<World> {
        let scripts: Vec<_> = scripts.iter().map(|script| (OLD, script.clone())).collect();
        let server = Arc::new(Server::start().await);
        World::start_on(&server, "battle", &scripts).await
    }

    /// The same on a server that is there, with the program of each process.
    pub async fn start_on(
        server: &Arc<Server>,
        service: &str,
        scripts: &[(u32, Vec<Act>)],
    ) -> Arc<World> {
        let world = Arc::new(World {
            operator: Operator::connect(server).await,
            server: server.clone(),
            service: service.into(),
            files: FILES,
            units: AtomicUsize::new(0),
            fakes: Mutex::new(Vec::new()),
        });
        for (name, (program, script)) in ('a'..='z').zip(scripts) {
            Fake::start(&world, &name.to_string(), *program, script.clone()).await;
        }
        world
    }

    /// Processes name the sources of so many units from now on.
    pub fn name_units(&self, units: usize) {
        self.units.store(units, Ordering::Relaxed);
    }

    /// How many they name.
    pub fn units(&self) -> usize {
        self.units.load(Ordering::Relaxed)
    }

    /// There is one more.
    pub fn add(&self, fake: &Arc<Fake>) {
        self.fakes.lock().expect("no panic").push(fake.clone());
    }

    /// The process that has had this instance last.
    pub fn fake(&self, instance: &str) -> Arc<Fake> {
        let fakes = self.fakes.lock().expect("no panic");
        let mut found = fakes.iter().rev().filter(|fake| fake.instance == instance);
        found.next().expect("it was started").clone()
    }

    /// Begins a step of a reload.
    pub async fn begin(&self, step: Step, timeout_ms: u64) -> Running {
        let reload = ReloadFleet {
            step: step.into(),
            ..ReloadFleet::default()
        };
        self.manage(Action::Reload(reload), timeout_ms).await
    }

    /// Begins something with all processes.
    pub async fn manage(&self, action: Action, timeout_ms: u64) -> Running {
        let request = ManageRequest {
            selection: Some(Selection {
                namespace: NAMESPACE.into(),
                service: self.service.clone(),
                ..Selection::default()
            }),
            actor: "ann".into(),
            timeout_ms,
            action: Some(action),
            ..ManageRequest::default()
        };
        self.operator.manage(request).await.expect("it begins")
    }

    /// Reloads all; gives how it ended, after it was checked.
    pub async fn apply(&self, timeout_ms: u64) -> ActionSummary {
        let summary = self.begin(Step::Apply, timeout_ms).await.end().await;
        self.check(&summary);
        summary
    }

    /// Waits until the last action has ended, and gives how.
    pub async fn last_outcome(&self) -> ActionOutcome {
        loop {
            let actions = self.operator.actions(1, "").await.expect("listed");
            if actions[0].ended_ms > 0 {
                return actions[0].outcome();
            }
        }
    }

    /// Waits until the server has noticed that the caller of the last action has left.
    pub async fn unheard(&self) {
        loop {
            let actions = self.operator.actions(1, "").await.expect("listed");
            if actions[0].message.ends_with("its caller has left") {
                return;
            }
        }
    }

    /// Each process whose session is not over.
    fn there(&self) -> Vec<(Arc<Fake>, State)> {
        let fakes = self.fakes.lock().expect("no panic");
        let states = fakes.iter().map(|fake| (fake.clone(), fake.state()));
        states.filter(|(_, state)| state.has_session).collect()
    }

    /// What each that is alive runs, by instance.
    pub fn running(&self) -> BTreeMap<String, u32> {
        let alive = self.there().into_iter().filter(|(_, state)| state.alive);
        alive
            .map(|(fake, state)| (fake.instance.clone(), state.program))
            .collect()
    }

    /// Checks what was told against what they really run.
    #[track_caller]
    pub fn check(&self, summary: &ActionSummary) {
        let there = self.there();
        // Who came after the last look is not spoken of.
        let alive = || {
            there
                .iter()
                .filter(|(_, state)| state.alive && state.asked > 0)
        };
        let programs: BTreeSet<u32> = alive().map(|(_, state)| state.program).collect();
        let as_before = alive().all(|(fake, state)| state.program == fake.first);
        let all_ok = (summary.processes.iter()).all(|update| update.state() == ProcessState::Ok);
        let holds = match summary.outcome() {
            ActionOutcome::Ok => programs.len() <= 1,
            ActionOutcome::RolledBack => programs.len() <= 1 && as_before,
            ActionOutcome::Failed => programs.len() <= 1,
            ActionOutcome::Mixed => programs.len() > 1 || !all_ok,
            _ => false,
        };
        assert!(holds, "{summary:#?} is not true of {:?}", self.running());
    }
}

/// Does what it is asked, but for one time.
pub fn but(at: usize, act: Act) -> Vec<Act> {
    let mut script = vec![Act::Do; at];
    script.push(act);
    script
}

/// The place of a command among those that a process gets in a reload.
pub const AT_STATUS: usize = 0;
/// The next.
pub const AT_PREPARE: usize = 1;
/// The next.
pub const AT_COMMIT: usize = 2;

/// Checks the last word on a process; gives the message.
#[track_caller]
pub fn last_word(
    summary: &ActionSummary,
    instance: &str,
    phase: Phase,
    state: ProcessState,
) -> String {
    let mut all = summary.processes.iter();
    let found = all.find(|update| {
        update
            .process
            .as_ref()
            .is_some_and(|p| p.instance == instance)
    });
    let update = found.unwrap_or_else(|| panic!("{instance} is not in {summary:?}"));
    assert_eq!(
        (update.phase(), update.state()),
        (phase, state),
        "{summary:#?}"
    );
    update.message.clone()
}

/// Goes on until this phase begins.
pub async fn until(running: &mut Running, phase: Phase) {
    loop {
        match running.next().await {
            Kind::Phase(begun) if begun.phase() == phase => return,
            Kind::Summary(summary) => panic!("it has ended: {summary:?}"),
            _ => {}
        }
    }
}
