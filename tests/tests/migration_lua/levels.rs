//! What only new programs know of a record: old ones work beside them, and take nothing of it away.

use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::World;

/// Players have levels. All begin with the first.
const LEVEL: &str = "
return {
  from = 0, to = 1,
  up = function(player) player.level = player.level or 1 end,
  down = function(player) player.level = nil end,
  samples = { { name = 'ann', gold = 5 } },
}";

pub fn what_only_new_programs_know_of_a_record_outlives_the_old_ones(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    world.apply(LEVEL);
    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("set ann level 7"), "done");
    for verb in [
        "add ann gold 1",
        "set ann gold 6",
        "put ann 6",
        "update ann gold 1",
        "transact ann gold 1",
        "try ann",
    ] {
        let refused = old.ask(verb);
        assert!(refused.starts_with("schema_unsupported: "), "{refused}");
        for part in [
            "player/ann",
            "level, which is 7 and would then be 1",
            "0001_purse.lua",
        ] {
            assert!(refused.contains(part), "{part} is not in: {refused}");
        }
    }
    assert_eq!(old.ask("read ann"), "gold=5 name=ann v0");
    assert_eq!(new.ask("read ann"), "gold=5 level=7 name=ann v1");

    // As long as nobody has risen, nothing stands in the old programs' way.
    assert_eq!(old.ask("add bob gold 1"), "6");
    assert_eq!(old.ask("update bob gold 1"), "7");
    assert_eq!(old.ask("transact bob gold 1"), "8");
    assert_eq!(old.ask("take bob"), "gold=8 name=bob");
    assert_eq!(old.ask("give bob gold 1"), "9");
    assert_eq!(old.ask("save bob"), "saved");
    assert_eq!(new.ask("read bob"), "gold=9 level=1 name=bob v1");
}
