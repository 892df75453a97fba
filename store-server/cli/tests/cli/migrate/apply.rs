//! `migrate publish`, `list` and `apply`: from a folder to records of the new version.

use serde_json::{Value, json};

use super::scripts::{LEVEL, PURSE, Scripts, put_players, status};
use crate::server::Server;

#[test]
fn a_folder_is_applied_and_followed_to_the_end() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 20, &[]);
    let none = server.run(&["migrate", "status"]);
    assert_eq!((none.code, &*none.stdout), (0, ""));
    assert!(none.stderr.starts_with("no migrations"), "{}", none.stderr);

    let told = server.ok(&["migrate", "apply", scripts.folder(), "--as=ann"]);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "published default/player/0001_first.lua");
    assert!(
        lines[1].starts_with("default/player is at version 1, it was at 0; the moment before is labelled before-migration"),
        "{told}"
    );
    assert_eq!(
        lines[2],
        "default/player: version 1, rewritten: 20 records seen, 20 rewritten, 0 failed"
    );
    let record = server.ok(&["get", "--meta", "player/p007"]);
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        record["value"],
        json!({"name": "Ann", "gold": 7, "level": 1})
    );
    assert_eq!(record["schema"], 1);
    let history = server.ok(&["history", "player/p007"]);
    assert!(history.contains("  migrated, with "), "{history}");
    assert!(history.contains("  schema: 0 -> 1\n"), "{history}");
    let labels = server.ok(&["mark", "--list"]);
    assert!(labels.contains("before-migration"), "{labels}");

    let again = server.ok(&["migrate", "apply", scripts.folder()]);
    assert!(again.starts_with("nothing to apply"), "{again}");
    let status = status(&server, "player");
    assert_eq!(status["phase"], "rewritten");
    assert_eq!(
        (&status["version"], &status["newest_published"]),
        (&1.into(), &1.into())
    );
    assert!(
        status["actor"].as_str().unwrap().contains("ann"),
        "{status}"
    );
    let table = server.ok(&["migrate", "status"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        row[..4],
        ["default/player", "1", "1", "rewritten"],
        "{table}"
    );
}

#[test]
fn what_is_published_and_what_is_not_is_listed() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    put_players(&server, 1, &[]);
    let none = server.run(&["migrate", "list"]);
    assert!(none.stderr.starts_with("no scripts"), "{}", none.stderr);
    let told = server.ok(&["migrate", "publish", scripts.folder(), "--as", "ann"]);
    assert_eq!(
        told,
        "published default/player/0001_first.lua\n1 script published"
    );
    let again = server.ok(&["migrate", "publish", scripts.folder(), "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again, json!({"published": [], "known": 1}));

    scripts.write("default/player/0002_purse.lua", PURSE);
    let folders = |server: &Server| -> Vec<(String, bool, String)> {
        let listed = server.ok(&["migrate", "list", scripts.folder(), "--json"]);
        let lines = listed.lines().map(|line| {
            let script: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| script[field].as_str().unwrap().to_owned();
            (text("script"), script["applied"] == true, text("folder"))
        });
        lines.collect()
    };
    let name = |n: &str| format!("default/player/{n}.lua");
    assert_eq!(
        folders(&server),
        [
            (name("0001_first"), false, "same".into()),
            (name("0002_purse"), false, "new".into())
        ]
    );
    // Nothing was applied: another text takes its place.
    scripts.write("default/player/0001_first.lua", &format!("{LEVEL}\n"));
    assert_eq!(folders(&server)[0].2, "different");
    server.ok(&["migrate", "apply", scripts.folder()]);
    assert_eq!(
        folders(&server),
        [
            (name("0001_first"), true, "same".into()),
            (name("0002_purse"), true, "same".into())
        ]
    );
    let table = server.ok(&["migrate", "list"]);
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[0], row[1]),
        ("default/player/0001_first.lua", "1"),
        "{table}"
    );
    assert_eq!(row[2].len(), 12, "{table}");
    assert!(row.contains(&"yes"), "{table}");

    // An applied one does not change any more.
    scripts.write("default/player/0001_first.lua", LEVEL);
    let changed = server.run(&["migrate", "publish", scripts.folder()]);
    assert_eq!(changed.code, 1, "{}", changed.stderr);
    assert!(
        changed.stderr.contains("0001_first.lua"),
        "{}",
        changed.stderr
    );
}

#[test]
fn one_collection_goes_to_one_version() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    scripts.write("default/player/0002_purse.lua", PURSE);
    scripts.write("default/guild/0001_level.lua", LEVEL);
    put_players(&server, 2, &[]);
    let folder = scripts.folder();
    let one = ["migrate", "apply", folder, "player", "--to=1", "--json"];
    let told: Value = serde_json::from_str(&server.ok(&one)).unwrap();
    assert_eq!(told["published"].as_array().unwrap().len(), 3);
    assert_eq!(told["migrations"][0]["version"], 1);
    assert_eq!(told["migrations"][0]["phase"], "rewritten");
    assert_eq!(status(&server, "guild")["phase"], "none");
    // Without a folder: what was published.
    let elsewhere = tempfile::tempdir().unwrap();
    let rest = crate::server::run(
        server
            .program()
            .current_dir(elsewhere.path())
            .args(["migrate", "apply", "--detach"]),
    );
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    assert!(
        rest.stdout.contains("default/player is at version 2"),
        "{}",
        rest.stdout
    );
    assert!(
        rest.stdout.contains("default/guild is at version 1"),
        "{}",
        rest.stdout
    );
    assert!(
        rest.stdout.contains("rewritten in the background"),
        "{}",
        rest.stdout
    );
}

#[test]
fn what_cannot_be_applied_says_why_and_changes_nothing() {
    let (server, scripts) = (Server::start(), Scripts::with(LEVEL));
    let folder = scripts.folder();
    for (args, code, words) in [
        (&["./nowhere"][..], 2, "there is no folder ./nowhere"),
        (
            &[folder, "--to=1"],
            2,
            "--to is a version of one collection",
        ),
        (&[folder, "game/Player"], 2, "invalid collection name"),
        (&[folder, "nothing"], 1, "nothing"),
        (&[folder, "player", "--to=7"], 1, "7"),
        (&[folder, "--rate=0"], 2, "--rate"),
    ] {
        let ran = server.run(&[&["migrate", "apply"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(status(&server, "player")["version"], 0);
    scripts.write(
        "default/player/0001_first.lua",
        "return { from = 0, to = 1 }",
    );
    let ran = server.run(&["migrate", "apply", folder]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("1 fault in the scripts of") && ran.stderr.contains("has no `up`"),
        "{}",
        ran.stderr
    );
}
