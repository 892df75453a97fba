//! `migrate new` and `migrate lint`, which need no server.

use std::fs;

use serde_json::Value;

use super::scripts::{LEVEL, PURSE, Scripts};
use crate::server::{Ran, program, run};

/// Runs a command in the folder that has the folder `migrations`.
fn migrate(scripts: &Scripts, args: &[&str]) -> Ran {
    run(program()
        .current_dir(scripts.path())
        .arg("migrate")
        .args(args))
}

#[test]
fn new_scripts_are_numbered_and_can_be_linted_as_they_are() {
    let scripts = Scripts::new();
    let first = migrate(&scripts, &["new", "game/player", "purse"]);
    assert_eq!(
        (first.code, &*first.stdout),
        (0, "./migrations/game/player/0001_purse.lua\n"),
        "{}",
        first.stderr
    );
    let text = fs::read_to_string(scripts.path().join(first.stdout.trim())).unwrap();
    assert!(text.contains("to = 1"), "{text}");
    let second = migrate(&scripts, &["new", "game/player", "bag", "--json"]);
    let second: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(second["number"], 2);
    assert_eq!(second["path"], "./migrations/game/player/0002_bag.lua");
    let home = migrate(&scripts, &["new", "guild", "members", "elsewhere"]);
    assert_eq!(home.stdout, "elsewhere/default/guild/0001_members.lua\n");

    let linted = migrate(&scripts, &["lint"]);
    assert_eq!(
        (linted.code, &*linted.stdout),
        (0, "no faults in 2 scripts of 1 collection with 2 samples\n"),
        "{}",
        linted.stderr
    );
}

#[test]
fn a_new_script_that_could_never_be_is_refused() {
    let scripts = Scripts::new();
    for (args, words) in [
        (&["new", "game/player", "Purse"][..], "use 1 to 64 of a-z"),
        (&["new", "game/player/42", "purse"], "NAMESPACE/COLLECTION"),
        (&["new", "game/player"], "<NAME>"),
    ] {
        let ran = migrate(&scripts, args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
    scripts.write("migrations/_any/player/0001_level.lua", LEVEL);
    scripts.write("migrations/game/player/0002_purse.lua", PURSE);
    let third = migrate(&scripts, &["new", "game/player", "third"]);
    assert!(third.stdout.ends_with("game/player/0003_third.lua\n"));
    let fork = migrate(&scripts, &["new", "_any/player", "fork"]);
    assert_eq!(fork.code, 2);
    assert!(
        fork.stderr
            .contains("game/player/0002_purse.lua goes on where _any/player ends"),
        "{}",
        fork.stderr
    );
}

#[test]
fn every_fault_is_a_line() {
    let scripts = Scripts::new();
    scripts.write("game/player/0001_level.lua", LEVEL);
    scripts.write(
        "game/player/0003_gap.lua",
        &PURSE.replace("1, to = 2", "2, to = 3"),
    );
    scripts.write("game/guild/0001_broken.lua", "return {");
    let folder = scripts.folder();
    let ran = migrate(&scripts, &["lint", folder]);
    assert_eq!(ran.code, 2);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    assert!(lines[0].starts_with("game/guild/0001_broken.lua: is not Lua"));
    assert!(lines[1].starts_with("game/player/0003_gap.lua: comes after number 1"));
    assert!(
        ran.stderr
            .contains("2 faults in 3 scripts of 2 collections"),
        "{}",
        ran.stderr
    );
    let ran = migrate(&scripts, &["lint", folder, "--json"]);
    assert_eq!(ran.code, 2);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&told["scripts"], &told["samples"]), (&3.into(), &2.into()));
    assert_eq!(told["faults"][0]["script"], "game/guild/0001_broken.lua");
    assert_eq!(told["faults"][1]["part"], "script");
}

#[test]
fn a_script_without_samples_is_named_with_a_hint() {
    let scripts = Scripts::new();
    let bare = PURSE.replace("samples = { { name = \"Ann\", level = 1, gold = 5 } },", "");
    scripts.write("game/player/0001_level.lua", LEVEL);
    scripts.write("game/player/0002_purse.lua", &bare);
    let folder = scripts.folder();
    let ran = migrate(&scripts, &["lint", folder]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("hint: game/player/0002_purse.lua has no `samples`"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        lines[1],
        "no faults in 2 scripts of 1 collection with 1 sample"
    );
    let ran = migrate(&scripts, &["lint", folder, "--json"]);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["faults"], Value::Array(Vec::new()));
    assert_eq!(told["hints"][0]["script"], "game/player/0002_purse.lua");
}

#[test]
fn a_wrong_command_line_is_told_to_programs_in_json() {
    let scripts = Scripts::new();
    for args in [
        &["new", "game/player", "Purse", "--json"][..],
        &["--json", "apply", "--rate=0"],
        &["no-such-command", "--json"],
    ] {
        let ran = migrate(&scripts, args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["reason"], "usage", "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("--help") && !message.starts_with("error"),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_folder_of_scripts_is_said_so() {
    let scripts = Scripts::new();
    let none = migrate(&scripts, &["lint"]);
    assert_eq!(none.code, 2);
    assert!(
        none.stderr.contains("there is no folder ./migrations"),
        "{}",
        none.stderr
    );
    scripts.write("README.md", "");
    scripts.write("game/player/one.lua", LEVEL);
    let wrong = migrate(&scripts, &["lint", "."]);
    assert_eq!(wrong.code, 2);
    for name in ["README.md", "game/player/one.lua"] {
        assert!(wrong.stderr.contains(name), "{}", wrong.stderr);
    }
}
