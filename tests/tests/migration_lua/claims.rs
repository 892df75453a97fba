//! Documents that an old program owns, while their records are migrated.

use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{LOSSY, PURSE, World, is_applied, request};

pub fn a_document_stays_right_in_its_old_owner_while_its_record_is_migrated(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("take bob"), "gold=5 name=bob");
    assert_eq!(old.ask("give bob gold 1"), "6");
    // What is on its way while the job comes makes the record a new one by itself.
    assert_eq!(old.ask("save bob"), "saved");
    world.apply(PURSE);
    world.rewritten();
    let mut new = world.program("new", Some(1));
    let made = new.ask("history bob");
    assert!(
        made.starts_with("migration v1"),
        "or it was not rewritten under its owner: {made}"
    );
    assert_eq!(old.ask("give bob gold 1"), "7");
    // The record has a revision now that its owner has never heard of.
    assert_eq!(old.ask("mine bob"), "gold=7 name=bob");
    assert_eq!(old.ask("give bob gold 2"), "9");
    assert_eq!(old.ask("save bob"), "saved");
    assert_eq!(old.ask("mine bob"), "gold=9 name=bob");
    assert_eq!(new.ask("read bob"), "name=bob purse.gold=9 v1");
    let refused = new.ask("add bob purse.gold 1");
    assert!(refused.starts_with("not_owner: "), "{refused}");

    // One that it takes now is in its form, too.
    assert_eq!(old.ask("take cid"), "gold=5 name=cid");
    assert_eq!(old.ask("give cid gold 3"), "8");
    assert_eq!(old.ask("save cid"), "saved");
    assert_eq!(new.ask("read cid"), "name=cid purse.gold=8 v1");
}

pub fn over_a_lossy_step_a_document_has_to_be_given_back_first(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("take bob"), "gold=5 name=bob");
    world.publish(LOSSY);
    let mut admin = world.admin();
    let mut apply = || {
        let told = admin.apply_migrations(request(0))?;
        told.collect::<Result<Vec<_>, _>>()
    };
    let refused = apply().expect_err("its owner's copy would not be right");
    assert!(refused.message.contains("game/old"), "{refused:?}");
    assert_eq!(old.ask("give bob gold 1"), "6");
    assert_eq!(old.ask("release bob"), "released");
    assert!(is_applied(apply().expect("nobody is in the way").last()));

    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("read bob"), "name=bob purse.gold=6 v1");
    assert_eq!(old.ask("add bob gold 1"), "7");
    let refused = old.ask("try bob");
    assert!(refused.starts_with("schema_unsupported: "), "{refused}");
    assert_eq!(new.ask("take bob"), "name=bob purse.gold=7");
}
