//! Several processes are asked: so many at a time, until one fails, or until the caller leaves.

use stillpoint_proto::v1::{ActionOutcome, ActionRecord, ManageRequest, ProcessState};
use tokio::task::JoinSet;

use crate::{
    operator::{Operator, ended, is, of_battle, run},
    process::{Process, delivered, done, failed},
    server::{Server, soon},
};

async fn processes<const N: usize>(server: &Server, names: [&str; N]) -> [Process; N] {
    let mut started = Vec::new();
    for name in names {
        started.push(Process::start(server, name).await);
    }
    started.try_into().ok().expect("as many as there are names")
}

fn at_a_time(parallel: u32) -> ManageRequest {
    ManageRequest {
        parallel,
        timeout_ms: 600_000,
        ..of_battle(run("ping"))
    }
}

/// Waits until the newest action is listed like that.
async fn listed(operator: &Operator, like: impl Fn(&ActionRecord) -> bool) -> ActionRecord {
    let coming = async {
        loop {
            let actions = operator.actions(1, "").await.expect("it is listed");
            if let Some(action) = actions.into_iter().find(&like) {
                return action;
            }
        }
    };
    soon("an action to be listed as it must be", coming).await
}

#[tokio::test]
async fn all_are_asked_at_once_and_each_ends_for_itself() {
    let server = Server::start().await;
    let [mut good, mut bad, mut hanging, mut dying, gone] =
        processes(&server, ["good", "bad", "hanging", "dying", "gone"]).await;
    gone.close(true).await;
    let operator = Operator::connect(&server).await;
    let request = ManageRequest {
        timeout_ms: 1_000,
        ..at_a_time(0)
    };
    let mut running = operator.manage(request).await.expect("it begins");
    assert_eq!(
        running.expected(),
        ["bad", "dying", "gone", "good", "hanging"]
    );
    let (to_bad, to_hanging) = (bad.command().await, hanging.command().await);
    dying.command().await;
    good.obey(b"\xc3").await;
    bad.answer(&to_bad, failed("no", "")).await;
    hanging.answer(&to_hanging, delivered()).await;
    drop(dying);
    let summary = running.end().await;
    ended(
        &summary,
        ActionOutcome::Failed,
        &[
            ("bad", ProcessState::Error),
            ("dying", ProcessState::Gone),
            ("gone", ProcessState::Gone),
            ("good", ProcessState::Ok),
            ("hanging", ProcessState::Timeout),
        ],
    );
    assert_eq!(
        summary.message,
        "1 of 5 have done it; failed: battle/bad; did not answer in time: battle/hanging; are gone: battle/dying, \
         battle/gone"
    );
}

#[tokio::test]
async fn no_more_are_asked_at_a_time_than_was_said() {
    let server = Server::start().await;
    let [mut a, mut b, mut c] = processes(&server, ["a", "b", "c"]).await;
    let operator = Operator::connect(&server).await;
    let mut running = operator.manage(at_a_time(2)).await.expect("it begins");
    let (to_a, to_b) = (a.command().await, b.command().await);
    // Had the third been asked with these two, its command would have a lower number than that of another action.
    let mut other = operator.manage(at_a_time(1)).await.expect("it begins");
    let other_to_a = a.command().await;
    b.answer(&to_b, done(b"\xc0")).await;
    is(&running.update().await, "b", ProcessState::Ok);
    let to_c = c.command().await;
    assert!(to_c.command_id > other_to_a.command_id);
    c.answer(&to_c, done(b"\xc0")).await;
    a.answer(&to_a, done(b"\xc0")).await;
    let all = ["a", "b", "c"].map(|name| (name, ProcessState::Ok));
    ended(&running.end().await, ActionOutcome::Ok, &all);

    a.answer(&other_to_a, done(b"\xc0")).await;
    b.obey(b"\xc0").await;
    c.obey(b"\xc0").await;
    ended(&other.end().await, ActionOutcome::Ok, &all);
}

#[tokio::test]
async fn none_is_begun_with_after_one_has_failed() {
    let server = Server::start().await;
    let [mut a, mut b, c] = processes(&server, ["a", "b", "c"]).await;
    let operator = Operator::connect(&server).await;
    let request = ManageRequest {
        stop_on_error: true,
        ..at_a_time(1)
    };
    let mut running = operator.manage(request).await.expect("it begins");
    a.obey(b"\xc0").await;
    is(&running.update().await, "a", ProcessState::Ok);
    let command = b.command().await;
    b.answer(&command, failed("no", "")).await;
    is(&running.update().await, "b", ProcessState::Error);
    let message = is(&running.update().await, "c", ProcessState::Skipped);
    assert_eq!(message, "it was not asked: one before it had failed");
    let summary = running.summary().await;
    assert_eq!(summary.outcome(), ActionOutcome::Failed);
    assert_eq!(
        summary.message,
        "1 of 3 have done it; failed: battle/b; were not asked: battle/c"
    );
    drop(c);
}

#[tokio::test]
async fn none_is_begun_with_after_the_caller_has_left_and_the_journal_has_the_end() {
    let server = Server::start().await;
    let [mut a, b] = processes(&server, ["a", "b"]).await;
    let operator = Operator::connect(&server).await;
    let running = operator.manage(at_a_time(1)).await.expect("it begins");
    let command = a.command().await;
    drop(running);
    listed(&operator, |action| {
        action.message.ends_with("its caller has left")
    })
    .await;
    a.answer(&command, done(b"\xc0")).await;
    let action = listed(&operator, |action| action.ended_ms > 0).await;
    assert_eq!(action.outcome(), ActionOutcome::Failed);
    is(&action.processes[0], "a", ProcessState::Ok);
    let message = is(&action.processes[1], "b", ProcessState::Skipped);
    assert_eq!(message, "it was not asked: the caller had left");
    drop(b);
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_up_nobody() {
    let server = Server::start().await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut running = operator.manage(at_a_time(0)).await.expect("it begins");
    let command = process.command().await;
    // More than fits on the way to the caller.
    let text: &'static str = "x".repeat(10_000).leak();
    let words = 200;
    for _ in 0..words {
        process
            .answer(&command, crate::process::progress(text))
            .await;
    }
    process.answer(&command, done(b"\xc0")).await;
    let other = Operator::connect(&server).await;
    listed(&other, |action| action.ended_ms > 0).await;
    assert_eq!(running.end().await.outcome(), ActionOutcome::Ok);
}

#[tokio::test]
async fn hundreds_are_asked_at_once() {
    let server = Server::start().await;
    let mut answering = JoinSet::new();
    for number in 0..300 {
        let mut process = Process::start(&server, &format!("p{number:03}")).await;
        answering.spawn(async move {
            process.obey(b"\xc0").await;
            // It stays until the end.
            process.told().await
        });
    }
    let operator = Operator::connect(&server).await;
    let mut running = operator.manage(at_a_time(0)).await.expect("it begins");
    let summary = running.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{}", summary.message);
    assert_eq!(summary.message, "300 of 300 have done it");
    assert_eq!(summary.processes.len(), 300);
    answering.abort_all();
}
