//! A process is stopped (SIGSTOP) in each phase, and goes on when all is over: it ends on the program that was told.

use rustix::process::Signal;
use stillpoint_client::v1::{ActionOutcome, Phase, ProcessState};

use crate::{
    operator::Told,
    world::{World, has_got},
};

/// Reloads, and stops `b` when it waits at `place`, which is in this phase; lets it go on when it was told how it ended.
fn apply_and_stop(world: &mut World, phase: Phase, place: &str) -> Told {
    world.processes.write_rules(2, "");
    match place {
        "hold" => world.hold("b"),
        _ => world.arm("b", place),
    }
    let told = world.apply_in_vain(|processes, told| {
        if has_got(told, phase, "b") {
            let stopped = processes.get("b");
            if place != "hold" {
                stopped.hear(&format!("at {place}"));
            }
            stopped.send(Signal::STOP);
        }
    });
    let word = told.summary.processes.iter().find(|update| {
        let process = update.process.as_ref();
        process.is_some_and(|process| process.instance == "b")
    });
    let word = word.expect("it was asked");
    assert_eq!(
        (word.phase(), word.state()),
        (phase, ProcessState::Timeout),
        "{told:#?}"
    );
    let stopped = world.processes.get("b");
    stopped.send(Signal::CONT);
    stopped.tell("go");
    told
}

/// What was begun with it is over: the next reload takes all over.
fn goes_over(mut world: World) {
    let status = world.status();
    assert_eq!(status.outcome(), ActionOutcome::Ok, "{status:?}");
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn one_that_is_stopped_before_anything_was_done_leaves_all_where_they_are() {
    let mut world = World::start(3);
    let told = apply_and_stop(&mut world, Phase::Status, "hold");
    world.check(
        &told,
        ActionOutcome::RolledBack,
        &[("a", 1), ("b", 1), ("c", 1)],
    );
    goes_over(world);
}

#[test]
fn one_that_is_stopped_as_it_prepares_leaves_all_where_they_are() {
    let mut world = World::start(4);
    let told = apply_and_stop(&mut world, Phase::Prepare, "stage");
    world.check(
        &told,
        ActionOutcome::RolledBack,
        &[("a", 1), ("b", 1), ("c", 1)],
    );
    goes_over(world);
}

#[test]
fn one_that_is_stopped_as_it_commits_goes_back_as_the_others_did() {
    let mut world = World::start(5);
    let told = apply_and_stop(&mut world, Phase::Commit, "hook");
    // As long as it is stopped, it cannot be known.
    world.check(&told, ActionOutcome::Mixed, &[("a", 1), ("b", 1), ("c", 1)]);
    assert!(
        told.summary
            .message
            .contains("not known what runs in battle/b"),
        "{told:?}"
    );
    goes_over(world);
}
