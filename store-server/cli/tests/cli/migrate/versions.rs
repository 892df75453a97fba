//! Values that are said to be of a version, also of 0, come into a store that is further.

use serde_json::{Value, json};

use super::scripts::{LEVEL, PURSE, Scripts, put_players};
use crate::server::Server;

/// A store at version 2, without players.
fn at_version_2() -> Server {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    scripts.write("default/player/0002_purse.lua", PURSE);
    put_players(&server, 1, &[]);
    server.ok(&["migrate", "apply", scripts.folder()]);
    server.ok(&["del", "player/p000"]);
    server
}

/// A record, as `get --meta` tells it.
fn told(server: &Server, key: &str) -> (Value, Value) {
    let told = server.ok(&["get", "--meta", key]);
    let mut told: Value = serde_json::from_str(&told).unwrap();
    (told["value"].take(), told["schema"].take())
}

#[test]
fn a_dump_of_version_0_is_loaded_into_version_2() {
    let (from, to) = (Server::start(), at_version_2());
    put_players(&from, 3, &[]);
    let dump = from.ok(&["dump", "--collection=player"]) + "\n";
    let lines: Vec<Value> = (dump.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let records: Vec<_> = lines
        .iter()
        .filter(|line| line["key"].is_string())
        .collect();
    assert_eq!(records.len(), 3, "{dump}");
    for record in records {
        assert_eq!(record["schema"], 0, "{record}");
    }
    let loaded = to.run_with_input(&["load"], dump.as_bytes());
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    for n in 0..3 {
        let expected = json!({"name": "Ann", "level": 1, "purse": {"gold": n}});
        let key = format!("player/p{n:03}");
        assert_eq!(told(&to, &key), (expected, json!(2)), "{key}");
    }
}

#[test]
fn a_value_is_put_in_the_version_that_is_named() {
    let server = at_version_2();
    for (schema, value) in [
        ("0", r#"{"name": "Ann", "gold": 5}"#),
        ("1", r#"{"name": "Ann", "gold": 5, "level": 1}"#),
        ("2", r#"{"name": "Ann", "purse": {"gold": 5}, "level": 1}"#),
    ] {
        server.ok(&["put", "player/ann", value, "--schema", schema]);
        let expected = json!({"name": "Ann", "level": 1, "purse": {"gold": 5}});
        assert_eq!(
            told(&server, "player/ann"),
            (expected, json!(2)),
            "{schema}"
        );
    }
    // What version 0 cannot carry is not lost.
    let risen = r#"{"name": "Ann", "purse": {"gold": 5}, "level": 9}"#;
    server.ok(&["put", "player/ann", risen]);
    let old = r#"{"name": "Ann", "gold": 6}"#;
    let refused = server.run(&["put", "player/ann", old, "--schema=0"]);
    assert_ne!(refused.code, 0);
    for words in [
        "player/ann",
        "level, which is 9 and would then be 1",
        "0001_first.lua",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    server.ok(&["put", "player/ann", risen, "--schema=2"]);
}
