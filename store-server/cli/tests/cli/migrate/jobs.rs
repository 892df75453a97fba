//! The rewriting in the background: left, held up, stopped, and let go on.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::scripts::{LEVEL, Scripts, put_players, status, wait_for_phase};
use crate::server::Server;

#[test]
fn who_leaves_leaves_the_job_which_is_held_up_and_let_go_on() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 40, &[]);
    let mut apply = server
        .program()
        .args(["migrate", "apply", scripts.folder(), "--rate=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut stdout = BufReader::new(apply.stdout.take().unwrap());
    while !told.contains("default/player is at version 1") {
        assert!(stdout.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let pid = apply.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let left = apply.wait_with_output().unwrap();
    let stderr = String::from_utf8(left.stderr).unwrap();
    assert_eq!(left.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("interrupted") && stderr.contains("goes on in the background"),
        "{stderr}"
    );
    assert_eq!(status(&server, "player")["phase"], "rewriting");

    let paused = server.ok(&["migrate", "pause", "player"]);
    assert!(
        paused.starts_with("default/player: version 1, paused: "),
        "{paused}"
    );
    assert!(paused.contains(" of about "), "{paused}");
    let resumed = server.ok(&["migrate", "resume", "player", "--rate=100000", "--json"]);
    let resumed: Value = serde_json::from_str(&resumed).unwrap();
    assert_eq!(resumed["rate"], 100_000);
    wait_for_phase(&server, "player", "rewritten");
    let status = status(&server, "player");
    assert_eq!(
        (&status["seen"], &status["failed"]),
        (&40.into(), &0.into())
    );
    let none = server.run(&["migrate", "pause", "nothing"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("nothing"), "{}", none.stderr);
}

#[test]
fn too_many_bad_records_stop_the_job() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 8, &[1, 2, 3]);
    let apply = ["migrate", "apply", scripts.folder(), "--failed-max=1"];
    let stopped = server.run(&apply);
    assert_eq!(stopped.code, 1, "{}", stopped.stdout);
    assert!(
        stopped
            .stdout
            .contains("default/player: version 1, stopped: "),
        "{}",
        stopped.stdout
    );
    assert!(
        stopped.stderr.contains("migrate quarantine default/player"),
        "{}",
        stopped.stderr
    );
    let table = server.ok(&["migrate", "status"]);
    assert!(table.contains("default/player does not go on: "), "{table}");
    server.ok(&["migrate", "resume", "player", "--failed-max=10"]);
    wait_for_phase(&server, "player", "rewritten");
    assert_eq!(status(&server, "player")["failed"], 3);
}
