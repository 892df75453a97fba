//! What is written down of actions.

use stillpoint_proto::v1::{ActionOutcome, ProcessState, Reason};

use crate::{
    operator::{Operator, is, of_battle, run},
    process::{Process, failed, wish},
    server::Server,
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
async fn the_journal_survives_the_server_and_says_which_action_did_not() {
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
    server.restart().await;
    let operator = Operator::connect(&server).await;
    assert_eq!(operator.actions(0, "").await.expect("listed"), before);
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
    let _ = wish;
}
