//! A record that the scripts refuse, on the way up or down: it is left as it is, and told as such; all others go on.

use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{PURSE, World};

pub fn a_record_that_cannot_be_migrated_is_told_where_others_go_on(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("put bob much"), "done");
    world.apply(PURSE);
    let status = world.rewritten();
    assert_eq!((status.rewritten, status.failed), (2, 1));

    let mut new = world.program("new", Some(1));
    for verb in ["read bob", "get bob", "add bob purse.gold 1", "try bob"] {
        let refused = new.ask(verb);
        assert!(refused.starts_with("migration_failed: "), "{refused}");
        for word in ["0001_purse.lua", "the gold is no number", "quarantine"] {
            assert!(refused.contains(word), "{word} is not in: {refused}");
        }
    }
    assert_eq!(new.ask("raw bob"), "gold=much name=bob v0");
    let told = new.ask("scan");
    assert!(
        told.starts_with("ann: name=ann purse.gold=5 v1; bob: unreadable: ")
            && told.ends_with("; cid: name=cid purse.gold=5 v1")
            && told.contains("the gold is no number"),
        "{told}"
    );
    assert_eq!(new.ask("follow all"), "follows");
    let told = new.ask("heard 3");
    assert!(
        told.starts_with("put ann name=ann purse.gold=5 v1; put bob unreadable: ")
            && told.ends_with("; put cid name=cid purse.gold=5 v1"),
        "{told}"
    );

    // Whoever speaks the version that it has works on; what it writes has to be of use to all.
    assert_eq!(old.ask("read bob"), "gold=much name=bob v0");
    let refused = old.ask("set bob name rob");
    assert!(refused.starts_with("migration_failed: "), "{refused}");
    assert_eq!(old.ask("read bob"), "gold=much name=bob v0");
    assert_eq!(old.ask("set bob gold 5"), "done");
    assert_eq!(new.ask("read bob"), "name=bob purse.gold=5 v1");
    assert_eq!(new.ask("heard 1"), "put bob name=bob purse.gold=5 v1");
}

pub fn a_record_that_has_no_old_form_is_told_to_old_programs_and_new_ones_replace_it(
    version: LuaVersion,
) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    world.apply(PURSE);
    world.rewritten();
    assert_eq!(old.ask("follow"), "follows");
    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("set ann purse 7"), "done");
    let told = old.ask("heard 1");
    assert!(told.starts_with("put ann unreadable: "), "{told}");
    for verb in [
        "read ann",
        "add ann gold 1",
        "transact ann gold 1",
        "try ann",
    ] {
        let refused = old.ask(verb);
        assert!(
            refused.starts_with("migration_failed: ") && refused.contains("0001_purse.lua"),
            "{verb}: {refused}"
        );
    }
    let told = old.ask("scan");
    assert!(
        told.starts_with("ann: unreadable: ")
            && told.ends_with("; bob: gold=5 name=bob v0; cid: gold=5 name=cid v0"),
        "{told}"
    );
    // Nobody can say whether what it would write has all of the new form.
    let refused = old.ask("put ann 9");
    assert!(
        refused.starts_with("migration_failed: ") && refused.contains("0001_purse.lua"),
        "{refused}"
    );
    assert_eq!(new.ask("put_as 1 ann 9"), "done");
    assert_eq!(old.ask("heard 1"), "put ann gold=9 name=ann v0");
    assert_eq!(old.ask("put ann 8"), "done");
    assert_eq!(new.ask("read ann"), "name=ann purse.gold=8 v1");
}
