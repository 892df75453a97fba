//! Programs without a session speak what the store has, and that may change between what they read and what they write of it.

use stillpoint_client::v1::ApplyMigrationsRequest;
use stillpoint_tests::lua_modules::LuaVersion;

use crate::world::{PURSE, World, is_applied, request};

pub fn what_was_read_before_an_apply_and_written_after_it_is_right(version: LuaVersion) {
    let Some((world, mut old)) = World::start(version) else {
        return;
    };
    // The job comes to these first, one a second.
    let others = (0..30).map(|i| format!("p{i:02}"));
    for name in others.chain(["yan", "zed"].map(str::to_owned)) {
        assert_eq!(old.ask(&format!("put {name} 5")), "done");
    }
    let mut updates = world.sessionless();
    let mut transacts = world.sessionless();
    updates.tell("held update yan gold 1");
    transacts.tell("held transact zed gold 1");
    for program in [&mut updates, &mut transacts] {
        assert_eq!(program.says().as_deref(), Some("read"));
    }

    world.publish(PURSE);
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
