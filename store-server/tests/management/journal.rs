//! What is written down of actions.

use stillpoint_proto::v1::{
    ActionOutcome, ActionRecord, DrainProcesses, ManageRequest, ProcessState, Reason,
    RestartProcesses, Selection, manage_request::Action,
};
use stillpoint_store_server::store::{Store, server_time_ms};

use crate::{
    operator::{Operator, is, of_battle, run},
    process::{NAMESPACE, Process, delivered, failed, wish},
    server::{Server, settings, soon},
};

#[tokio::test]
async fn an_action_is_written_down_before_it_is_sent_and_again_at_its_end() {
    let server = Server::start().await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut running = operator
        .manage(of_battle(run("info")))
        .await
        .expect("it begins");
    process.command().await;
    let actions = operator.actions(0, "").await.expect("listed");
    let [action] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(action.action_id, running.begun.action_id);
    assert_eq!((&*action.actor, &*action.action), ("ann", "command info"));
    let pid = format!("pid {}", std::process::id());
    assert!(
        action.peer.starts_with("uid ") && action.peer.ends_with(&pid),
        "{}",
        action.peer
    );
    let selection = action.selection.as_ref().expect("it names its processes");
    assert_eq!(selection.service, "battle");
    assert_eq!(
        (action.ended_ms, action.outcome()),
        (0, ActionOutcome::Unknown)
    );
    assert_eq!(action.message, "it is under way");
    is(&action.processes[0], "a", ProcessState::Expected);
    drop(process);
    let message = is(&running.update().await, "a", ProcessState::Gone);
    let summary = running.summary().await;

    let actions = operator.actions(0, "").await.expect("listed");
    assert_eq!(actions.len(), 1);
    assert!(actions[0].ended_ms >= actions[0].begun_ms);
    assert_eq!(actions[0].outcome(), ActionOutcome::Failed);
    assert_eq!(actions[0].message, summary.message);
    assert_eq!(
        is(&actions[0].processes[0], "a", ProcessState::Gone),
        message
    );
}

#[tokio::test]
async fn values_of_answers_are_not_written_down_and_long_texts_are_cut() {
    let server = Server::start().await;
    let mut good = Process::start(&server, "good").await;
    let mut bad = Process::start(&server, "bad").await;
    let operator = Operator::connect(&server).await;
    let mut running = operator
        .manage(of_battle(run("info")))
        .await
        .expect("it begins");
    good.obey(b"\xa6secret").await;
    let command = bad.command().await;
    bad.answer(&command, failed(&"m".repeat(10_000), &"t".repeat(10_000)))
        .await;
    running.end().await;
    let actions = operator.actions(0, "").await.expect("listed");
    let [bad, good] = &actions[0].processes[..] else {
        panic!("{actions:?}");
    };
    is(good, "good", ProcessState::Ok);
    assert!(good.value.is_empty());
    assert_eq!(
        is(bad, "bad", ProcessState::Error).len(),
        512 + " ...".len()
    );
    assert_eq!(bad.traceback.len(), 1024 + " ...".len());
}

#[tokio::test]
async fn actions_are_listed_newest_first_and_page_by_page() {
    let server = Server::start().await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    for number in 0..5 {
        let request = of_battle(run(&format!("number-{number}")));
        let mut running = operator.manage(request).await.expect("it begins");
        process.obey(b"\xc0").await;
        running.end().await;
    }
    let mut listed = Vec::new();
    let mut before = String::new();
    loop {
        let page = operator.actions(2, &before).await.expect("listed");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        before.clone_from(&last.action_id);
        listed.extend(page.into_iter().map(|action| action.action));
    }
    let expected: Vec<_> = (0..5)
        .rev()
        .map(|n| format!("command number-{n}"))
        .collect();
    assert_eq!(listed, expected);
    let error = operator
        .actions(2, "yesterday")
        .await
        .expect_err("no number");
    assert_eq!(error.reason(), Reason::Invalid, "{error}");
}

