//! A process starts while the others reload. It has the new files.

use stillpoint_client::v1::{ActionOutcome, Phase};

use crate::{
    operator::Told,
    world::{World, has_got},
};

/// Reloads; while `b` waits at `place`, which is in this phase, `d` starts. Then `b` goes on, or fails.
fn apply_with_one_more(world: &mut World, phase: Phase, place: &str, word: &str) -> Told {
    world.processes.write_rules(2, "");
    world.arm("b", place);
    world.apply(|processes, told| {
        if has_got(told, phase, "b") {
            processes.get("b").hear(&format!("at {place}"));
            processes.start("d");
            processes.get("b").tell(word);
        }
    })
}

#[test]
fn one_that_starts_as_the_others_prepare_is_one_of_them_afterwards() {
    let mut world = World::start(0);
    let told = apply_with_one_more(&mut world, Phase::Prepare, "stage", "go");
    let running = [("a", 2), ("b", 2), ("c", 2), ("d", 2)];
    world.check(&told, ActionOutcome::Ok, &running);
    assert!(told.summary.message.starts_with("4 processes"), "{told:?}");
}

#[test]
fn one_that_starts_as_the_others_commit_is_one_of_them_afterwards() {
    let mut world = World::start(2);
    let told = apply_with_one_more(&mut world, Phase::Commit, "hook", "go");
    let running = [("a", 2), ("b", 2), ("c", 2), ("d", 2)];
    world.check(&told, ActionOutcome::Ok, &running);
    assert!(told.summary.message.starts_with("4 processes"), "{told:?}");
}

#[test]
fn one_that_started_as_the_others_could_not_prepare_is_told_to_differ() {
    let mut world = World::start(4);
    let told = apply_with_one_more(&mut world, Phase::Prepare, "stage", "fail");
    let running = [("a", 1), ("b", 1), ("c", 1), ("d", 2)];
    world.check(&told, ActionOutcome::Mixed, &running);
    for part in ["battle/b: run: ", "in battle/d", "(they differ in rules)"] {
        assert!(told.summary.message.contains(part), "{told:?}");
    }

    // The others come to it, as soon as they can.
    let told = world.apply(|_, _| {});
    let running = [("a", 2), ("b", 2), ("c", 2), ("d", 2)];
    world.check(&told, ActionOutcome::Ok, &running);
}
