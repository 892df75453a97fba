//! Programs of both versions at once.

use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{PURSE, World};

pub fn old_and_new_programs_read_and_change_the_same_records(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("follow"), "follows");
    let why = world.refused("new", 1);
    assert!(why.starts_with("schema_unsupported: "), "{why}");
    for word in ["spec/player", "stillpoint migrate apply"] {
        assert!(why.contains(word), "{word} is not in: {why}");
    }

    world.apply(PURSE);
    let mut declared = world.program("old-too", Some(0));
    let mut new = world.program("new", Some(1));
    let mut newest = world.program("new-too", None);
    for program in [&mut old, &mut declared] {
        assert_eq!(program.ask("read ann"), "gold=5 name=ann v0");
    }
    for program in [&mut new, &mut newest] {
        assert_eq!(program.ask("read ann"), "name=ann purse.gold=5 v1");
    }
    world.rewritten();
    assert_eq!(
        old.ask("heard 3"),
        "migrate ann gold=5 name=ann v0; migrate bob gold=5 name=bob v0; migrate cid gold=5 name=cid v0"
    );
    assert_eq!(old.ask("raw ann"), "name=ann purse.gold=5 v1");

    assert_eq!(new.ask("follow"), "follows");
    assert_eq!(old.ask("add ann gold 1"), "6");
    assert_eq!(new.ask("add ann purse.gold 1"), "7");
    assert_eq!(old.ask("update ann gold 1"), "8");
    assert_eq!(new.ask("update ann purse.gold 1"), "9");
    assert_eq!(old.ask("transact ann gold 1"), "10");
    assert_eq!(new.ask("transact ann purse.gold 1"), "11");
    assert_eq!(old.ask("put dan 5"), "done");
    assert_eq!(new.ask("read dan"), "name=dan purse.gold=5 v1");
    let gold = |form: &str| {
        let told: Vec<_> = (6..=11)
            .map(|gold| form.replace("GOLD", &gold.to_string()))
            .collect();
        told.join("; ")
    };
    assert_eq!(old.ask("heard 6"), gold("put ann gold=GOLD name=ann v0"));
    assert_eq!(
        new.ask("heard 6"),
        gold("put ann name=ann purse.gold=GOLD v1")
    );
    assert_eq!(
        old.ask("scan"),
        "ann: gold=11 name=ann v0; bob: gold=5 name=bob v0; cid: gold=5 name=cid v0; dan: gold=5 name=dan v0"
    );
    assert_eq!(
        newest.ask("scan"),
        "ann: name=ann purse.gold=11 v1; bob: name=bob purse.gold=5 v1; cid: name=cid purse.gold=5 v1; \
         dan: name=dan purse.gold=5 v1"
    );
    assert_eq!(new.ask("history bob"), "migration v1, client v0");
    assert_eq!(old.ask("history bob"), "migration v1, client v0");
}

pub fn a_value_can_be_written_in_any_version_that_there_is(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    world.apply(PURSE);
    let mut new = world.program("new", Some(1));
    assert_eq!(old.ask("put_as 1 dan 5"), "done");
    assert_eq!(old.ask("read dan"), "gold=5 name=dan v0");
    assert_eq!(new.ask("read dan"), "name=dan purse.gold=5 v1");
    let refused = new.ask("put_as 2 dan 6");
    assert!(refused.starts_with("schema_unsupported: "), "{refused}");
    assert_eq!(old.ask("read dan"), "gold=5 name=dan v0");
}

pub fn nothing_is_lost_of_what_programs_do_while_a_migration_is_applied(version: LuaVersion) {
    const TIMES: u64 = 200;
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    assert_eq!(old.ask("take bob"), "gold=5 name=bob");
    old.tell(&format!("churn {TIMES} gold"));
    world.apply(PURSE);
    let mut new = world.program("new", Some(1));
    for name in ["ann", "cid"] {
        for _ in 0..10 {
            let said = new.ask(&format!("add {name} purse.gold 1"));
            assert!(said.parse::<u64>().is_ok(), "{said}");
        }
    }
    assert_eq!(old.says().as_deref(), Some("churned"));
    world.rewritten();
    assert_eq!(old.ask("save bob"), "saved");
    for (name, gold) in [
        ("ann", 5 + TIMES + 10),
        ("bob", 5 + TIMES),
        ("cid", 5 + TIMES + 10),
    ] {
        let (old, new) = (
            old.ask(&format!("get {name}")),
            new.ask(&format!("get {name}")),
        );
        assert_eq!(old, format!("gold={gold} name={name}"));
        assert_eq!(new, format!("name={name} purse.gold={gold}"));
    }
}

pub fn a_program_goes_on_in_its_form_when_the_store_is_killed(version: LuaVersion) {
    let Some((mut world, mut old)) = World::start(version) else {
        return;
    };
    world.apply(PURSE);
    let mut new = world.program("new", Some(1));
    for gold in [7, 9] {
        world.restart();
        assert_eq!(
            old.ask("add ann gold 1"),
            (gold - 1).to_string(),
            "it came back"
        );
        assert_eq!(new.ask("add ann purse.gold 1"), gold.to_string());
        assert_eq!(old.ask("read ann"), format!("gold={gold} name=ann v0"));
        assert_eq!(
            new.ask("read ann"),
            format!("name=ann purse.gold={gold} v1")
        );
    }
    // What was left of the job goes on by itself.
    world.rewritten();
}
