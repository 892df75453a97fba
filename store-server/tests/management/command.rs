//! One process is asked to run a command, or told something.

use stillpoint_proto::v1::{
    ActionOutcome, ManageRequest, ProcessState, RunCommand, SendNotice,
    attach_response::Kind as Told, manage_request::Action,
};

use crate::{
    operator::{Operator, Running, ended, is, of_battle, run},
    process::{Process, delivered, done, failed, progress, wish},
    server::Server,
};

/// Long enough that no test waits for it.
const LONG_MS: u64 = 600_000;

fn within(timeout_ms: u64, action: Action) -> ManageRequest {
    ManageRequest {
        timeout_ms,
        ..of_battle(action)
    }
}

async fn one() -> (Server, Process, Operator) {
    let server = Server::start().await;
    let process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    (server, process, operator)
}

async fn ask(operator: &Operator, timeout_ms: u64) -> Running {
    let request = within(timeout_ms, run("ping"));
    operator.manage(request).await.expect("it begins")
}

/// The only word, which is the last one.
async fn only_word(running: &mut Running, state: ProcessState) -> String {
    let message = is(&running.update().await, "a", state);
    ended(
        &running.summary().await,
        ActionOutcome::Failed,
        &[("a", state)],
    );
    message
}

#[tokio::test]
async fn a_command_goes_to_its_process_and_every_word_of_it_comes_back() {
    let (_server, mut process, operator) = one().await;
    let action = Action::Command(RunCommand {
        name: "shop.prices".into(),
        arguments: vec![0x07].into(),
    });
    let request = within(5_000, action);
    let mut running = operator.manage(request).await.expect("it begins");
    assert_eq!(running.expected(), ["a"]);
    let expected = &running.begun.expected[0];
    assert_eq!(expected.fence, process.session.fence);
    assert_eq!(expected.code_version, "v1");

    let command = process.command().await;
    assert_eq!(command.name, "shop.prices");
    assert_eq!(&command.arguments[..], [0x07]);
    assert_eq!((command.timeout_ms, &*command.actor), (5_000, "ann"));

    process.answer(&command, delivered()).await;
    is(&running.update().await, "a", ProcessState::Delivered);
    for text in ["a third", "two thirds"] {
        process.answer(&command, progress(text)).await;
        let said = is(&running.update().await, "a", ProcessState::Progress);
        assert_eq!(said, text);
    }
    process.answer(&command, done(b"\x2a")).await;
    let update = running.update().await;
    is(&update, "a", ProcessState::Ok);
    assert_eq!(&update.value[..], [0x2a]);
    let summary = running.summary().await;
    ended(&summary, ActionOutcome::Ok, &[("a", ProcessState::Ok)]);
    assert_eq!(summary.message, "1 of 1 have done it");
}

