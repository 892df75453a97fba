//! A rolling restart.

use stillpoint_proto::v1::{
    ActionOutcome, ActionSummary, Phase, ProcessState, RestartProcesses, manage_request::Action,
    manage_response::Kind, reload_fleet::Step,
};

use crate::{
    fake::{Act, FILES},
    fleet::{LONG_MS, OLD, SHORT_MS, World, last_word},
};

fn restart(successor_ms: u64) -> Action {
    Action::Restart(RestartProcesses { successor_ms })
}

/// How it ended, and the instances whose restart was told to be done or begun, in this order.
async fn restarted(world: &World, successor_ms: u64) -> (ActionSummary, Vec<(String, bool)>) {
    let mut running = world.manage(restart(successor_ms), LONG_MS).await;
    let mut order: Vec<(String, bool)> = Vec::new();
    loop {
        match running.next().await {
            Kind::Update(update) => {
                let state = update.state();
                let name = update.process.expect("it names the process").instance;
                let entry = (name, state == ProcessState::Ok);
                let matters = matches!(state, ProcessState::Ok | ProcessState::Delivered);
                if matters && !order.contains(&entry) {
                    order.push(entry);
                }
            }
            Kind::Summary(summary) => return (summary, order),
            _ => {}
        }
    }
}

#[tokio::test]
async fn processes_are_restarted_one_after_another() {
    let world = World::start(&[vec![], vec![], vec![]]).await;
    let (summary, order) = restarted(&world, LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(summary.message, "3 of 3 have successors");
    let expected = ["a", "b", "c"]
        .into_iter()
        .flat_map(|name| [(name, false), (name, true)]);
    let expected: Vec<_> = expected
        .map(|(name, done)| (name.to_owned(), done))
        .collect();
    assert_eq!(order, expected);
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 3]
    );
}

#[tokio::test]
async fn a_restart_stops_at_the_first_whose_successor_does_not_come() {
    let world = World::start(&[vec![], vec![Act::Die], vec![]]).await;
    let (summary, _) = restarted(&world, SHORT_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Failed, "{summary:?}");
    last_word(&summary, "a", Phase::Unspecified, ProcessState::Ok);
    let why = last_word(&summary, "b", Phase::Unspecified, ProcessState::Error);
    assert!(
        why.starts_with("its successor did not come within 0.4 s"),
        "{why}"
    );
    last_word(&summary, "c", Phase::Unspecified, ProcessState::Skipped);
    let running = world.running().into_iter().collect::<Vec<_>>();
    assert_eq!(running, [("a".to_owned(), FILES), ("c".to_owned(), OLD)]);
}

#[tokio::test]
async fn a_process_that_is_not_there_stops_the_restart() {
    let world = World::start(&[vec![Act::Die], vec![]]).await;
    // It dies of the status, and leaves its session to a successor.
    world.begin(Step::Status, LONG_MS).await.end().await;
    let (summary, order) = restarted(&world, LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Failed, "{summary:?}");
    assert!(order.is_empty(), "{order:?}");
    last_word(&summary, "a", Phase::Unspecified, ProcessState::Gone);
    last_word(&summary, "b", Phase::Unspecified, ProcessState::Skipped);
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD]);
}
