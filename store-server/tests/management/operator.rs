//! The one who asks.

use stillpoint_proto::v1::{
    ActionBegun, ActionOutcome, ActionRecord, ActionSummary, ListActionsRequest, ManageRequest,
    ManageResponse, ProcessState, ProcessUpdate, Reason, RunCommand, Selection, StoreError,
    manage_request::Action, manage_response::Kind,
    management_service_client::ManagementServiceClient,
};
use tonic::{Streaming, transport::Channel};

use crate::{
    process::NAMESPACE,
    server::{Server, soon},
};

/// An operator.
#[derive(Clone)]
pub struct Operator {
    client: ManagementServiceClient<Channel>,
}

/// An action that is under way.
#[derive(Debug)]
pub struct Running {
    /// Its beginning.
    pub begun: ActionBegun,
    from: Streaming<ManageResponse>,
}

/// What is to be done with `battle/*`.
pub fn of_battle(action: Action) -> ManageRequest {
    let selection = Selection {
        namespace: NAMESPACE.into(),
        service: "battle".into(),
        ..Selection::default()
    };
    ManageRequest {
        selection: Some(selection),
        actor: "ann".into(),
        action: Some(action),
        ..ManageRequest::default()
    }
}

/// A command without arguments.
pub fn run(name: &str) -> Action {
    Action::Command(RunCommand {
        name: name.into(),
        ..RunCommand::default()
    })
}

impl Operator {
    /// Connects to a server.
    pub async fn connect(server: &Server) -> Operator {
        let channel = server.channel("admin.sock").await;
        Operator {
            client: ManagementServiceClient::new(channel),
        }
    }

    /// Asks for something; gives it when it has begun.
    pub async fn manage(&self, request: ManageRequest) -> Result<Running, StoreError> {
        let mut client = self.client.clone();
        let answered = soon("an action to begin", client.manage(request)).await;
        let answered = answered.map_err(|status| StoreError::from_status(&status))?;
        let mut from = answered.into_inner();
        let first = soon("the first message", from.message()).await;
        match first.expect("it goes on").expect("a message").kind {
            Some(Kind::Begun(begun)) => Ok(Running { begun, from }),
            other => panic!("told {other:?} first"),
        }
    }

    /// The same for what must be refused as invalid; gives the message.
    pub async fn refused(&self, request: ManageRequest) -> String {
        let error = self.manage(request).await.expect_err("it is refused");
        assert_eq!(error.reason(), Reason::Invalid, "{error}");
        error.message
    }

    /// What was written down.
    pub async fn actions(&self, limit: u32, before: &str) -> Result<Vec<ActionRecord>, StoreError> {
        let mut client = self.client.clone();
        let request = ListActionsRequest {
            namespace: NAMESPACE.into(),
            limit,
            before_action_id: before.into(),
        };
        let answered = soon("a list", client.list_actions(request)).await;
        answered
            .map(|answer| answer.into_inner().actions)
            .map_err(|status| StoreError::from_status(&status))
    }
}

impl Running {
    /// The instances that should answer.
    pub fn expected(&self) -> Vec<&str> {
        let expected = self.begun.expected.iter();
        expected.map(|process| process.instance.as_str()).collect()
    }

    /// The next update.
    pub async fn update(&mut self) -> ProcessUpdate {
        match self.next().await {
            Kind::Update(update) => update,
            other => panic!("told {other:?} instead of a process's state"),
        }
    }

    /// The end, which must be next; nothing comes after it.
    pub async fn summary(&mut self) -> ActionSummary {
        match self.next().await {
            Kind::Summary(summary) => {
                let after = soon("the end", self.from.message()).await;
                assert!(after.expect("it ends well").is_none());
                summary
            }
            other => panic!("told {other:?} instead of the summary"),
        }
    }

    /// The end, whatever comes before it.
    pub async fn end(&mut self) -> ActionSummary {
        loop {
            match self.next().await {
                Kind::Summary(summary) => return summary,
                Kind::Begun(_) => panic!("it has begun before"),
                Kind::Phase(_) | Kind::Update(_) => {}
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> Kind {
        let message = soon("how it goes", self.from.message()).await;
        let message = message.expect("it goes on").expect("it has not ended");
        assert_eq!(message.header.expect("a header").revision, 0);
        message.kind.expect("a message has a kind")
    }
}

/// Checks a process's state; gives the message.
#[track_caller]
pub fn is(update: &ProcessUpdate, instance: &str, state: ProcessState) -> String {
    let process = update.process.as_ref().expect("it names the process");
    assert_eq!(
        (&*process.instance, update.state()),
        (instance, state),
        "{update:?}"
    );
    update.message.clone()
}

/// Checks how it ended: the outcome and each process's last state, by instance.
#[track_caller]
pub fn ended(summary: &ActionSummary, outcome: ActionOutcome, states: &[(&str, ProcessState)]) {
    assert_eq!(summary.outcome(), outcome, "{summary:?}");
    let processes = summary.processes.iter();
    let found: Vec<_> = processes
        .map(|update| {
            let process = update.process.as_ref().expect("it names the process");
            (process.instance.as_str(), update.state())
        })
        .collect();
    assert_eq!(found, states);
}