#[tokio::test]
async fn a_command_that_fails_says_why_and_where() {
    let (_server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    let command = process.command().await;
    process
        .answer(&command, failed("no such shop", "shop.lua:7"))
        .await;
    let update = running.update().await;
    assert_eq!(is(&update, "a", ProcessState::Error), "no such shop");
    assert_eq!(update.traceback, "shop.lua:7");
    let summary = running.summary().await;
    ended(
        &summary,
        ActionOutcome::Failed,
        &[("a", ProcessState::Error)],
    );
    assert_eq!(summary.message, "0 of 1 have done it; failed: battle/a");
}

#[tokio::test]
async fn a_process_that_is_not_heard_in_time_is_told_by_what_is_known_of_it() {
    let (_server, mut process, operator) = one().await;
    let mut silent = ask(&operator, 100).await;
    let message = only_word(&mut silent, ProcessState::Timeout).await;
    assert!(message.contains("nothing was heard"), "{message}");
    process.command().await;

    let mut hanging = ask(&operator, 300).await;
    let command = process.command().await;
    process.answer(&command, delivered()).await;
    is(&hanging.update().await, "a", ProcessState::Delivered);
    let message = only_word(&mut hanging, ProcessState::Timeout).await;
    assert!(message.contains("does not poll"), "{message}");

    let mut slow = ask(&operator, 300).await;
    let command = process.command().await;
    process.answer(&command, progress("half")).await;
    is(&slow.update().await, "a", ProcessState::Progress);
    let message = only_word(&mut slow, ProcessState::Timeout).await;
    assert!(message.ends_with("it said last: half"), "{message}");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_or_to_nothing_is_ignored() {
    let (_server, mut process, operator) = one().await;
    let mut first = ask(&operator, 100).await;
    let late = process.command().await;
    only_word(&mut first, ProcessState::Timeout).await;

    let mut second = ask(&operator, LONG_MS).await;
    let command = process.command().await;
    assert!(command.command_id > late.command_id);
    process.answer(&late, done(b"\x01")).await;
    let mut unknown = command.clone();
    unknown.command_id += 1_000_000;
    process.answer(&unknown, done(b"\x02")).await;
    process.answer(&command, done(b"\x03")).await;
    let update = second.update().await;
    is(&update, "a", ProcessState::Ok);
    assert_eq!(&update.value[..], [0x03]);
}

#[tokio::test]
async fn an_answer_that_is_no_value_is_an_error() {
    let (_server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    process.obey(b"\x92\x01").await;
    let message = only_word(&mut running, ProcessState::Error).await;
    assert!(message.contains("its answer is no value"), "{message}");
}

#[tokio::test]
async fn a_process_that_dies_is_gone_at_once() {
    let (_server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    process.command().await;
    drop(process);
    let message = only_word(&mut running, ProcessState::Gone).await;
    assert_eq!(message, "it is not there: its connection was lost");
}

#[tokio::test]
async fn a_process_that_connects_again_has_lost_its_commands() {
    let (_server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    let command = process.command().await;
    process.reattach().await;
    let message = only_word(&mut running, ProcessState::Gone).await;
    assert!(message.contains("is back"), "{message}");

    let mut running = ask(&operator, LONG_MS).await;
    let next = process.command().await;
    process.answer(&command, done(b"\x01")).await;
    process.answer(&next, done(b"\x02")).await;
    assert_eq!(&running.update().await.value[..], [0x02]);
}

#[tokio::test]
async fn a_process_whose_session_is_taken_over_is_gone_at_once_and_its_successor_is_named() {
    let (server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    process.command().await;
    let mut wish = wish("battle", "a");
    wish.takeover = true;
    wish.client_name = "the successor".into();
    let successor = Process::start_as(&server, wish).await;
    let message = only_word(&mut running, ProcessState::Gone).await;
    let expected = format!(
        "its session was taken over by battle/a (the successor), with fence {}",
        successor.session.fence
    );
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_process_that_closes_its_session_or_leaves_it_is_gone_at_once() {
    for (keep_claims, known) in [
        (false, "its session is over"),
        (true, "it left its session"),
    ] {
        let (_server, mut process, operator) = one().await;
        let mut running = ask(&operator, LONG_MS).await;
        process.command().await;
        process.close(keep_claims).await;
        let message = only_word(&mut running, ProcessState::Gone).await;
        assert!(message.contains(known), "{message}");
    }
}

#[tokio::test]
async fn a_process_that_is_not_there_is_gone_without_being_asked() {
    let (_server, mut process, operator) = one().await;
    process.close(true).await;
    while process.told().await.is_some() {}
    let mut running = ask(&operator, LONG_MS).await;
    assert_eq!(running.expected(), ["a"]);
    let message = only_word(&mut running, ProcessState::Gone).await;
    assert!(
        message.contains("left its session to a successor"),
        "{message}"
    );
}

#[tokio::test]
async fn commands_to_one_process_come_in_the_order_in_which_they_were_sent() {
    let (_server, mut process, operator) = one().await;
    let names: Vec<_> = (0..20).map(|n| format!("number-{n}")).collect();
    let mut all = Vec::new();
    for name in &names {
        let request = within(LONG_MS, run(name));
        all.push(operator.manage(request).await.expect("it begins"));
    }
    // Each is sent by a task of its own, so the order is not that of the requests; numbers are given when it is sent.
    let mut before = 0;
    for _ in &names {
        let number = process.obey(b"\xc0").await.command_id;
        assert!(before < number, "{before} {number}");
        before = number;
    }
    for mut running in all {
        ended(
            &running.end().await,
            ActionOutcome::Ok,
            &[("a", ProcessState::Ok)],
        );
    }
}

#[tokio::test]
async fn a_process_has_room_for_so_many_open_commands_and_for_more_once_they_are_done() {
    let server = Server::start_with(|config| config.limits.commands = 2).await;
    let mut process = Process::start(&server, "a").await;
    let operator = Operator::connect(&server).await;
    let mut first = ask(&operator, LONG_MS).await;
    let mut second = ask(&operator, LONG_MS).await;
    let commands = [process.command().await, process.command().await];
    let mut third = ask(&operator, LONG_MS).await;
    let message = only_word(&mut third, ProcessState::Error).await;
    assert!(message.contains("limits.commands"), "{message}");
    for command in &commands {
        process.answer(command, done(b"\xc0")).await;
    }
    for running in [&mut first, &mut second] {
        is(&running.update().await, "a", ProcessState::Ok);
    }
    let mut fourth = ask(&operator, LONG_MS).await;
    process.obey(b"\xc0").await;
    is(&fourth.update().await, "a", ProcessState::Ok);
}

#[tokio::test]
async fn numbers_of_commands_are_never_given_again_and_any_lua_can_hold_them() {
    let (mut server, mut process, operator) = one().await;
    let mut running = ask(&operator, LONG_MS).await;
    let before = process.obey(b"\xc0").await.command_id;
    is(&running.update().await, "a", ProcessState::Ok);
    drop((process, operator));
    server.restart().await;
    let mut wish = wish("battle", "a");
    wish.takeover = true;
    let mut process = Process::start_as(&server, wish).await;
    let operator = Operator::connect(&server).await;
    let mut running = ask(&operator, LONG_MS).await;
    let after = process.obey(b"\xc0").await.command_id;
    is(&running.update().await, "a", ProcessState::Ok);
    assert!(before < after && after < 1 << 53, "{before} {after}");
}

#[tokio::test]
async fn who_does_not_say_his_name_is_known_by_what_the_system_says_of_him() {
    let (_server, mut process, operator) = one().await;
    let mut request = within(LONG_MS, run("ping"));
    request.actor.clear();
    let mut running = operator.manage(request).await.expect("it begins");
    let command = process.obey(b"\xc0").await;
    let pid = format!("pid {}", std::process::id());
    assert!(command.actor.starts_with("uid "), "{}", command.actor);
    assert!(command.actor.ends_with(&pid), "{}", command.actor);
    running.end().await;
}

#[tokio::test]
async fn a_notice_is_done_when_it_was_handed_over() {
    let (_server, mut process, operator) = one().await;
    let action = Action::Notice(SendNotice {
        message: "the server moves at noon".into(),
        payload: vec![0x0c].into(),
    });
    let request = within(LONG_MS, action.clone());
    let mut running = operator.manage(request).await.expect("it begins");
    is(&running.update().await, "a", ProcessState::Ok);
    let summary = running.summary().await;
    ended(&summary, ActionOutcome::Ok, &[("a", ProcessState::Ok)]);
    let notice = process.notice().await;
    assert_eq!(notice.message, "the server moves at noon");
    assert_eq!((&notice.payload[..], &*notice.actor), (&[0x0c][..], "ann"));

    process.close(true).await;
    while let Some(told) = process.told().await {
        assert!(matches!(told, Told::Fenced(_)), "{told:?}");
    }
    let request = within(LONG_MS, action);
    let mut running = operator.manage(request).await.expect("it begins");
    only_word(&mut running, ProcessState::Gone).await;
}
