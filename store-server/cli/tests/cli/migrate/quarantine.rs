//! Records that could not be migrated: found, looked at, mended. And how records are read and written beside that.

use serde_json::{Value, json};

use super::scripts::{LEVEL, PURSE, Scripts, put_players};
use crate::server::Server;

/// Three players at version 1, of whom one could not be migrated.
fn with_a_bad_one() -> (Server, Scripts) {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 3, &[1]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    (server, scripts)
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_bad_record_is_listed_looked_at_and_mended() {
    let (server, _scripts) = with_a_bad_one();
    let listed = server.run(&["migrate", "quarantine"]);
    assert_eq!(listed.code, 0);
    let row = listed.stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("default"), "{row}");
    assert!(
        row.contains(" player/p001 ") && row.contains("no name"),
        "{row}"
    );
    assert!(
        listed.stderr.contains("stillpoint get --raw player/p001"),
        "{}",
        listed.stderr
    );
    let json = lines(&server.ok(&["migrate", "quarantine", "player", "--json"]));
    assert_eq!(json.len(), 1);
    assert_eq!(
        (&json[0]["key"], &json[0]["schema"]),
        (&"p001".into(), &0.into())
    );

    let refused = server.run(&["get", "--json", "player/p001"]);
    assert_eq!(refused.code, 1);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "migration_failed");
    let raw = server.run(&["get", "--raw", "player/p001"]);
    assert_eq!(
        (&*raw.stdout, &*raw.stderr),
        ("{\"gold\":1}\n", "schema 0\n")
    );

    let mended = r#"{"name": "Bob", "gold": 1, "level": 1}"#;
    server.ok(&["put", "player/p001", mended]);
    let none = server.run(&["migrate", "quarantine", "player"]);
    assert_eq!(
        (&*none.stdout, &*none.stderr),
        ("", "no records in quarantine\n")
    );
    assert_eq!(
        server.ok(&["get", "player/p001"]),
        mended.replace(": ", ":").replace(", ", ",")
    );
}

#[test]
fn a_scan_tells_of_a_bad_record_and_goes_on() {
    let (server, _scripts) = with_a_bad_one();
    let table = server.ok(&["scan", "player"]);
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(
        rows[2].contains("unreadable: ") && rows[2].contains("no name"),
        "{table}"
    );
    let records = lines(&server.ok(&["scan", "player", "--json"]));
    assert_eq!(records[0]["value"]["level"], 1);
    assert!(records[1]["unreadable"].is_string() && records[1]["value"].is_null());
    let raw = server.ok(&["scan", "player", "--raw"]);
    let rows: Vec<Vec<_>> = raw
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["KEY", "REV", "SCHEMA", "VALUE"]);
    assert_eq!((rows[1][2], rows[2][2]), ("1", "0"), "{raw}");
}

#[test]
fn a_document_of_an_older_version_is_brought_to_the_newest() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    scripts.write("default/player/0002_purse.lua", PURSE);
    server.ok(&["migrate", "apply", scripts.folder()]);
    let old = r#"{"name": "Ann", "level": 1, "gold": 7}"#;
    server.ok(&["put", "player/1", old, "--schema", "1"]);
    let got: Value = serde_json::from_str(&server.ok(&["get", "--meta", "player/1"])).unwrap();
    assert_eq!(
        got["value"],
        json!({"name": "Ann", "level": 1, "purse": {"gold": 7}})
    );
    assert_eq!(got["schema"], 2);
    let newer = server.run(&["put", "player/2", old, "--schema", "3"]);
    assert_eq!(newer.code, 1, "{}", newer.stderr);
    let oldest = r#"{"name": "Bob", "gold": 8}"#;
    server.ok(&["put", "player/2", oldest, "--schema", "0"]);
    let got: Value = serde_json::from_str(&server.ok(&["get", "player/2"])).unwrap();
    assert_eq!(
        got,
        json!({"name": "Bob", "level": 1, "purse": {"gold": 8}})
    );
}

#[test]
fn a_dump_has_records_as_they_are_stored_and_load_brings_them_up() {
    let (server, scripts) = with_a_bad_one();
    let dump = server.run(&["dump", "--collection", "player"]);
    assert_eq!(dump.code, 0, "{}", dump.stderr);
    let records = lines(&dump.stdout);
    assert_eq!(records[1]["schema"], 1);
    assert_eq!(
        records[2]["value"],
        json!({"gold": 1}),
        "whole, though unreadable"
    );

    // Of version 1, into a store that is at version 2.
    let other = Server::start();
    scripts.write("default/player/0002_purse.lua", PURSE);
    other.ok(&["migrate", "apply", scripts.folder()]);
    let good: String = (dump.stdout.lines())
        .filter(|line| !line.contains("p001"))
        .map(|line| line.replace("\"records\":3", "\"records\":2") + "\n")
        .collect();
    let loaded = other.run_with_input(&["load", "-"], good.as_bytes());
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    let got = other.ok(&["get", "player/p002"]);
    assert_eq!(
        serde_json::from_str::<Value>(&got).unwrap(),
        json!({"name": "Ann", "level": 1, "purse": {"gold": 2}})
    );
}
