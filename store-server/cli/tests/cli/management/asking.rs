//! Commands, notices, drains and restarts: what is sent, and what is printed of the answers.

use serde_json::{Value, json};
use stillpoint_proto::v1::{
    ActionOutcome, ManageRequest, ProcessState, manage_request::Action, manage_response::Kind,
};

use super::fake::{ACTION, Fake, Running, Told, begun, ok, summary, word};

/// All have answered.
fn all_answer(_: &ManageRequest) -> Told {
    let (one, two) = (ok("b-1", json!({"kb": 412})), ok("b-10", json!([1, 2])));
    Told::All(vec![
        begun(&["b-1", "b-10"]),
        Kind::Update(word("b-1", ProcessState::Delivered, "")),
        Kind::Update(two.clone()),
        Kind::Update(one.clone()),
        summary(ActionOutcome::Ok, "2 of 2 have done it", &[one, two]),
    ])
}

/// One has failed, one is silent, one was not asked.
fn some_fail(_: &ManageRequest) -> Told {
    let mut failed = word("b-1", ProcessState::Error, "game/shop.lua:14: boom");
    failed.traceback = "stack traceback:\n\tgame/shop.lua:14: in function 'price'".into();
    let silent = "it has the command and does not answer";
    let silent = word("b-2", ProcessState::Timeout, silent);
    let skipped = "it was not asked: one before it had failed";
    let skipped = word("b-3", ProcessState::Skipped, skipped);
    Told::All(vec![
        begun(&["b-1", "b-2", "b-3"]),
        Kind::Update(failed.clone()),
        Kind::Update(silent.clone()),
        Kind::Update(skipped.clone()),
        summary(ActionOutcome::Failed, "0 of 3", &[failed, silent, skipped]),
    ])
}

fn nobody(_: &ManageRequest) -> Told {
    Told::All(vec![
        begun(&[]),
        summary(
            ActionOutcome::Nobody,
            "no process fulfils the selection",
            &[],
        ),
    ])
}

