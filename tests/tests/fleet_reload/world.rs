//! A server, a fleet, and what is true of it.

use rmpv::Value;
use stillpoint_client::v1::{
    self, ActionOutcome, ActionRecord, ManageRequest, ManageResponse, Phase, ProcessState,
    manage_request::Action, manage_response::Kind, reload_fleet::Step,
};
use stillpoint_tests::server::{Server, Setup};

use crate::{
    operator::{Told, command, follow, reload, request, run},
    process::Processes,
};

/// Long enough that no test waits for it.
const LONG_MS: u64 = 60_000;

/// For tests that wait for it, a few times each. Others have to answer within it.
pub const SHORT_MS: u64 = 1_500;

/// A server, and processes of one service.
pub struct World {
    setup: Setup,
    /// `None`: killed.
    server: Option<Server>,
    /// The processes.
    pub processes: Processes,
}

impl World {
    /// One with the processes `a`, `b` and `c`, whose program has the version 1. The Luas are those from `first` on.
    pub fn start(first: usize) -> World {
        let setup = Setup::new();
        let server = setup.start();
        let mut processes = Processes::new(server.url(), first);
        processes.write_rules(1, "");
        for name in ["a", "b", "c"] {
            processes.start(name);
        }
        World {
            setup,
            server: Some(server),
            processes,
        }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// Kills the server, wherever it is.
    pub fn kill_server(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    /// Starts it again.
    pub fn restart_server(&mut self) {
        self.server = Some(self.setup.start());
    }

    /// Does something with all, showing what is told as it comes, with the processes.
    pub fn act(
        &mut self,
        request: ManageRequest,
        mut show: impl FnMut(&mut Processes, &ManageResponse),
    ) -> Told {
        let mut admin = self.server().admin();
        follow(&mut admin, request, |told| show(&mut self.processes, told))
    }

    /// Reloads all.
    pub fn apply(&mut self, show: impl FnMut(&mut Processes, &ManageResponse)) -> Told {
        self.act(applying(LONG_MS), show)
    }

    /// The same, where some process is waited for in vain.
    pub fn apply_in_vain(&mut self, show: impl FnMut(&mut Processes, &ManageResponse)) -> Told {
        self.act(applying(SHORT_MS), show)
    }

    /// Which program they run, as the operator is told.
    pub fn status(&mut self) -> v1::ActionSummary {
        run(
            &mut self.server().admin(),
            request("*", reload(Step::Status)),
        )
        .summary
    }

    /// Lets a process wait when it comes to this place the next time.
    pub fn arm(&mut self, name: &str, place: &str) {
        self.ask(name, command("arm", Some(place.into())));
    }

    /// Lets a process wait now, where its program does nothing else.
    pub fn hold(&mut self, name: &str) {
        let mut admin = self.server().admin();
        let mut told = admin
            .manage(request(name, command("hold", None)))
            .expect("it begins");
        self.processes.get(name).hear("at hold");
        // It has begun; nobody waits for its end.
        assert!(told.next().is_some());
    }

    /// The answer of one process. One whose connection was lost is asked again: it comes back.
    pub fn ask(&mut self, name: &str, action: Action) -> Value {
        let mut admin = self.server().admin();
        loop {
            let told = run(&mut admin, request(name, action.clone()));
            let gone = |update: &v1::ProcessUpdate| update.state() == ProcessState::Gone;
            if !told.summary.processes.iter().any(gone) {
                let mut answers = told.answers();
                assert_eq!(answers.len(), 1, "{answers:?}");
                return answers.remove(0).1;
            }
        }
    }

    /// The newest action that is called so.
    pub fn newest(&self, action: &str) -> ActionRecord {
        let listed = self.server().admin().actions(v1::ListActionsRequest {
            namespace: "world1".into(),
            limit: 100,
            ..Default::default()
        });
        let mut records = listed.expect("they are listed").actions.into_iter();
        let found = records.find(|record| record.action == action);
        found.unwrap_or_else(|| panic!("there is no {action}"))
    }

    /// Checks that it was told so, that it is written down so, and that it is true: `running` is what each process that
    /// lives says of itself, and each of them works, and has at no time failed to.
    #[track_caller]
    pub fn check(&mut self, told: &Told, outcome: ActionOutcome, running: &[(&str, i64)]) {
        assert_eq!(told.summary.outcome(), outcome, "{told:#?}");
        let record = self.newest("reload apply");
        assert_eq!(
            (record.outcome(), &record.message, &*record.actor),
            (outcome, &told.summary.message, "ann"),
            "{record:?}"
        );
        assert!(record.ended_ms >= record.begun_ms, "{record:?}");
        self.check_running(running);
    }

    /// The last part of it.
    #[track_caller]
    pub fn check_running(&mut self, running: &[(&str, i64)]) {
        let mut found = Vec::new();
        for name in self.processes.names() {
            let before = self.ask(&name, command("work", None));
            let now = loop {
                let now = self.ask(&name, command("work", None));
                if now["done"].as_i64() > before["done"].as_i64() {
                    break now;
                }
            };
            assert_eq!(now["failed"], Value::from(""), "{name} failed to work");
            found.push((name, now["version"].as_i64().expect("a version")));
        }
        let found: Vec<_> = found.iter().map(|(name, v)| (&**name, *v)).collect();
        assert_eq!(found, running);
    }
}

/// What is asked for a reload.
pub fn applying(timeout_ms: u64) -> ManageRequest {
    ManageRequest {
        timeout_ms,
        ..request("*", reload(Step::Apply))
    }
}

/// Whether this says that a process has got what it was asked in that phase.
pub fn has_got(told: &ManageResponse, phase: Phase, name: &str) -> bool {
    is_word(told, phase, name, ProcessState::Delivered)
}

/// Whether this is that word on a process.
pub fn is_word(told: &ManageResponse, phase: Phase, name: &str, state: ProcessState) -> bool {
    let Some(Kind::Update(update)) = &told.kind else {
        return false;
    };
    let of = update.process.as_ref().is_some_and(|p| p.instance == name);
    of && update.phase() == phase && update.state() == state
}
