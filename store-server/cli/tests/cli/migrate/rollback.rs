//! `migrate rollback` and `finish`: back to the older version, and never again.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::scripts::{LEVEL, ONE_WAY, Scripts, put_players, status, wait_for_phase};
use crate::{server::Server, sessions::open, terminal::ask_on_a_terminal};

#[test]
fn a_collection_goes_back_by_down() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 5, &[]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    let rollback = ["migrate", "rollback", "player"];
    let unasked = server.run(&rollback);
    assert_eq!(unasked.code, 2);
    assert!(unasked.stderr.contains("--yes"), "{}", unasked.stderr);
    let (code, asked, _) = ask_on_a_terminal(server.program().args(rollback), "n");
    assert_eq!(code, 1);
    assert!(
        asked.contains("default/player: version 1, rewritten: 5 records seen"),
        "{asked}"
    );
    assert!(
        asked.ends_with("take default/player back to version 0? [y/N] "),
        "{asked}"
    );
    assert_eq!(status(&server, "player")["version"], 1);
    let (code, _, printed) = ask_on_a_terminal(server.program().args(rollback), "y");
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("default/player is at version 0, it was at 1"),
        "{printed}"
    );
    let record = server.ok(&["get", "player/p003"]);
    assert_eq!(
        serde_json::from_str::<Value>(&record).unwrap(),
        json!({"name": "Ann", "gold": 3})
    );
}

#[test]
fn who_goes_with_all_is_asked_too() {
    let (server, scripts) = (Server::start(), Scripts::new());
    scripts.write("_any/player/0001_level.lua", LEVEL);
    server.ok(&["migrate", "apply", scripts.folder()]);
    // It has come after that, so it has no state of its own.
    put_players(&server, 2, &[]);
    let rollback = ["migrate", "rollback", "player"];
    let (code, asked, printed) = ask_on_a_terminal(server.program().args(rollback), "y");
    assert_eq!(code, 0, "{printed}");
    assert!(
        asked.ends_with("take default/player back to version 0? [y/N] "),
        "{asked}"
    );
    assert!(
        printed.contains("default/player is at version 0, it was at 1"),
        "{printed}"
    );
    let record: Value = serde_json::from_str(&server.ok(&["get", "player/p001"])).unwrap();
    assert_eq!(record, json!({"name": "Ann", "gold": 1}));
}

#[test]
fn without_down_records_go_back_as_they_were_in_the_log() {
    let (server, scripts) = (Server::start(), Scripts::with(ONE_WAY));
    put_players(&server, 3, &[]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    server.ok(&["put", "player/p001", r#"{"name": "Bob"}"#]);
    let refused = server.run(&["migrate", "rollback", "player", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("--from-history"),
        "{}",
        refused.stderr
    );
    let back = [
        "migrate",
        "rollback",
        "player",
        "--from-history",
        "--to=0",
        "--yes",
        "--json",
    ];
    let told: Value = serde_json::from_str(&server.ok(&back)).unwrap();
    let migration = &told["migrations"][0];
    assert_eq!(
        (&migration["version"], &migration["failed"]),
        (&0.into(), &1.into()),
        "{told}"
    );
    assert!(server.ok(&["get", "player/p002"]).contains(r#""gold":2"#));
    let written = server.ok(&["migrate", "quarantine", "player"]);
    assert!(written.contains("player/p001"), "{written}");
}

#[test]
fn who_follows_a_job_hears_what_it_waits_for() {
    let (server, scripts) = (Server::start(), Scripts::with(ONE_WAY));
    scripts.write("default/guild/0001_first.lua", ONE_WAY);
    put_players(&server, 40, &[]);
    server.ok(&["put", "guild/g1", r#"{"name": "Ann", "gold": 5}"#]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    let back = |collection| ["migrate", "rollback", collection, "--from-history", "--yes"];
    server.ok(&[&back("player")[..], &["--rate=1", "--detach"]].concat());
    while status(&server, "player")["seen"] == 0 {}
    let mut follows = server
        .program()
        .args(back("guild"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(follows.stderr.take().unwrap());
    while !told.contains("note: default/guild does not go on: it waits for default/player") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let pid = follows.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert_eq!(follows.wait().unwrap().code(), Some(1));
    server.ok(&["migrate", "resume", "player", "--rate=100000"]);
    for collection in ["guild", "player"] {
        wait_for_phase(&server, collection, "rewritten");
    }
    let guild: Value = serde_json::from_str(&server.ok(&["get", "guild/g1"])).unwrap();
    assert_eq!(guild, json!({"name": "Ann", "gold": 5}));
}

#[test]
fn sessions_of_the_newer_version_are_in_the_way() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 1, &[]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    let _new = open(&server, "default", "battle", "battle-4");
    let refused = server.run(&["migrate", "rollback", "player", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("battle/battle-4 (version 1)") && refused.stderr.contains("--wait"),
        "{}",
        refused.stderr
    );
}

#[test]
fn after_finish_nobody_goes_back() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 1, &[]);
    let none = server.run(&["migrate", "finish", "player", "--yes"]);
    assert_eq!(none.code, 1, "{}", none.stdout);
    server.ok(&["migrate", "apply", scripts.folder()]);
    assert_eq!(
        server.run(&["migrate", "finish", "player"]).code,
        2,
        "nobody to ask"
    );
    let finish = ["migrate", "finish", "player"];
    let (code, asked, printed) = ask_on_a_terminal(server.program().args(finish), "yes");
    assert_eq!(code, 0, "{printed}");
    assert!(
        asked.ends_with("give up every way back of default/player? [y/N] "),
        "{asked}"
    );
    assert!(printed.contains("version 1, finished"), "{printed}");
    let late = server.run(&["migrate", "rollback", "player", "--yes"]);
    assert_eq!(late.code, 1, "{}", late.stdout);
    assert_eq!(status(&server, "player")["phase"], "finished");
}
