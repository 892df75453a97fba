//! The store is brought back to a moment while processes use it.

use std::{path::Path, process::Command};

use stillpoint_tests::{
    lua_modules::LuaVersion,
    server::{Server, Setup, program},
};

use crate::{
    claims::{self, ONE, OTHER, read},
    events,
};

fn operate(server: &Server, args: &[&str]) {
    let ran = Command::new(program())
        .env(
            "STILLPOINT_ADMIN",
            format!("unix:{}", server.directory().join("admin.sock").display()),
        )
        .args(args)
        .output()
        .expect("the program starts");
    assert!(ran.status.success(), "{args:?}: {ran:?}");
}

fn restore(server: &Server, backups: &Path) {
    let status = server.admin().status().expect("the server answers");
    let id = status.header.expect("it has one").store_id;
    let digits: String = id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let from = backups.to_str().expect("UTF-8");
    operate(
        server,
        &["restore", "--live", "--from", from, "--confirm", &digits],
    );
}

pub fn a_store_that_goes_back_takes_claims_and_refuses_what_its_owners_knew(version: LuaVersion) {
    let room = tempfile::tempdir().expect("a directory is made");
    let setup = Setup::within(room.path());
    let server = setup.start();
    let Some((mut owner, _)) = claims::start(version, &server, &[ONE]) else {
        return;
    };
    let same = "the same Lua is here again";
    let mut holder = events::start(version, &server, &[OTHER]).expect(same);
    let mut tool = events::start(version, &server, &[]).expect(same);
    owner.ask("add 3");
    assert_eq!(owner.ask("save"), "saved\tsaved");
    assert_eq!(holder.ask("put one"), "done");
    assert_eq!(tool.ask("watch put"), "put(one)");
    assert_eq!(holder.ask("watch put"), "put(one)");
    let backups = room.path().join("backups");
    let to = backups.to_str().expect("UTF-8");
    operate(&server, &["backup", "create", "--to", to]);
    assert_eq!(owner.ask("add 4"), "7\t7");
    assert_eq!(owner.ask("save"), "saved\tsaved");
    assert_eq!(tool.ask("put two"), "done");
    for process in [&mut holder, &mut tool] {
        assert_eq!(process.ask("watch put"), "put(two)");
    }

    restore(&server, &backups);
    let told = holder.ask("hear fenced");
    assert_eq!(told, "shutting_down restored(2) reconnected fenced");
    assert_eq!(holder.ask("put late"), "session_expired");
    assert_eq!(tool.ask("hear reconnected"), "restored(2) reconnected");
    for process in [&mut holder, &mut tool] {
        assert_eq!(process.ask("watch synced"), "resync put(one) synced");
    }
    assert_eq!(tool.ask("put three"), "done");
    assert_eq!(tool.ask("watch put"), "put(three)");

    // What it owned it has lost, and nothing of what it does now reaches the state that it does not know.
    owner.ask("add 1");
    assert_eq!(owner.ask("save"), "session_expired\tsession_expired");
    assert_eq!(owner.ask("lose"), "lost");
    assert_eq!(owner.ask("put 50"), "session_expired");
    assert_eq!(read(&server), [3, 3]);
    let (mut next, found) = claims::start(version, &server, &[ONE]).expect(same);
    assert_eq!(
        found, "3\t3",
        "the claims are free, and the state is that of then"
    );
    assert_eq!(next.ask("add 1"), "4\t4");
    assert_eq!(next.ask("save"), "saved\tsaved");
    assert_eq!(read(&server), [4, 4]);
}
