//! A rolling restart, with somebody who starts processes again that have ended.

use stillpoint_client::v1::{
    ActionOutcome, ManageRequest, ManageResponse, ProcessState, RestartProcesses,
    manage_request::Action, manage_response::Kind,
};

use crate::{operator::request, process::Processes, world::World};

/// For a process that does not come.
const SOON_MS: u64 = 500;

fn restarting(successor_ms: u64) -> ManageRequest {
    ManageRequest {
        timeout_ms: 60_000,
        ..request("*", Action::Restart(RestartProcesses { successor_ms }))
    }
}

/// Whose successor is waited for now.
fn who_left(told: &ManageResponse) -> Option<String> {
    let Some(Kind::Update(update)) = &told.kind else {
        return None;
    };
    let waits = update.message.ends_with("waiting for its successor");
    let process = update.process.as_ref().filter(|_| waits)?;
    Some(process.instance.clone())
}

/// As a supervisor does it.
fn start_again(processes: &mut Processes, name: &str) {
    processes.get(name).ends();
    processes.start(name);
}

#[test]
fn a_fleet_restarts_one_by_one_and_comes_to_the_new_program() {
    let mut world = World::start(0);
    world.processes.write_rules(2, "");
    let mut order = Vec::new();
    let told = world.act(restarting(60_000), |processes, told| {
        if let Some(name) = who_left(told) {
            start_again(processes, &name);
            order.push(name);
        }
    });
    assert_eq!(told.summary.outcome(), ActionOutcome::Ok, "{told:#?}");
    assert_eq!(order, ["a", "b", "c"]);
    let record = world.newest("restart");
    assert_eq!(record.outcome(), ActionOutcome::Ok, "{record:?}");
    world.check_running(&[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn a_restart_stops_at_the_first_that_does_not_come_back() {
    let mut world = World::start(3);
    world.processes.write_rules(2, "");
    let told = world.act(restarting(SOON_MS), |processes, told| {
        match who_left(told).as_deref() {
            // It is gone, and nobody starts it again.
            Some("a") => {
                processes.get("a").ends();
                processes.kill("a");
            }
            Some(other) => panic!("{other} was restarted"),
            None => {}
        }
    });
    assert_eq!(told.summary.outcome(), ActionOutcome::Failed, "{told:#?}");
    let states: Vec<_> = told
        .summary
        .processes
        .iter()
        .map(|update| update.state())
        .collect();
    let expected = [
        ProcessState::Error,
        ProcessState::Skipped,
        ProcessState::Skipped,
    ];
    assert_eq!(states, expected, "{told:#?}");
    let why = &told.summary.processes[0].message;
    assert!(
        why.starts_with("its successor did not come within 0.5 s"),
        "{why}"
    );
    world.check_running(&[("b", 1), ("c", 1)]);
}
