//! `migrate dry-run --from`: on the records of a backup, without a server.

use std::{fs, path::Path};

use serde_json::Value;

use super::scripts::{LEVEL, PURSE, Scripts, put_players};
use crate::{
    backup::target::Target,
    server::{Server, program, run},
};

#[test]
fn a_backup_is_tried_as_of_a_moment_and_leaves_nothing() {
    let (server, target) = (Server::start(), Target::new());
    let scripts = Scripts::with(LEVEL);
    put_players(&server, 10, &[4]);
    server.ok(&["mark", "before"]);
    server.ok(&["put", "player/p004", r#"{"name": "Bob"}"#]);
    target.take(&server, &[]);
    target.take(&server, &["--incremental"]);
    drop(server);
    let scratch = target.path("scratch");
    let args = ["migrate", "dry-run", scripts.folder()];
    let args = [&args[..], &["--scratch", &scratch]].concat();
    let sound = target.run(&args);
    assert_eq!(sound.code, 0, "{}", sound.stderr);
    assert!(
        sound
            .stdout
            .contains("default/player: 10 records tried for version 1: 10 would change, 0 cannot"),
        "{}",
        sound.stdout
    );
    assert!(
        sound.stderr.contains("the records are those of commit "),
        "{}",
        sound.stderr
    );
    assert!(!Path::new(&scratch).exists());
    let sample = target.ok(&[&args[..], &["player", "--sample=5", "--json"]].concat());
    let sample: Value = serde_json::from_str(&sample).unwrap();
    assert_eq!(
        (&sample["records"], &sample["changed"]),
        (&5.into(), &5.into())
    );

    for moment in ["never", "seq:99"] {
        let ran = target.run(&[&args[..], &["--to", moment]].concat());
        assert_eq!(ran.code, 3, "{moment}: {}", ran.stderr);
    }
    let nowhere = run(program()
        .args(["migrate", "dry-run", scripts.folder(), "--from"])
        .arg(target.path("nowhere")));
    assert_ne!(nowhere.code, 0);
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
}

#[test]
fn a_backup_of_before_has_records_that_cannot_be_migrated() {
    let (server, target) = (Server::start(), Target::new());
    let scripts = Scripts::new();
    scripts.write("_any/player/0001_level.lua", LEVEL);
    put_players(&server, 10, &[4, 5]);
    server.ok(&["put", "--namespace=other", "player/1", r#"{"name": "Eve"}"#]);
    target.take(&server, &["--label=first"]);
    server.ok(&["put", "player/p004", r#"{"name": "Bob"}"#]);
    target.take(&server, &["--incremental"]);
    let args = [
        "migrate",
        "dry-run",
        scripts.folder(),
        "--backup=first",
        "--json",
    ];
    let tried = target.run(&args);
    assert_eq!(tried.code, 3, "{}", tried.stderr);
    let told: Value = serde_json::from_str(&tried.stdout).unwrap();
    assert_eq!(told["collection"], "_any/player");
    assert_eq!(
        (&told["records"], &told["failed"]),
        (&11.into(), &2.into()),
        "{told}"
    );
    let failure = &told["failures"][0];
    assert_eq!(failure["records"], 2, "{told}");
    assert_eq!(failure["example"], "default/player/p004");
    let error: Value = serde_json::from_str(&tried.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "migration_failed");
}

#[test]
fn a_backup_is_tried_where_an_apply_would_go_and_by_the_limits_of_its_store() {
    let (server, target) = (Server::start(), Target::new());
    let scripts = Scripts::new();
    let folder = scripts.folder();
    scripts.write("_any/player/0001_level.lua", LEVEL);
    scripts.write("_any/player/0002_purse.lua", PURSE);
    put_players(&server, 4, &[]);
    let eve = r#"{"name": "Eve", "gold": 1}"#;
    server.ok(&["put", "--namespace=other", "player/1", eve]);
    server.ok(&["migrate", "apply", folder, "other/player"]);
    target.take(&server, &[]);
    let dry_run = ["migrate", "dry-run", folder, "_any/player", "--json"];
    let told = target.ok(&[&dry_run[..], &["--to-version=1"]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["to_version"], &told["records"]),
        (&1.into(), &4.into()),
        "the other one is beyond that: {told}"
    );
    let settings = target.path("store.toml");
    fs::write(&settings, "[limits]\nnesting = 1\n").unwrap();
    let tried = target.run(&[&dry_run[..], &["--config", &settings]].concat());
    assert_eq!(tried.code, 3, "{}", tried.stderr);
    let told: Value = serde_json::from_str(&tried.stdout).unwrap();
    assert_eq!(
        (&told["records"], &told["failed"]),
        (&5.into(), &4.into()),
        "{told}"
    );
}
