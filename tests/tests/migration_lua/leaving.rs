//! Steps over which a version is lost: whoever speaks it has to go.

use stillpoint_client::v1::{
    RollBackMigrationRequest, apply_migrations_response::Kind,
    roll_back_migration_response::Kind as RolledBack,
};
use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{ONE_WAY, PATIENCE_MS, PURSE, World, is_applied, players, request};

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

pub fn a_rollback_waits_for_new_programs_and_old_ones_go_on(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    world.apply(PURSE);
    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("take bob"), "name=bob purse.gold=5");
    assert_eq!(new.ask("give bob purse.gold 1"), "6");
    let mut admin = world.admin();
    let request = RollBackMigrationRequest {
        collection: Some(players()),
        wait_ms: PATIENCE_MS,
        actor: "the test".into(),
        ..RollBackMigrationRequest::default()
    };
    let mut told = admin.roll_back_migration(request).expect("it begins");
    let first = told.next().expect("it waits").expect("it goes well").kind;
    let Some(RolledBack::Waiting(waiting)) = first else {
        panic!("it does not wait: {first:?}");
    };
    assert_eq!(waiting.sessions, ["game/new (version 1)"], "{waiting:?}");
    assert_eq!(new.ask("add ann purse.gold 1"), "6", "it works meanwhile");
    assert_eq!(old.ask("add ann gold 1"), "7", "and so does this");

    assert_eq!(new.ask("leave"), "left");
    let rest: Result<Vec<_>, _> = told.collect();
    let last = rest.expect("it goes well").pop().and_then(|told| told.kind);
    assert!(matches!(last, Some(RolledBack::Applied(_))), "{last:?}");
    world.rewritten();
    for verb in ["read", "raw"] {
        assert_eq!(old.ask(&format!("{verb} ann")), "gold=7 name=ann v0");
        assert_eq!(old.ask(&format!("{verb} bob")), "gold=6 name=bob v0");
    }
    let why = world.refused("new", 1);
    assert!(why.starts_with("schema_unsupported: "), "{why}");
}
