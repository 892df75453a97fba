//! A store that answers as it is told to, so that every answer can be had, and no process is needed.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use stillpoint_proto::v1::{
    ActionBegun, ActionOutcome, ActionSummary, ListActionsRequest, ListActionsResponse,
    ManageRequest, ManageResponse, Phase, PhaseBegun, ProcessRef, ProcessState, ProcessUpdate,
    manage_response::Kind,
    management_service_server::{ManagementService, ManagementServiceServer},
};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::server::{Ran, program, run};

/// The number of every action.
pub const ACTION: &str = "019a1b2c-3d4e-7f00-8123-456789abcdef";

/// The store.
pub struct Fake {
    directory: TempDir,
    asked: Arc<Mutex<Vec<ManageRequest>>>,
    /// Serves until it is dropped.
    _runtime: Runtime,
}

/// What is told, and whether more would come.
pub enum Told {
    /// The stream ends with that.
    All(Vec<Kind>),
    /// The stream stays open.
    SoFar(Vec<Kind>),
}

/// How requests are answered.
pub struct Script {
    /// An action.
    pub manage: fn(&ManageRequest) -> Told,
    /// The list of actions.
    pub actions: fn(&ListActionsRequest) -> ListActionsResponse,
}

struct Service {
    script: Script,
    asked: Arc<Mutex<Vec<ManageRequest>>>,
    /// Of streams that stay open.
    open: Mutex<Vec<mpsc::UnboundedSender<Result<ManageResponse, Status>>>>,
}

impl Fake {
    /// One that answers actions so.
    pub fn start(manage: fn(&ManageRequest) -> Told) -> Self {
        Self::with(Script {
            manage,
            actions: |_| ListActionsResponse::default(),
        })
    }

    /// One that lists these actions.
    pub fn with(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = runtime.block_on(async { UnixListener::bind(path).unwrap() });
        let asked = Arc::default();
        let service = Service {
            script,
            asked: Arc::clone(&asked),
            open: Mutex::default(),
        };
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(ManagementServiceServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Fake {
            directory,
            asked,
            _runtime: runtime,
        }
    }

    /// The program, told where this store is.
    pub fn program(&self) -> Command {
        let path = self.directory.path().join("admin.sock");
        let mut program = program();
        program
            .env("STILLPOINT_ADMIN", format!("unix:{}", path.display()))
            .env_remove("STILLPOINT_NAMESPACE")
            .env("USER", "ann");
        program
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(self.program().args(args))
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<ManageRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl ManagementService for Service {
    type ManageStream = UnboundedReceiverStream<Result<ManageResponse, Status>>;

    async fn manage(
        &self,
        request: Request<ManageRequest>,
    ) -> Result<Response<Self::ManageStream>, Status> {
        let request = request.into_inner();
        let told = (self.script.manage)(&request);
        self.asked.lock().unwrap().push(request);
        let (tell, messages) = mpsc::unbounded_channel();
        let (kinds, is_all) = match told {
            Told::All(kinds) => (kinds, true),
            Told::SoFar(kinds) => (kinds, false),
        };
        for kind in kinds {
            let message = ManageResponse {
                kind: Some(kind),
                ..ManageResponse::default()
            };
            tell.send(Ok(message)).unwrap();
        }
        if !is_all {
            self.open.lock().unwrap().push(tell);
        }
        Ok(Response::new(UnboundedReceiverStream::new(messages)))
    }

    async fn list_actions(
        &self,
        request: Request<ListActionsRequest>,
    ) -> Result<Response<ListActionsResponse>, Status> {
        Ok(Response::new((self.script.actions)(&request.into_inner())))
    }
}

/// A command that runs, whose lines are read as they come.
pub struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Running { process, lines }
    }

    /// Reads up to a line with this in it.
    pub fn wait_for(&mut self, part: &str) {
        let mut told = self.lines.by_ref().map(Result::unwrap);
        assert!(told.any(|line| line.contains(part)), "no line with {part}");
    }

    /// As Ctrl-C does; returns what it comes to.
    pub fn interrupt(self) -> Ran {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        self.process.wait_with_output().unwrap().into()
    }
}

/// A process of service `battle`.
pub fn process(instance: &str) -> ProcessRef {
    ProcessRef {
        service: "battle".into(),
        instance: instance.into(),
        fence: 17,
        code_version: "1.4.2".into(),
    }
}

/// An action on these processes has begun.
pub fn begun(instances: &[&str]) -> Kind {
    Kind::Begun(ActionBegun {
        action_id: ACTION.into(),
        expected: instances.iter().map(|instance| process(instance)).collect(),
    })
}

/// A phase begins.
pub fn phase(phase: Phase, processes: u32, reason: &str) -> Kind {
    Kind::Phase(PhaseBegun {
        phase: phase.into(),
        processes,
        reason: reason.into(),
    })
}

/// A word on a process.
pub fn word(instance: &str, state: ProcessState, message: &str) -> ProcessUpdate {
    ProcessUpdate {
        process: Some(process(instance)),
        state: state.into(),
        message: message.into(),
        elapsed_ms: 3,
        ..ProcessUpdate::default()
    }
}

/// The same word, of a phase.
pub fn in_phase(phase: Phase, word: ProcessUpdate) -> Kind {
    Kind::Update(ProcessUpdate {
        phase: phase.into(),
        ..word
    })
}

/// It is done, with this answer.
pub fn ok(instance: &str, answer: Value) -> ProcessUpdate {
    let value = rmp_serde::to_vec(&answer).unwrap();
    ProcessUpdate {
        value: value.into(),
        ..word(instance, ProcessState::Ok, "")
    }
}

/// The end; as the store does, without values.
pub fn summary(outcome: ActionOutcome, message: &str, last_words: &[ProcessUpdate]) -> Kind {
    let without_value = |word: &ProcessUpdate| ProcessUpdate {
        value: Default::default(),
        ..word.clone()
    };
    Kind::Summary(ActionSummary {
        outcome: outcome.into(),
        message: message.into(),
        processes: last_words.iter().map(without_value).collect(),
    })
}
