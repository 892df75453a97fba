//! All go over to the new program, or none does.

use std::fs;

use stillpoint_client::v1::{ActionOutcome, Phase, ProcessState, manage_response::Kind};

use crate::{operator::command, process::rules, world::World};

#[test]
fn a_fleet_of_several_luas_goes_over_whole() {
    let mut world = World::start(0);
    world.processes.write_rules(2, "");
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 2), ("b", 2), ("c", 2)]);
    assert!(
        told.summary
            .message
            .starts_with("3 processes of battle run program "),
        "{told:?}"
    );
}

#[test]
fn a_syntax_error_keeps_all_where_they_are_and_is_told_once_for_all() {
    let mut world = World::start(3);
    world
        .processes
        .write("rules.lua", "local M = {}\nreturn = M\n");
    let told = world.apply(|_, _| {});
    world.check(
        &told,
        ActionOutcome::RolledBack,
        &[("a", 1), ("b", 1), ("c", 1)],
    );
    for (_, update) in told.all(ProcessState::Error) {
        assert_eq!(update.phase(), Phase::Prepare, "{update:?}");
        assert!(update.message.starts_with("compile: "), "{update:?}");
        assert!(update.message.contains("rules.lua#2:2: "), "{update:?}");
    }
    let names = "nothing was changed: battle/a, battle/b, battle/c: compile: ";
    assert!(told.summary.message.starts_with(names), "{told:?}");
    assert_eq!(
        told.summary.message.matches("rules.lua").count(),
        1,
        "{told:?}"
    );
}

#[test]
fn a_hook_that_fails_in_one_process_takes_all_back() {
    let mut world = World::start(1);
    let hook = "if process == 'b' then error('no room in ' .. process) end";
    world.processes.write_rules(2, hook);
    let told = world.apply(|_, _| {});
    world.check(
        &told,
        ActionOutcome::RolledBack,
        &[("a", 1), ("b", 1), ("c", 1)],
    );
    let why = "taken back: battle/b: hook: ";
    assert!(told.summary.message.starts_with(why), "{told:?}");
    assert!(told.summary.message.contains("no room in b"), "{told:?}");
    let failed = told
        .summary
        .processes
        .iter()
        .find(|update| update.state() == ProcessState::Error);
    let failed = failed.expect("it is told who failed");
    assert!(failed.traceback.contains("rules.lua"), "{failed:?}");

    // With the cause mended, the same program goes through.
    world.processes.write_rules(3, "");
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 3), ("b", 3), ("c", 3)]);
}

#[test]
fn a_program_that_refuses_itself_keeps_all_where_they_are() {
    let mut world = World::start(4);
    let rules = "local M = require('stillpoint.reload').module(...)\n\
        function M.version() return 2 end\n\
        function M.verify() return process ~= 'c', 'c has players' end\n";
    world.processes.write("rules.lua", rules);
    let told = world.apply(|_, _| {});
    world.check(
        &told,
        ActionOutcome::RolledBack,
        &[("a", 1), ("b", 1), ("c", 1)],
    );
    assert!(
        told.summary.message.contains("battle/c: verify: "),
        "{told:?}"
    );
    assert!(told.summary.message.contains("c has players"), "{told:?}");
}

#[test]
fn where_the_files_are_not_the_same_nothing_is_committed_and_the_module_is_named() {
    let mut world = World::start(5);
    let elsewhere = tempfile::tempdir().expect("a directory is made");
    let write = |version| fs::write(elsewhere.path().join("rules.lua"), rules(version, ""));
    write(1).expect("it is written");
    world.processes.start_with("d", elsewhere.path());
    world.processes.write_rules(2, "");
    write(3).expect("it is written");
    let mut committed = false;
    let told = world.apply(|_, told| {
        committed |=
            matches!(&told.kind, Some(Kind::Phase(begun)) if begun.phase() == Phase::Commit);
    });
    let running = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    world.check(&told, ActionOutcome::RolledBack, &running);
    assert!(!committed, "{told:?}");
    for part in [
        "in battle/a, battle/b, battle/c",
        "in battle/d",
        "(they differ in rules)",
    ] {
        assert!(told.summary.message.contains(part), "{told:?}");
    }
}

#[test]
fn a_module_that_only_some_have_loaded_makes_no_fleet_of_two_programs() {
    let mut world = World::start(2);
    let extra = |world: &World, version: i64| {
        let text = format!(
            "local M = require('stillpoint.reload').module(...)\nfunction M.version() return {version} end\n"
        );
        world.processes.write("extra.lua", &text);
    };
    extra(&world, 1);
    assert_eq!(world.ask("b", command("load", None)), 1.into());
    let status = world.status();
    assert_eq!(status.outcome(), ActionOutcome::Ok, "{status:?}");

    extra(&world, 2);
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(world.ask("b", command("load", None)), 2.into());

    // One that loads it only now has another one than `b`.
    extra(&world, 3);
    assert_eq!(world.ask("c", command("load", None)), 3.into());
    let status = world.status();
    assert_eq!(status.outcome(), ActionOutcome::Mixed, "{status:?}");
    assert!(
        status.message.ends_with("(they differ in extra)"),
        "{status:?}"
    );
    let told = world.apply(|_, _| {});
    world.check(&told, ActionOutcome::Ok, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(world.ask("b", command("load", None)), 3.into());
}
