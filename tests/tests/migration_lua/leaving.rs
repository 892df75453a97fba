//! A step that has no way back: whoever speaks the old version has to go.

use stillpoint_client::v1::apply_migrations_response::Kind;
use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{ONE_WAY, PATIENCE_MS, World, is_applied, request};

pub fn a_step_that_cannot_be_undone_waits_for_old_programs_and_goes_on_when_they_leave(
    version: LuaVersion,
) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    world.publish(ONE_WAY);
    let mut admin = world.admin();
    let at_once = admin
        .apply_migrations(request(0))
        .and_then(|told| told.collect::<Result<Vec<_>, _>>());
    let refused = at_once.expect_err("it is not to wait");
    assert!(refused.message.contains("game/old"), "{refused:?}");

    let mut told = admin
        .apply_migrations(request(PATIENCE_MS))
        .expect("it begins");
    let first = told.next().expect("it waits").expect("it goes well").kind;
    let Some(Kind::Waiting(waiting)) = first else {
        panic!("it does not wait: {first:?}");
    };
    assert_eq!(waiting.sessions, ["game/old (version 0)"], "{waiting:?}");
    assert_eq!(old.ask("add ann gold 1"), "6", "it works meanwhile");
    let why = world.refused("new", 1);
    assert!(why.starts_with("schema_unsupported: "), "{why}");

    assert_eq!(old.ask("leave"), "left");
    let rest: Result<Vec<_>, _> = told.collect();
    assert!(is_applied(rest.expect("it goes well").last()));
    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("read ann"), "name=ann purse.gold=6 v1");
    let why = world.refused("old", 0);
    assert!(why.starts_with("schema_unsupported: "), "{why}");
    assert!(why.contains("0001_purse.lua"), "which step it is: {why}");
    // One that says nothing speaks what there is.
    let mut old = world.program("old", None);
    assert_eq!(old.ask("read ann"), "name=ann purse.gold=6 v1");
}
