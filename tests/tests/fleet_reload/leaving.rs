//! The operator leaves in the midst of a reload, or the server is killed.

use stillpoint_client::v1::{ActionOutcome, Phase, ProcessState};

use crate::world::{World, applying, has_got, is_word};

/// Begins a reload, and leaves when `b` waits at `place`, which is in this phase. `b` goes on once the server knows that
/// nobody listens. Gives how it ended.
fn apply_and_leave(world: &mut World, phase: Phase, place: &str) -> (ActionOutcome, String) {
    world.processes.write_rules(2, "");
    world.arm("b", place);
    let mut admin = world.server().admin();
    let mut told = admin.manage(applying(60_000)).expect("it begins");
    let got = told.find(|told| has_got(told.as_ref().expect("it goes on"), phase, "b"));
    assert!(got.is_some(), "it has ended");
    drop(told);
    let left = |world: &World| {
        let record = world.newest("reload apply");
        assert_eq!(record.ended_ms, 0, "{record:?}");
        record.message.ends_with("its caller has left")
    };
    while !left(world) {}
    let b = world.processes.get("b");
    b.hear(&format!("at {place}"));
    b.tell("go");
    loop {
        let record = world.newest("reload apply");
        if record.ended_ms > 0 {
            return (record.outcome(), record.message);
        }
    }
}

#[test]
fn an_operator_that_leaves_as_they_prepare_leaves_all_where_they_are() {
    let mut world = World::start(1);
    let (outcome, message) = apply_and_leave(&mut world, Phase::Prepare, "stage");
    assert_eq!(outcome, ActionOutcome::RolledBack, "{message}");
    assert!(
        message.contains("the caller left before the commit"),
        "{message}"
    );
    world.check_running(&[("a", 1), ("b", 1), ("c", 1)]);
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn an_operator_that_leaves_as_they_commit_does_not_stop_them() {
    let mut world = World::start(3);
    let (outcome, message) = apply_and_leave(&mut world, Phase::Commit, "hook");
    assert_eq!(outcome, ActionOutcome::Ok, "{message}");
    world.check_running(&[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn after_a_server_that_was_killed_as_they_committed_it_is_told_who_runs_what_and_the_next_reload_mends_it()
 {
    let mut world = World::start(5);
    world.processes.write_rules(2, "");
    world.arm("b", "hook");
    world.arm("c", "hook");
    let mut admin = world.server().admin();
    let mut told = admin.manage(applying(60_000)).expect("it begins");
    // `a` has committed, the others are at it.
    let gone_over = told.find(|told| {
        let told = told.as_ref().expect("it goes on");
        is_word(told, Phase::Commit, "a", ProcessState::Ok)
    });
    assert!(gone_over.is_some(), "it has ended");
    for name in ["b", "c"] {
        world.processes.get(name).hear("at hook");
    }
    world.kill_server();
    assert!(
        told.any(|told| told.is_err()),
        "it ended well without a server"
    );
    drop(told);
    world.processes.get("b").tell("go");
    world.processes.get("c").tell("fail");

    world.restart_server();
    world.check_running(&[("a", 2), ("b", 2), ("c", 1)]);
    let record = world.newest("reload apply");
    assert_eq!(
        (record.outcome(), record.ended_ms),
        (ActionOutcome::Unknown, 0)
    );
    let status = world.status();
    assert_eq!(status.outcome(), ActionOutcome::Mixed, "{status:?}");
    for part in [
        "in battle/a, battle/b",
        "in battle/c",
        "(they differ in rules)",
    ] {
        assert!(status.message.contains(part), "{status:?}");
    }

    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn after_a_server_that_was_killed_as_they_prepared_the_next_reload_is_not_held_up() {
    let mut world = World::start(6);
    world.processes.write_rules(2, "");
    world.arm("b", "stage");
    let mut admin = world.server().admin();
    let mut told = admin.manage(applying(60_000)).expect("it begins");
    let prepared = told.find(|told| {
        let told = told.as_ref().expect("it goes on");
        is_word(told, Phase::Prepare, "a", ProcessState::Ok)
    });
    assert!(prepared.is_some(), "it has ended");
    let b = world.processes.get("b");
    b.hear("at stage");
    world.kill_server();
    drop(told);
    world.processes.get("b").tell("go");

    world.restart_server();
    world.check_running(&[("a", 1), ("b", 1), ("c", 1)]);
    // What they had prepared would have been held for two minutes more.
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}