#[test]
fn each_process_has_its_line_as_it_answers_and_the_last_line_counts() {
    let fake = Fake::start(all_answer);
    let args = ["command", "memory", r#"{"full": true}"#, "--service=battle"];
    let ran = fake.run(&args);
    assert_eq!(
        ran.stdout,
        "\
PROCESS      STATE        TIME  ANSWER
battle/b-10  OK            3ms  [1,2]
battle/b-1   OK            3ms  {\"kb\":412}
2 of 2 answered
"
    );
    assert_eq!((ran.code, &*ran.stderr), (0, ""));

    let asked = &fake.asked()[0];
    let selection = asked.selection.clone().unwrap();
    assert_eq!(selection.namespace, "default");
    assert_eq!((&*selection.service, selection.all), ("battle", false));
    assert_eq!(asked.actor, "ann", "the user of the system");
    assert_eq!(
        (asked.timeout_ms, asked.parallel, asked.stop_on_error),
        (0, 0, false)
    );
    let Some(Action::Command(command)) = &asked.action else {
        panic!("{asked:?}");
    };
    assert_eq!(command.name, "memory");
    assert_eq!(&*command.arguments, b"\x81\xa4full\xc3");
}

#[test]
fn every_option_reaches_the_store() {
    let fake = Fake::start(all_answer);
    let args = [
        "command",
        "ping",
        "--namespace=world1",
        "--service=battle",
        "--instance=b-*",
        "--label=zone=eu",
        "--label=build=9",
        "--timeout=1m",
        "--parallel=4",
        "--stop-on-error",
        "--as=the night shift",
    ];
    assert_eq!(fake.run(&args).code, 0);
    let asked = &fake.asked()[0];
    let selection = asked.selection.clone().unwrap();
    assert_eq!(selection.namespace, "world1");
    assert_eq!(selection.instance, "b-*");
    assert_eq!(selection.labels["zone"], "eu");
    assert_eq!(selection.labels["build"], "9");
    assert_eq!(
        (asked.timeout_ms, asked.parallel, asked.stop_on_error),
        (60_000, 4, true)
    );
    assert_eq!(asked.actor, "the night shift");
    let Some(Action::Command(command)) = &asked.action else {
        panic!("{asked:?}");
    };
    assert!(command.arguments.is_empty(), "none were typed");
}

#[test]
fn who_failed_has_its_traceback_and_who_is_silent_is_named() {
    let ran = Fake::start(some_fail).run(&["command", "price", "--all"]);
    assert_eq!(
        ran.stdout,
        "\
PROCESS     STATE        TIME  ANSWER
battle/b-1  ERROR         3ms  game/shop.lua:14: boom
    stack traceback:
    \tgame/shop.lua:14: in function 'price'
battle/b-2  TIMEOUT       3ms  it has the command and does not answer
battle/b-3  SKIPPED       3ms  it was not asked: one before it had failed
"
    );
    assert_eq!(
        ran.stderr,
        "error: 1 ERROR, 1 TIMEOUT, 1 SKIPPED: battle/b-2 has the command and does not answer\n"
    );
    assert_eq!(ran.code, 1);
}

#[test]
fn programs_get_every_word_as_a_line() {
    let ran = Fake::start(all_answer).run(&["command", "memory", "--all", "--json"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let lines: Vec<Value> = (ran.stdout.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["begun", "update", "update", "update", "summary"]);
    assert_eq!(lines[0]["action_id"], ACTION);
    assert_eq!(lines[0]["expected"][1]["process"], "battle/b-10");
    assert_eq!(lines[1]["state"], "delivered");
    assert_eq!(
        lines[3],
        json!({
            "event": "update", "process": "battle/b-1", "service": "battle", "instance": "b-1", "fence": 17,
            "code_version": "1.4.2", "phase": null, "state": "ok", "message": "", "value": {"kb": 412},
            "traceback": "", "elapsed_ms": 3,
        })
    );
    assert_eq!(lines[4]["outcome"], "ok");
    assert_eq!(lines[4]["processes"][0]["process"], "battle/b-1");
}

#[test]
fn programs_get_a_failure_on_stderr_too() {
    let ran = Fake::start(some_fail).run(&["command", "price", "--all", "--json"]);
    assert_eq!(ran.code, 1);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "failed");
    assert!(
        ran.stdout.contains("\"outcome\":\"failed\""),
        "{}",
        ran.stdout
    );
}

#[test]
fn nobody_is_an_exit_code_of_its_own() {
    let fake = Fake::start(nobody);
    let ran = fake.run(&["command", "ping", "--service=battle", "--label=zone=eu"]);
    assert_eq!((ran.code, &*ran.stdout), (4, ""));
    assert_eq!(
        ran.stderr,
        "error: namespace default has no process battle/* zone=eu\nhint: `stillpoint sessions` lists who is there\n"
    );
    assert_eq!(fake.run(&["drain", "--all", "--dry-run"]).code, 4);
    let json = fake.run(&["restart", "--all", "--json"]);
    assert_eq!(json.code, 4);
    assert!(json.stderr.contains("\"nobody\""), "{}", json.stderr);
}

#[test]
fn nothing_is_asked_of_a_selection_that_was_forgotten_or_contradicts_itself() {
    let fake = Fake::start(all_answer);
    for args in [
        &["command", "ping"][..],
        &["command", "ping", "--namespace=world1"],
        &["notify", "hello"],
        &["drain"],
        &["evict", "--yes"],
        &["restart"],
        &["reload", "apply"],
        &["command", "ping", "--all", "--service=battle"],
        &["command", "Ping", "--all"],
        &["command", "ping", "{", "--all"],
        &["command", "ping", "--instance=Battle*"],
        &["command", "ping", "--all", "--parallel=0"],
        &["command", "ping", "--all", "--timeout=3"],
    ] {
        let ran = fake.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
    }
    assert_eq!(fake.asked(), []);
}

#[test]
fn a_dry_run_says_whom_it_would_be() {
    let fake = Fake::start(|_| {
        Told::All(vec![
            begun(&["b-1", "b-2"]),
            summary(ActionOutcome::Ok, "a rehearsal", &[]),
        ])
    });
    let ran = fake.run(&["drain", "--all", "--dry-run"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let lines: Vec<Vec<_>> = (ran.stdout.lines())
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[1], ["battle/b-1", "17", "1.4.2"]);
    assert_eq!(
        ran.stdout.lines().last(),
        Some("it would be 2 processes; nothing was done")
    );
    assert!(fake.asked()[0].dry_run);
}

#[test]
fn notices_drains_and_restarts_are_sent_as_typed() {
    let fake = Fake::start(all_answer);
    let notify = ["notify", "rain", "--all", "--payload", r#"{"mm": 3}"#];
    let told = fake.run(&notify);
    assert!(told.stdout.ends_with("2 of 2 have it\n"), "{}", told.stdout);
    let drained = fake.run(&["drain", "--all"]);
    assert!(drained.stdout.ends_with("2 of 2 left their sessions\n"));
    fake.run(&["restart", "--all"]);
    let restart = [
        "restart",
        "--all",
        "--max-parallel=2",
        "--successor-timeout=1m",
    ];
    assert!(fake.run(&restart).stdout.ends_with("2 of 2 restarted\n"));

    let asked = fake.asked();
    let Some(Action::Notice(notice)) = &asked[0].action else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (&*notice.message, &*notice.payload),
        ("rain", &b"\x81\xa2mm\x03"[..])
    );
    assert!(matches!(asked[1].action, Some(Action::Drain(_))));
    for (asked, parallel, successor_ms) in [(&asked[2], 1, 0), (&asked[3], 2, 60_000)] {
        let Some(Action::Restart(restart)) = &asked.action else {
            panic!("{asked:?}");
        };
        assert_eq!(
            (asked.parallel, restart.successor_ms),
            (parallel, successor_ms)
        );
    }
}

#[test]
fn who_is_cut_off_is_told_where_the_result_is() {
    let fake = Fake::start(|_| Told::All(vec![begun(&["b-1"])]));
    let ran = fake.run(&["command", "ping", "--all"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        format!(
            "error: the store ended the answer before the action had\nhint: `stillpoint audit --action {ACTION}` has the result\n"
        )
    );
}

#[test]
fn who_leaves_is_told_what_goes_on() {
    let fake = Fake::start(|_| {
        Told::SoFar(vec![
            begun(&["b-1", "b-2"]),
            Kind::Update(word("b-1", ProcessState::Ok, "")),
        ])
    });
    let mut command = fake.program();
    let mut running = Running::start(command.args(["command", "ping", "--all"]));
    running.wait_for("battle/b-1");
    let ran = running.interrupt();
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        format!(
            "error: interrupted: what was begun goes on, and no further process is begun with\nhint: `stillpoint audit --action {ACTION}` has the result\n"
        )
    );
}
