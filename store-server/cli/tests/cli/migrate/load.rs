//! A dump that was made before a migration is loaded after it.

use serde_json::{Value, json};

use super::scripts::{LEVEL, ONE_WAY, Scripts, put_players};
use crate::server::{Ran, Server};

fn load(server: &Server, args: &[&str], dump: &str) -> (Ran, Value) {
    let ran = server.run_with_input(&[&["load"], args].concat(), dump.as_bytes());
    let summary = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran, summary)
}

/// The counts of a summary that are not zero.
fn counted(summary: &Value) -> Value {
    let fields = summary.as_object().unwrap().iter();
    let counts = fields.filter(|(_, value)| value.as_u64().is_some_and(|count| count > 0));
    counts
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn a_dump_of_before_is_known_again_after_the_migration() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 5, &[]);
    let dump = server.ok(&["dump", "--collection=player"]) + "\n";
    server.ok(&["migrate", "apply", scripts.folder()]);
    server.ok(&["del", "player/p003"]);
    let (ran, summary) = load(&server, &["--json"], &dump);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(counted(&summary), json!({"written": 1, "unchanged": 4}));
    assert!(server.ok(&["get", "player/p003"]).contains(r#""level":1"#));
}

#[test]
fn what_cannot_be_compared_is_left_and_counted_by_itself() {
    let (server, scripts) = (Server::start(), Scripts::with(ONE_WAY));
    put_players(&server, 3, &[]);
    let dump = server.ok(&["dump", "--collection=player"]) + "\n";
    server.ok(&["migrate", "apply", scripts.folder()]);
    server.ok(&["put", "player/p001", r#"{"name": "Bob"}"#]);
    server.ok(&["del", "player/p002"]);
    let (ran, summary) = load(&server, &["--json"], &dump);
    // They may be in conflict.
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("2 records are there in a later version"),
        "{message}"
    );
    assert_eq!(counted(&summary), json!({"written": 1, "not_compared": 2}));
    assert_eq!(server.ok(&["get", "player/p001"]), r#"{"name":"Bob"}"#);
    let (ran, _) = load(&server, &["--on-conflict=skip"], &dump);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("3 there in a later version that cannot be compared"),
        "{}",
        ran.stderr
    );
    // What the older version cannot carry would be lost.
    let (ran, summary) = load(&server, &["--json", "--on-conflict=overwrite"], &dump);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(counted(&summary), json!({"refused": 3}));
    assert_eq!(server.ok(&["get", "player/p001"]), r#"{"name":"Bob"}"#);
}

#[test]
fn lines_that_cannot_be_migrated_are_told_and_the_rest_is_loaded() {
    let (from, to) = (Server::start(), Server::start());
    put_players(&from, 30, &[4, 7]);
    let dump = from.ok(&["dump", "--collection=player"]) + "\n";
    let scripts = Scripts::with(LEVEL);
    put_players(&to, 1, &[]);
    to.ok(&["migrate", "apply", scripts.folder()]);
    to.ok(&["del", "player/p000"]);
    let (ran, summary) = load(&to, &["--json"], &dump);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(counted(&summary), json!({"written": 28, "refused": 2}));
    let why: Vec<_> = summary["why_refused"].as_array().unwrap().iter().collect();
    let begins = ["line 6: player/p004: ", "line 9: player/p007: "];
    for (why, begin) in why.iter().zip(begins) {
        let why = why.as_str().unwrap();
        assert!(why.starts_with(begin) && why.contains("no name"), "{why}");
    }
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "migration_failed");
    let (again, _) = load(&to, &[], &dump);
    assert_eq!(again.code, 1);
    for words in [
        "0 records written, 28 there already, 0 skipped, 0 expired, 2 refused\n  line 6: player/p004: ",
        "error: -: 2 records could not be migrated, and were not loaded",
    ] {
        assert!(again.stderr.contains(words), "{}", again.stderr);
    }
}
