//! A rolling restart: the new program takes over from the old one.

use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{PURSE, World};

pub fn a_new_program_takes_over_what_the_old_one_owned(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("take bob"), "gold=5 name=bob");
    world.apply(PURSE);
    assert_eq!(old.ask("give bob gold 1"), "6");
    assert_eq!(old.ask("hand_over"), "left");
    let mut stranger = world.program("stranger", Some(1));
    let refused = stranger.ask("add bob purse.gold 1");
    assert!(refused.starts_with("not_owner: "), "{refused}");

    let mut new = world.program("old", Some(1));
    assert_eq!(new.ask("take bob"), "name=bob purse.gold=6");
    assert_eq!(new.ask("give bob purse.gold 1"), "7");
    assert_eq!(new.ask("save bob"), "saved");
    assert_eq!(stranger.ask("read bob"), "name=bob purse.gold=7 v1");

    // And back: the old code is still as good.
    assert_eq!(new.ask("hand_over"), "left");
    let mut old = world.program("old", Some(0));
    assert_eq!(old.ask("take bob"), "gold=7 name=bob");
    assert_eq!(old.ask("give bob gold 1"), "8");
    assert_eq!(old.ask("save bob"), "saved");
    assert_eq!(stranger.ask("read bob"), "name=bob purse.gold=8 v1");
}
