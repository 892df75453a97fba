//! `restore`, with a server on what it made; `mark`, which names a moment.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use super::target::Target;
use crate::server::Server;

#[test]
fn a_server_goes_on_from_what_was_restored() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "{\"gold\": 100}"]);
    server.ok(&["put", "--namespace=other", "guild/7", "[1]"]);
    target.take(&server, &[]);
    server.ok(&["put", "player/42", "{\"gold\": 50}"]);
    let newest = target.take(&server, &["--incremental"]);
    let commit = &newest["last_seq"];
    server.ok(&["del", "player/42"]);

    let into = target.path("restored");
    let dry = target.ok(&["restore", "--into", &into, "--dry-run"]);
    let would = format!("would restore commit {commit} into ");
    assert!(dry.starts_with(&would), "{dry}");
    assert!(!Path::new(&into).exists(), "a rehearsal");
    let told = target.ok(&["restore", "--into", &into]);
    let restored = format!("restored commit {commit} of ");
    assert!(told.starts_with(&restored), "{told}");
    let (_, told_as) = told.split_once("as incarnation ").expect(&told);
    assert!(
        told.contains("start it with: stillpoint serve --data-dir "),
        "{told}"
    );

    let again = target.run(&["restore", "--into", &into]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(
        again.stderr.contains("new or empty directory"),
        "{}",
        again.stderr
    );

    let restored = target.serve("restored");
    assert_eq!(restored.ok(&["get", "player/42"]), "{\"gold\":50}");
    assert_eq!(restored.ok(&["get", "--namespace=other", "guild/7"]), "[1]");
    restored.ok(&["put", "player/42", "{\"gold\": 49}"]);
    let status: Value = serde_json::from_str(&restored.ok(&["status", "--json"])).unwrap();
    let incarnation = status["incarnation"].to_string();
    assert!(told_as.starts_with(&incarnation), "{told}");
    assert_ne!(incarnation, "2", "another restore may be that");
    let revision = |of: &Value| of["namespaces"][0]["revision"].as_u64().unwrap();
    assert_eq!(revision(&status), revision(&newest) + 1);
}

#[test]
fn the_store_is_brought_back_to_a_label_a_revision_or_a_time() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &[]);
    let marked = server.ok(&[
        "mark",
        "before-2.0",
        "--note=new prices",
        "--as=ann",
        "--json",
    ]);
    let marked: Value = serde_json::from_str(&marked).unwrap();
    server.ok(&["put", "player/42", "2"]);
    server.ok(&["put", "player/42", "3"]);
    target.take(&server, &["--incremental"]);
    let seq = format!("seq:{}", marked["seq"]);
    let second = format!("default@{}", marked["revision"].as_u64().unwrap() + 1);
    let time = Duration::from_millis(marked["time_ms"].as_u64().unwrap());
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + time).to_string();
    for (name, moment, value) in [
        ("a", "before-2.0", "1"),
        ("b", &*seq, "1"),
        ("c", &*second, "2"),
        ("d", "latest", "3"),
        ("e", &*time, "1"),
    ] {
        target.ok(&["restore", "--to", moment, "--into", &target.path(name)]);
        let restored = target.serve(name);
        assert_eq!(restored.ok(&["get", "player/42"]), value, "{moment}");
    }
    // Nobody knows yet what will have been then.
    let future = [
        "restore",
        "--to=2100-01-01 00:00",
        "--into",
        &target.path("f"),
    ];
    assert_eq!(target.run(&future).code, 3);
    let none = target.run(&["restore", "--to=nothing", "--into", &target.path("f")]);
    assert_eq!(none.code, 3, "{}", none.stderr);
    assert!(!Path::new(&target.path("f")).exists());
    let unclear = target.run(&[
        "restore",
        "--to=yesterday noon",
        "--into",
        &target.path("f"),
    ]);
    assert_eq!(unclear.code, 2);
    assert!(
        unclear.stderr.contains("names no moment"),
        "{}",
        unclear.stderr
    );
}
