//! The fleet reload: what each step prints, and its exit codes.

use serde_json::json;
use stillpoint_proto::v1::{
    ActionOutcome, ManageRequest, Phase, ProcessState, manage_request::Action,
    manage_response::Kind, reload_fleet::Step,
};

use super::fake::{ACTION, Fake, Running, Told, begun, in_phase, ok, phase, summary, word};

fn steps(fake: &Fake) -> Vec<Step> {
    let step = |request: &ManageRequest| match &request.action {
        Some(Action::Reload(reload)) => reload.step(),
        _ => panic!("{request:?}"),
    };
    fake.asked().iter().map(step).collect()
}

#[test]
fn a_plan_is_told_once_for_all_that_say_the_same() {
    let fake = Fake::start(|_| {
        let plan = json!({"from": 4, "changed": ["game.shop"], "outcome": "planned"});
        let nothing = json!({"from": 4, "changed": {}, "outcome": "nothing"});
        Told::All(vec![
            begun(&["b-1", "b-2", "b-3", "b-4"]),
            phase(Phase::Plan, 4, ""),
            Kind::Update(ok("b-2", plan.clone())),
            Kind::Update(word("b-4", ProcessState::Gone, "is not there")),
            Kind::Update(ok("b-3", nothing)),
            Kind::Update(ok("b-1", plan)),
            Kind::Update(word("b-4", ProcessState::Gone, "is not there")),
            summary(ActionOutcome::Failed, "2 of 3 processes would change", &[]),
        ])
    });
    let ran = fake.run(&["reload", "plan", "--service=battle"]);
    assert_eq!(
        ran.stdout,
        "\
battle/b-4  GONE          3ms  is not there
2 processes: battle/b-1, battle/b-2, at generation 4
  changed: game.shop
battle/b-3, at generation 4
  nothing to reload
"
    );
    assert_eq!(ran.stderr, "error: 2 of 3 processes would change\n");
    assert_eq!(ran.code, 1);
    assert_eq!(steps(&fake), [Step::Plan]);
}

#[test]
fn a_reload_that_goes_back_says_why_and_fails() {
    let fake = Fake::start(|_| {
        let failed = word("b-2", ProcessState::Error, "game/shop.lua:14: boom");
        Told::All(vec![
            begun(&["b-1", "b-2"]),
            phase(Phase::Prepare, 2, ""),
            in_phase(Phase::Prepare, ok("b-1", json!({"changed": ["game.shop"]}))),
            in_phase(Phase::Prepare, failed),
            phase(Phase::Abort, 1, "battle/b-2: game/shop.lua:14: boom"),
            in_phase(Phase::Abort, ok("b-1", json!({}))),
            summary(
                ActionOutcome::RolledBack,
                "no process was changed: boom",
                &[],
            ),
        ])
    });
    let ran = fake.run(&["reload", "apply", "--service=battle"]);
    assert_eq!(
        ran.stdout,
        "\
prepare   battle/b-2  ERROR         3ms  game/shop.lua:14: boom
prepare   1 OK, 1 ERROR  3ms  changed: game.shop
abort     1 OK  3ms  battle/b-2: game/shop.lua:14: boom
"
    );
    assert_eq!(ran.stderr, "error: no process was changed: boom\n");
    assert_eq!(ran.code, 1);
    assert_eq!(steps(&fake), [Step::Apply]);
}

#[test]
fn a_fleet_in_two_programs_has_an_exit_code_of_its_own() {
    let fake = Fake::start(|_| {
        let one = ok(
            "b-1",
            json!({"generation": 4, "program": "8f3a01bc", "stale": 0}),
        );
        let two = ok("b-2", json!({"generation": 3, "program": "77aa0000"}));
        Told::All(vec![
            begun(&["b-1", "b-2"]),
            phase(Phase::Status, 2, ""),
            Kind::Update(two),
            Kind::Update(one),
            summary(ActionOutcome::Mixed, "battle runs different programs", &[]),
        ])
    });
    let ran = fake.run(&["reload", "status", "--service=battle"]);
    assert_eq!(ran.code, 3);
    let rows: Vec<Vec<_>> = (ran.stdout.lines())
        .map(|line| line.split_whitespace().take(6).collect())
        .collect();
    assert_eq!(rows[1], ["battle/b-1", "OK", "4", "8f3a01bc", "–", "0"]);
    assert_eq!(rows[2], ["battle/b-2", "OK", "3", "77aa0000", "–", "–"]);
    assert!(
        ran.stderr
            .starts_with("error: battle runs different programs\nhint: "),
        "{}",
        ran.stderr
    );
    let json = fake.run(&["reload", "rollback", "--service=battle", "--json"]);
    assert_eq!(json.code, 3);
    assert!(
        json.stdout.contains("\"phase\":\"status\""),
        "{}",
        json.stdout
    );
    assert!(json.stderr.contains("\"mixed\""), "{}", json.stderr);
    assert_eq!(steps(&fake), [Step::Status, Step::Rollback]);
}

/// What is told to one who leaves in the last of these phases.
fn left_in(told: fn(&ManageRequest) -> Told, last: &str) -> String {
    let fake = Fake::start(told);
    let mut command = fake.program();
    let apply = ["reload", "apply", "--all", "--json"];
    let mut running = Running::start(command.args(apply));
    running.wait_for(&format!("\"phase\":\"{last}\""));
    let ran = running.interrupt();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(ACTION), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn who_leaves_a_reload_is_told_whether_it_goes_back() {
    let preparing = left_in(
        |_| {
            Told::SoFar(vec![
                begun(&["b-1"]),
                phase(Phase::Status, 1, ""),
                phase(Phase::Prepare, 1, ""),
            ])
        },
        "prepare",
    );
    assert!(preparing.contains("every process goes back"), "{preparing}");
    let committing = left_in(
        |_| {
            Told::SoFar(vec![
                begun(&["b-1"]),
                phase(Phase::Prepare, 1, ""),
                phase(Phase::Commit, 1, ""),
            ])
        },
        "commit",
    );
    assert!(committing.contains("goes on to its end"), "{committing}");
}
