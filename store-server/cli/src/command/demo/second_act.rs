//! The second act: a rule of the game changes while it is played, in all processes at once or in none.
//!
//! The demo replaces `rules.lua`, as whoever deploys a new version would, and asks the store for a fleet reload.

use std::time::{Duration, Instant};

use rmpv::Value;
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{
    ActionOutcome, ActionSummary, ManageRequest, ReloadFleet, Selection, SessionState,
    manage_request::Action, manage_response::Kind, reload_fleet::Step,
};

use super::{
    NAMESPACE, SERVICE,
    chaos::Plan,
    directory::{Directory, RULES},
    workers::Workers,
};
use crate::{failure::Failure, interrupt::Interrupt, record::object};

/// Longest time the workers may take to be there, and an answer of theirs.
const WORKERS_MAX: Duration = Duration::from_secs(60);

/// How the rules were changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// What the store says of it.
    summary: ActionSummary,
    /// How long it took.
    time: Duration,
}

/// Changes the rules, once all workers are there; none: it is another game, which may know nothing of it.
pub fn change_rules(
    plan: &Plan,
    directory: &Directory,
    workers: &mut Workers<'_>,
    interrupt: &Interrupt,
) -> Result<Option<Change>, Failure> {
    if directory.has_another_game() {
        return Ok(None);
    }
    let mut port = AdminClient::connect(&directory.admin_url(), WORKERS_MAX)?;
    let all = interrupt.wait_for(WORKERS_MAX, || {
        workers.restart_ended()?;
        let sessions = port.sessions(NAMESPACE, SERVICE)?.sessions;
        let attached = (sessions.iter())
            .filter(|session| session.state() == SessionState::Attached)
            .count();
        Ok((attached == plan.workers as usize).then_some(()))
    })?;
    if all.is_none() {
        return Err(Failure::operation(format_args!(
            "not all workers are there after {WORKERS_MAX:?}"
        ))
        .at(directory.typed()));
    }
    directory.replace(&RULES)?;

    let began = Instant::now();
    let request = ManageRequest {
        selection: Some(Selection {
            namespace: NAMESPACE.into(),
            service: SERVICE.into(),
            ..Selection::default()
        }),
        actor: "demo".into(),
        timeout_ms: WORKERS_MAX.as_millis() as u64,
        action: Some(Action::Reload(ReloadFleet {
            step: Step::Apply.into(),
            ..ReloadFleet::default()
        })),
        ..ManageRequest::default()
    };
    let mut summary = None;
    for told in port.manage(request)? {
        if let Some(Kind::Summary(told)) = told?.kind {
            summary = Some(told);
        }
    }
    let summary = summary.ok_or_else(|| {
        Failure::operation("the store ended the reload without saying how").at(directory.typed())
    })?;
    let time = began.elapsed();
    Ok(Some(Change { summary, time }))
}

impl Change {
    /// What is not as promised.
    pub fn broken(&self) -> Option<String> {
        (self.summary.outcome() != ActionOutcome::Ok)
            .then(|| format!("the rules were not changed: {}", self.summary.message))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        format!(
            "in {} processes at once, within {} ms",
            self.summary.processes.len(),
            self.time.as_millis()
        )
    }

    /// For programs.
    pub fn to_value(&self) -> Value {
        object([
            ("ok", self.broken().is_none().into()),
            ("message", self.summary.message.as_str().into()),
            ("processes", self.summary.processes.len().into()),
            ("took_ms", (self.time.as_millis() as u64).into()),
        ])
    }
}
