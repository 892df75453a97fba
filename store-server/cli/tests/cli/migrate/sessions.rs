//! Programs of the old version, while a collection goes to the new one.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use super::scripts::{LEVEL, ONE_WAY, Scripts, put_players, status};
use crate::{server::Server, sessions::open};

#[test]
fn a_session_of_the_old_version_goes_on_and_is_shown() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 1, &[]);
    let _old = open(&server, "default", "battle", "battle-3");
    server.ok(&["migrate", "apply", scripts.folder()]);
    let _new = open(&server, "default", "battle", "battle-4");
    let others = &status(&server, "player")["other_sessions"];
    assert_eq!(others.as_array().unwrap().len(), 1, "{others}");
    assert_eq!(others[0], "battle/battle-3 (version 0)");
    let table = server.ok(&["migrate", "status"]);
    assert!(
        table.ends_with("another version is spoken by\n  battle/battle-3 (version 0)"),
        "{table}"
    );
    let sessions = server.ok(&["sessions", "--json"]);
    let sessions: Vec<Value> = (sessions.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let speaks = |instance: &str| {
        let mut all = sessions.iter();
        let session = all.find(|session| session["instance"] == instance);
        session.unwrap()["schemas"]["player"].as_u64().unwrap_or(0)
    };
    assert_eq!((speaks("battle-3"), speaks("battle-4")), (0, 1));
    let shown = server.ok(&["sessions"]);
    assert!(
        shown.contains("VERSIONS") && shown.contains("player=1"),
        "{shown}"
    );

    let early = server.run(&["migrate", "finish", "player", "--yes"]);
    assert_eq!(early.code, 1);
    assert!(early.stderr.contains("battle/battle-3"), "{}", early.stderr);
    server.ok(&["evict", "--instance=battle-3", "--yes"]);
    let finished = server.ok(&["migrate", "finish", "player", "--yes"]);
    assert!(
        finished.starts_with("default/player: version 1, finished"),
        "{finished}"
    );
}

#[test]
fn sessions_that_could_not_go_on_are_named_and_waited_for() {
    let (server, scripts) = (Server::start(), Scripts::with(ONE_WAY));
    put_players(&server, 1, &[]);
    let _old = open(&server, "default", "battle", "battle-3");
    let apply = ["migrate", "apply", scripts.folder()];
    let refused = server.run(&apply);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("battle/battle-3 (version 0)")
            && refused.stderr.contains("0001_first.lua"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--wait"), "{}", refused.stderr);
    assert_eq!(status(&server, "player")["phase"], "none");

    let mut waiting = server
        .program()
        .args(apply)
        .args(["--wait=60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(waiting.stderr.take().unwrap());
    while !told.ends_with("\n  battle/battle-3 (version 0)\n") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let begin = "note: waiting for 1 session: default/player/0001_first.lua has no `down`";
    assert!(told.starts_with(begin), "{told}");
    server.ok(&["evict", "--instance=battle-3", "--yes"]);
    let ended = waiting.wait_with_output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{printed}");
    assert!(
        printed.contains("default/player is at version 1"),
        "{printed}"
    );
}
