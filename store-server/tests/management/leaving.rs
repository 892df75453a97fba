//! Processes that are asked to leave, and sessions that are ended without asking.

use stillpoint_proto::v1::{
    ActionOutcome, DrainProcesses, EvictSessions, ManageRequest, OpenSessionRequest, ProcessState,
    attach_response::Kind as Told, manage_request::Action,
};

use crate::{
    operator::{Operator, Running, ended, is, of_battle},
    process::{Process, done, progress, wish},
    server::Server,
};

fn drain(timeout_ms: u64) -> ManageRequest {
    ManageRequest {
        timeout_ms,
        ..of_battle(Action::Drain(DrainProcesses {}))
    }
}

fn evict(reason: &str) -> ManageRequest {
    of_battle(Action::Evict(EvictSessions {
        reason: reason.into(),
    }))
}

const LONG_MS: u64 = 600_000;

async fn begin(request: ManageRequest) -> (Server, Process, Running) {
    let server = Server::start().await;
    let process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let running = operator.manage(request).await.expect("it begins");
    (server, process, running)
}

#[tokio::test]
async fn a_process_is_drained_when_it_has_answered_and_left_its_session() {
    for keep_claims in [true, false] {
        let (_server, mut process, mut running) = begin(drain(LONG_MS)).await;
        let command = process.obey(b"\xc0").await;
        assert_eq!((&*command.name, &*command.actor), ("drain", "ann"));
        process.close(keep_claims).await;
        is(&running.update().await, "a", ProcessState::Ok);
        let summary = running.summary().await;
        ended(&summary, ActionOutcome::Ok, &[("a", ProcessState::Ok)]);
        assert_eq!(summary.message, "1 of 1 have left their sessions");
    }
}

#[tokio::test]
async fn a_process_that_leaves_without_an_answer_is_drained_too() {
    let (_server, mut process, mut running) = begin(drain(LONG_MS)).await;
    process.command().await;
    process.close(true).await;
    drop(process);
    is(&running.update().await, "a", ProcessState::Ok);
}

#[tokio::test]
async fn a_process_that_answers_and_keeps_its_session_is_not_drained() {
    let (_server, mut process, mut running) = begin(drain(300)).await;
    process.obey(b"\xc0").await;
    let message = is(&running.update().await, "a", ProcessState::Timeout);
    assert!(message.contains("still has its session"), "{message}");
    assert_eq!(running.summary().await.outcome(), ActionOutcome::Failed);
}

#[tokio::test]
async fn a_process_that_dies_while_it_is_drained_is_gone() {
    let (_server, mut process, mut running) = begin(drain(LONG_MS)).await;
    process.command().await;
    drop(process);
    let message = is(&running.update().await, "a", ProcessState::Gone);
    assert_eq!(message, "it is not there: its connection was lost");
}

#[tokio::test]
async fn an_evicted_process_is_told_why_and_its_place_is_free() {
    let (server, mut process, mut running) = begin(evict("it hangs")).await;
    is(&running.update().await, "a", ProcessState::Ok);
    let summary = running.summary().await;
    ended(&summary, ActionOutcome::Ok, &[("a", ProcessState::Ok)]);
    match process.told().await {
        Some(Told::Fenced(fenced)) => {
            assert_eq!(fenced.message, "evicted by an operator (ann): it hangs");
            assert_eq!(fenced.fence, 0);
        }
        other => panic!("told {other:?}"),
    }
    assert!(process.told().await.is_none());
    let next = Process::start(&server, "a").await;
    assert!(!next.session.succeeded);
    assert_ne!(next.session.session_id, process.session.session_id);
}

#[tokio::test]
async fn a_session_without_a_process_can_be_evicted() {
    let server = Server::start().await;
    let process = Process::start(&server, "a").await;
    process.close(true).await;
    let operator = Operator::connect(&server).await;
    let mut running = operator.manage(evict("")).await.expect("it begins");
    is(&running.update().await, "a", ProcessState::Ok);
    running.summary().await;
    let next = Process::start(&server, "a").await;
    assert!(!next.session.succeeded);
}

#[tokio::test]
async fn the_successor_of_a_process_is_not_told_why_its_predecessor_was_to_be_evicted() {
    let server = Server::start().await;
    let first = Process::start(&server, "a").await;
    let takeover = OpenSessionRequest {
        takeover: true,
        ..wish("battle", "a")
    };
    let mut second = Process::start_as(&server, takeover).await;
    let operator = Operator::connect(&server).await;
    let mut running = operator.manage(evict("")).await.expect("it begins");
    assert_eq!(running.begun.expected[0].fence, second.session.fence);
    assert!(first.session.fence < second.session.fence);
    is(&running.update().await, "a", ProcessState::Ok);
    match second.told().await {
        Some(Told::Fenced(fenced)) => assert_eq!(fenced.message, "evicted by an operator (ann)"),
        other => panic!("told {other:?}"),
    }
}

#[tokio::test]
async fn a_process_drains_while_another_command_of_it_is_open() {
    let (server, mut process, mut draining) = begin(drain(LONG_MS)).await;
    let operator = Operator::connect(&server).await;
    let to_drain = process.command().await;
    let mut asked = (operator
        .manage(of_battle(crate::operator::run("info")))
        .await)
        .expect("begins");
    process.command().await;
    process.answer(&to_drain, done(b"\xc0")).await;
    process.close(true).await;
    is(&draining.update().await, "a", ProcessState::Ok);
    let message = is(&asked.update().await, "a", ProcessState::Gone);
    assert!(message.contains("left its session"), "{message}");
}

#[tokio::test]
async fn what_a_process_has_answered_before_it_closed_its_session_is_heard() {
    let server = Server::start().await;
    let operator = Operator::connect(&server).await;
    for _ in 0..50 {
        let mut process = Process::start(&server, "a").await;
        let request = of_battle(crate::operator::run("quit"));
        let mut asked = operator.manage(request).await.expect("it begins");
        let command = process.command().await;
        for _ in 0..10 {
            process.answer(&command, progress("on it")).await;
        }
        process.answer(&command, done(b"\xc0")).await;
        process.close(false).await;
        let summary = asked.end().await;
        ended(&summary, ActionOutcome::Ok, &[("a", ProcessState::Ok)]);
    }
}