#[tokio::test]
async fn the_journal_survives_the_server_and_says_which_action_did_not_end() {
    let mut server = Server::start().await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut running = operator
        .manage(of_battle(run("first")))
        .await
        .expect("it begins");
    process.obey(b"\xc0").await;
    running.end().await;
    let before = operator.actions(0, "").await.expect("listed");
    drop((process, operator));
    let unended = ActionRecord {
        action_id: uuid::Uuid::now_v7().to_string(),
        ended_ms: 0,
        outcome: ActionOutcome::Unknown.into(),
        ..before[0].clone()
    };
    // As a server leaves it that is killed.
    server
        .restart_with(|config| {
            let store = Store::open(config.clone()).expect("nobody has it open");
            write(&store, &unended, u64::MAX / 2);
            store.close();
        })
        .await;
    let operator = Operator::connect(&server).await;
    let actions = operator.actions(0, "").await.expect("listed");
    assert_eq!(actions.len(), 2);
    assert_eq!(actions[0].action_id, unended.action_id);
    assert_eq!(actions[0].outcome(), ActionOutcome::Unknown);
    assert_eq!(actions[0].message, "the server stopped before it ended");
    assert_eq!(actions[1], before[0]);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_begun() {
    let mut server = Server::start().await;
    let process = Process::start(&server, "a").await;
    drop(process);
    server
        .restart_with(|config| config.log.disk_reserve_bytes = u64::MAX)
        .await;
    let operator = Operator::connect(&server).await;
    let error = operator
        .manage(of_battle(run("ping")))
        .await
        .expect_err("refused");
    assert_eq!(error.reason(), Reason::ReadOnly, "{error}");
    assert!(error.message.contains("was not begun"), "{error}");
    let mut rehearsal = of_battle(run("ping"));
    rehearsal.dry_run = true;
    let running = operator.manage(rehearsal).await.expect("it is only told");
    assert_eq!(running.expected(), ["a"]);
}

#[tokio::test]
async fn an_action_that_the_stop_of_the_server_ends_says_so() {
    let mut server = Server::start().await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut running = operator
        .manage(of_battle(run("long")))
        .await
        .expect("it begins");
    let command = process.command().await;
    process.answer(&command, delivered()).await;
    is(&running.update().await, "a", ProcessState::Delivered);
    let restarted = server.restart();
    let summary = async {
        let message = is(&running.update().await, "a", ProcessState::Gone);
        assert_eq!(message, "the server stopped before it had answered");
        running.summary().await
    };
    let ((), summary) = tokio::join!(restarted, summary);
    let operator = Operator::connect(&server).await;
    let actions = operator.actions(0, "").await.expect("listed");
    assert_eq!(actions[0].outcome(), ActionOutcome::Failed);
    assert_eq!(actions[0].message, summary.message);
}

#[tokio::test]
async fn an_action_is_forgotten_when_its_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(settings(directory.path())).expect("it is new");
    let action = ActionRecord {
        action_id: uuid::Uuid::now_v7().to_string(),
        ..ActionRecord::default()
    };
    write(&store, &action, server_time_ms() + 60_000);
    let listed = || store.actions(NAMESPACE, "", 10).expect("it is listed");
    assert_eq!(listed(), std::slice::from_ref(&action));
    write(&store, &action, server_time_ms());
    let forgotten = async {
        while !listed().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the action to be forgotten", forgotten).await;
    store.close();
}

#[tokio::test]
async fn so_many_actions_are_under_way_and_no_more() {
    let server = Server::start_with(|config| config.limits.commands = 100).await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(
            operator
                .manage(of_battle(run("long")))
                .await
                .expect("it begins"),
        );
    }
    let error = operator
        .manage(of_battle(run("long")))
        .await
        .expect_err("too many");
    assert_eq!(error.reason(), Reason::RateLimited, "{error}");
    for _ in 0..64 {
        process.obey(b"\xc0").await;
    }
    for running in &mut all {
        assert_eq!(running.end().await.outcome(), ActionOutcome::Ok);
    }
    let mut running = operator
        .manage(of_battle(run("long")))
        .await
        .expect("there is room");
    process.obey(b"\xc0").await;
    running.end().await;
}

#[tokio::test]
async fn what_moves_whole_fleets_runs_one_at_a_time_for_a_service() {
    let server = Server::start().await;
    let mut battle = Process::start(&server, "a").await;
    let mut chat = Process::start_as(&server, wish("chat", "c")).await;
    let operator = Operator::connect(&server).await;
    let restart = |selection: Selection| ManageRequest {
        selection: Some(selection),
        timeout_ms: 600_000,
        ..of_battle(Action::Restart(RestartProcesses::default()))
    };
    let service = |name: &str| Selection {
        namespace: NAMESPACE.into(),
        service: name.into(),
        ..Selection::default()
    };
    let first = operator
        .manage(restart(service("battle")))
        .await
        .expect("it begins");
    battle.command().await;
    for overlapping in [
        service("battle"),
        Selection {
            all: true,
            ..service("")
        },
    ] {
        let error = operator
            .manage(restart(overlapping))
            .await
            .expect_err("in the way");
        assert_eq!(error.reason(), Reason::RateLimited, "{error}");
        assert!(
            error.message.contains("`restart` of ann is under way"),
            "{error}"
        );
    }
    let second = operator
        .manage(restart(service("chat")))
        .await
        .expect("it begins");
    chat.command().await;
    let drain = of_battle(Action::Drain(DrainProcesses {}));
    let third = operator.manage(drain).await.expect("it begins");
    battle.command().await;
    drop((first, second, third));
}

/// Writes an action down; it is durable then.
fn write(store: &Store, action: &ActionRecord, expires_at_ms: u64) {
    let (sender, receiver) = std::sync::mpsc::channel();
    store.write_action(NAMESPACE, action, expires_at_ms, move |result| {
        sender.send(result).expect("it is waited for");
    });
    receiver
        .recv()
        .expect("it is answered")
        .expect("it is written");
}
