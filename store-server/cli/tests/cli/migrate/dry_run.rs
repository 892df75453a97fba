//! `migrate dry-run` on the records of a running store.

use serde_json::Value;

use super::scripts::{LEVEL, PURSE, Scripts, put_players, status};
use crate::server::Server;

#[test]
fn differences_and_failures_are_shown_and_nothing_is_changed() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    scripts.write("default/player/0002_purse.lua", PURSE);
    put_players(&server, 5, &[3]);
    let tried = server.run(&["migrate", "dry-run", scripts.folder()]);
    assert_eq!(tried.code, 3, "{}", tried.stderr);
    assert!(
        tried.stderr.contains("1 record cannot be migrated"),
        "{}",
        tried.stderr
    );
    let first =
        "default/player/p000  of version 0\n  - gold: 0\n  + level: 1\n  + purse: {\"gold\":0}\n";
    assert!(tried.stdout.starts_with(first), "{}", tried.stdout);
    assert!(
        tried
            .stdout
            .contains("default/player/p003  of version 0 cannot be migrated\n  ! "),
        "{}",
        tried.stdout
    );
    let end = "default/player: 5 records tried for version 2: 4 would change, 1 cannot be migrated\n  size: ";
    assert!(tried.stdout.contains(end), "{}", tried.stdout);
    let last = tried.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("  1 record: ") && last.ends_with("(e.g. default/player/p003)"),
        "{last}"
    );
    assert_eq!(
        status(&server, "player"),
        Value::Null,
        "nothing was published"
    );
    assert_eq!(
        server.ok(&["get", "player/p000"]),
        r#"{"name":"Ann","gold":0}"#
    );
}

#[test]
fn a_part_is_tried_for_programs() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    scripts.write("default/player/0002_purse.lua", PURSE);
    scripts.write("_any/guild/0001_level.lua", LEVEL);
    put_players(&server, 40, &[]);
    let folder = scripts.folder();
    let args = ["migrate", "dry-run", folder, "player", "--to-version=1"];
    let args = [&args[..], &["--sample=10", "--examples=2", "--json"]].concat();
    let told: Value = serde_json::from_str(&server.ok(&args)).unwrap();
    assert_eq!(told["collection"], "default/player");
    assert_eq!(
        (&told["to_version"], &told["failed"]),
        (&1.into(), &0.into())
    );
    let records = told["records"].as_u64().unwrap();
    assert!((5..=20).contains(&records), "{told}");
    assert_eq!(told["changed"], records);
    let differences = told["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2, "{told}");
    assert_eq!(differences[0]["changes"][0]["path"], "level");

    // All that is not applied, once each.
    let all = server.ok(&["migrate", "dry-run", folder, "--json"]);
    let names: Vec<String> = (all.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["collection"].to_string())
        .collect();
    assert_eq!(names, ["\"_any/guild\"", "\"default/player\""]);
    server.ok(&["migrate", "apply", folder]);
    let nothing = server.run(&["migrate", "dry-run", folder]);
    assert_eq!((nothing.code, &*nothing.stdout), (0, ""));
    assert!(
        nothing.stderr.contains("nothing to try"),
        "{}",
        nothing.stderr
    );
}

/// The collections that a dry run tried, with the version, and what it said besides.
fn tried(server: &Server, folder: &str) -> (Vec<(String, u64)>, String) {
    let ran = server.run(&["migrate", "dry-run", folder, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = ran.stdout.lines().map(|line| {
        let told: Value = serde_json::from_str(line).unwrap();
        let name = told["collection"].as_str().unwrap().to_owned();
        (name, told["to_version"].as_u64().unwrap())
    });
    (
        lines.collect(),
        server.run(&["migrate", "dry-run", folder]).stderr,
    )
}

#[test]
fn what_is_new_is_what_apply_would_do() {
    let (server, scripts) = (Server::start(), Scripts::new());
    let folder = scripts.folder();
    scripts.write("_any/player/0001_level.lua", LEVEL);
    put_players(&server, 3, &[]);
    server.ok(&["put", "--namespace=game", "player/1", r#"{"name": "Eve"}"#]);
    assert_eq!(tried(&server, folder).0, [("_any/player".into(), 1)]);

    // One namespace has gone on alone: the others have not.
    server.ok(&["migrate", "apply", folder, "default/player"]);
    assert_eq!(tried(&server, folder).0, [("_any/player".into(), 1)]);
    server.ok(&["migrate", "apply", folder]);
    let (none, said) = tried(&server, folder);
    assert_eq!(none, []);
    assert!(said.contains("nothing to try"), "{said}");

    // What was taken back can be applied again.
    server.ok(&["migrate", "rollback", "default/player", "--yes"]);
    assert_eq!(tried(&server, folder).0, [("default/player".into(), 1)]);

    // A namespace with a script of its own is tried with that, too, where it comes with those of all.
    server.ok(&["migrate", "rollback", "_any/player", "--yes"]);
    scripts.write("game/player/0002_purse.lua", PURSE);
    assert_eq!(
        tried(&server, folder).0,
        [("_any/player".into(), 1), ("game/player".into(), 2)]
    );

    scripts.write("_any/player/0001_level.lua", &format!("{LEVEL} -- changed"));
    let (_, said) = tried(&server, folder);
    assert!(
        said.contains("_any/player/0001_level.lua was applied with another text"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_tried_says_why() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    let folder = scripts.folder();
    for (args, code, words) in [
        (&["nowhere"][..], 2, "there is no folder nowhere"),
        (&[folder, "--to-version=1"], 2, "one collection"),
        (&[folder, "--to=latest"], 2, "--from"),
        (
            &[folder, "nothing"],
            1,
            "there are no scripts for default/nothing",
        ),
    ] {
        let ran = server.run(&[&["migrate", "dry-run"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}
