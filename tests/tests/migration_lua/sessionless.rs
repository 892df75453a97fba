//! Programs without a session speak what the store has, and that may change between what they read and what they write of it.

use stillpoint_client::v1::ApplyMigrationsRequest;
use stillpoint_tests::{lua_modules::LuaVersion, lua_process::Process};

use crate::world::{ONE_WAY, PURSE, World, is_applied, request};

/// Puts these, and others, to which the job comes first.
fn put_players<const N: usize>(old: &mut Process, names: [&str; N]) {
    let others = (0..30).map(|i| format!("p{i:02}"));
    for name in others.chain(names.map(str::to_owned)) {
        assert_eq!(old.ask(&format!("put {name} 5")), "done");
    }
}

/// Makes the script's version count, with a job that rewrites one record a second.
fn apply_slowly(world: &World, script: &str) {
    world.publish(script);
    let slowly = ApplyMigrationsRequest {
        rate: 1,
        ..request(0)
    };
    let told: Result<Vec<_>, _> = world
        .admin()
        .apply_migrations(slowly)
        .expect("it begins")
        .collect();
    assert!(is_applied(told.expect("it goes well").last()));
}

pub fn what_was_read_before_an_apply_and_written_after_it_is_right(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    put_players(&mut old, ["yan", "zed"]);
    let mut updates = world.sessionless();
    let mut transacts = world.sessionless();
    updates.tell("held update yan gold 1");
    transacts.tell("held transact zed gold 1");
    for program in [&mut updates, &mut transacts] {
        assert_eq!(program.says().as_deref(), Some("read"));
    }

    apply_slowly(&world, PURSE);
    for (program, name) in [(&mut updates, "yan"), (&mut transacts, "zed")] {
        let raw = old.ask(&format!("raw {name}"));
        assert_eq!(raw, format!("gold=5 name={name} v0"), "the job was there");
        assert_eq!(program.ask("go on"), "6");
    }
    let mut new = world.program("new", Some(1));
    for name in ["yan", "zed"] {
        let read = new.ask(&format!("read {name}"));
        assert_eq!(read, format!("name={name} purse.gold=6 v1"));
        let read = old.ask(&format!("read {name}"));
        assert_eq!(read, format!("gold=6 name={name} v0"));
    }
}

pub fn what_the_store_cannot_take_in_the_version_that_was_read_is_read_again(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    put_players(&mut old, ["zed"]);
    let mut program = world.sessionless();
    program.tell("held transact_twice zed 1");
    assert_eq!(program.says().as_deref(), Some("read"));
    assert_eq!(old.ask("leave"), "left");
    apply_slowly(&world, ONE_WAY);
    // The first of its writes is taken, and there is no way back from that for the second.
    assert_eq!(program.ask("go on"), "7");
    let mut new = world.program("new", Some(1));
    assert_eq!(new.ask("read zed"), "name=zed purse.gold=7 v1");
}
