//! The operator: asks all processes of the service, and looks at what is told.

use rmpv::Value;
use stillpoint_client::{
    AdminClient,
    v1::{
        self, ActionOutcome, ManageRequest, ManageResponse, ProcessState, ProcessUpdate, Selection,
        manage_request::Action, manage_response::Kind, reload_fleet::Step,
    },
};

/// What was told of an action.
#[derive(Debug)]
pub struct Told {
    pub updates: Vec<ProcessUpdate>,
    pub summary: v1::ActionSummary,
}

/// Asks those whose instance is like this.
pub fn request(instance: &str, action: Action) -> ManageRequest {
    ManageRequest {
        selection: Some(Selection {
            namespace: "world1".into(),
            service: "battle".into(),
            instance: instance.into(),
            ..Default::default()
        }),
        actor: "ann".into(),
        timeout_ms: 30_000,
        action: Some(action),
        ..Default::default()
    }
}

pub fn command(name: &str, arguments: Option<Value>) -> Action {
    let mut bytes = Vec::new();
    if let Some(arguments) = arguments {
        rmpv::encode::write_value(&mut bytes, &arguments).expect("memory takes it");
    }
    Action::Command(v1::RunCommand {
        name: name.into(),
        arguments: bytes.into(),
    })
}

pub fn reload(step: Step) -> Action {
    Action::Reload(v1::ReloadFleet {
        step: step.into(),
        ..Default::default()
    })
}

/// Runs an action to its end.
pub fn run(admin: &mut AdminClient, request: ManageRequest) -> Told {
    follow(admin, request, |_| {})
}

/// The same, showing each message as it comes.
pub fn follow(
    admin: &mut AdminClient,
    request: ManageRequest,
    mut show: impl FnMut(&ManageResponse),
) -> Told {
    let mut updates = Vec::new();
    for message in admin.manage(request).expect("it begins") {
        let message = message.expect("it is told to its end");
        show(&message);
        match message.kind {
            Some(Kind::Update(update)) => updates.push(update),
            Some(Kind::Summary(summary)) => return Told { updates, summary },
            _ => {}
        }
    }
    panic!("no summary came")
}

impl Told {
    /// The last words, all of this state, by instance.
    pub fn all(&self, state: ProcessState) -> Vec<(String, &ProcessUpdate)> {
        let last = self.summary.processes.iter();
        last.map(|update| {
            assert_eq!(update.state(), state, "{update:?}");
            (instance(update), update)
        })
        .collect()
    }

    /// The answers of all, who have all answered, by instance.
    pub fn answers(&self) -> Vec<(String, Value)> {
        assert_eq!(
            self.summary.outcome(),
            ActionOutcome::Ok,
            "{:?}",
            self.summary
        );
        let ended = self.all(ProcessState::Ok).into_iter();
        ended
            .map(|(instance, last)| {
                let told = self.updates.iter().rev();
                let mut answers = told.filter(|update| update.process == last.process);
                (instance, value(answers.next().expect("it was told")))
            })
            .collect()
    }

    /// Whether all have been in this state.
    pub fn saw(&self, state: ProcessState) -> bool {
        let has_been = |last: &ProcessUpdate| {
            let mut its = self.updates.iter().filter(|u| u.process == last.process);
            its.any(|update| update.state() == state)
        };
        self.summary.processes.iter().all(has_been)
    }
}

fn instance(update: &ProcessUpdate) -> String {
    let process = update.process.as_ref().expect("it is named");
    process.instance.clone()
}

fn value(update: &ProcessUpdate) -> Value {
    rmpv::decode::read_value(&mut &*update.value).expect("it is a value")
}
