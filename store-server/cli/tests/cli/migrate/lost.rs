//! The server goes away while the rewriting of records is followed.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::scripts::{LEVEL, Scripts, put_players, status, wait_for_phase};
use crate::server::Server;

/// An apply at one record a second, which has been followed for a while.
fn applying(server: &Server, scripts: &Scripts, args: &[&str]) -> Child {
    let apply = server
        .program()
        .args(["migrate", "apply", scripts.folder(), "--rate=1"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = || {
        status(server, "player")["seen"]
            .as_u64()
            .unwrap_or_default()
    };
    while seen() < 2 {
        std::thread::yield_now();
    }
    apply
}

/// What an apply for programs said at its end.
fn said(ended: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&ended.stderr);
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

#[test]
fn who_follows_goes_on_when_the_server_is_back() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 40, &[]);
    let apply = applying(&server, &scripts, &["--json"]);
    let server = Server::start_in(server.kill(), &[]);
    server.ok(&["migrate", "pause", "player"]);
    server.ok(&["migrate", "resume", "player", "--rate=100000"]);
    wait_for_phase(&server, "player", "rewritten");
    let ended = apply.wait_with_output().unwrap();
    let said = said(&ended);
    let migration = &said["migrations"][0];
    // It may have come back while the job was held up: that is the end of following.
    match ended.status.code() {
        Some(0) => assert_eq!(migration["phase"], "rewritten", "{said}"),
        code => assert_eq!(
            (code, &migration["phase"]),
            (Some(1), &"paused".into()),
            "{said}"
        ),
    }
}

#[test]
fn who_does_not_wait_for_the_server_is_told_how_it_stood() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 40, &[]);
    let mut apply = applying(&server, &scripts, &[]);
    let _directory = server.kill();
    let mut stderr = BufReader::new(apply.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("the connection to the store is lost") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    interrupt(&apply);
    assert_eq!(apply.wait().unwrap().code(), Some(1));
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("interrupted"), "{told}");

    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 40, &[]);
    let apply = applying(&server, &scripts, &["--json"]);
    let _directory = server.kill();
    interrupt(&apply);
    let ended = apply.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(said(&ended)["migrations"][0]["version"], 1);
    let error: Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!(error["error"]["message"], "interrupted");
}

fn interrupt(process: &Child) {
    let pid = process.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
}
