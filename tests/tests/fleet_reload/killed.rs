//! A process is killed, in each phase.

use stillpoint_client::v1::{ActionOutcome, Phase};

use crate::world::{World, has_got};

#[test]
fn one_that_is_killed_before_anything_was_done_leaves_all_where_they_are() {
    let mut world = World::start(5);
    world.processes.write_rules(2, "");
    world.hold("b");
    let told = world.apply(|processes, told| {
        if has_got(told, Phase::Status, "b") {
            processes.kill("b");
        }
    });
    world.check(&told, ActionOutcome::RolledBack, &[("a", 1), ("c", 1)]);
    assert!(told.summary.message.contains("battle/b: "), "{told:?}");
}

#[test]
fn one_that_is_killed_as_it_prepares_leaves_all_where_they_are() {
    let mut world = World::start(0);
    world.processes.write_rules(2, "");
    world.arm("b", "stage");
    let told = world.apply(|processes, told| {
        if has_got(told, Phase::Prepare, "b") {
            processes.get("b").hear("at stage");
            processes.kill("b");
        }
    });
    world.check(&told, ActionOutcome::RolledBack, &[("a", 1), ("c", 1)]);
    assert!(told.summary.message.contains("battle/b: "), "{told:?}");

    // Nothing is left of it: with its successor, the fleet goes over. It came with the new program.
    world.processes.start("b");
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn one_that_is_killed_as_it_commits_is_told_and_the_others_go_over() {
    let mut world = World::start(1);
    world.processes.write_rules(2, "");
    world.arm("b", "hook");
    let told = world.apply_in_vain(|processes, told| {
        if has_got(told, Phase::Commit, "b") {
            processes.get("b").hear("at hook");
            processes.kill("b");
        }
    });
    // Its session is kept for a while: for all that is known, it may be back.
    world.check(&told, ActionOutcome::Mixed, &[("a", 2), ("c", 2)]);
    assert!(
        told.summary
            .message
            .contains("not known what runs in battle/b"),
        "{told:?}"
    );

    world.processes.start("b");
    let status = world.status();
    assert_eq!(status.outcome(), ActionOutcome::Ok, "{status:?}");
    world.check_running(&[("a", 2), ("b", 2), ("c", 2)]);
}

#[test]
fn one_that_is_killed_as_it_commits_and_has_a_successor_holds_nobody_up() {
    let mut world = World::start(2);
    world.processes.write_rules(2, "");
    world.arm("b", "hook");
    let told = world.apply(|processes, told| {
        if has_got(told, Phase::Commit, "b") {
            processes.get("b").hear("at hook");
            processes.kill("b");
            processes.start("b");
        }
    });
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
}
