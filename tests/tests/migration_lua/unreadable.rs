//! A record that the scripts refuse: it is left as it is, and told as such; all others go on.

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
