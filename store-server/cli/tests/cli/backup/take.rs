//! `backup create`, `list`, `describe` and `verify`.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;

use super::target::Target;
use crate::server::Server;

#[test]
fn a_backup_is_taken_listed_described_and_verified() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "{\"gold\": 100}"]);
    let none = target.run(&["backup", "list"]);
    assert_eq!((none.code, &*none.stdout), (0, ""), "{}", none.stderr);
    assert!(none.stderr.starts_with("no backups in "), "{}", none.stderr);

    let full = target.take(&server, &["--label=first"]);
    assert_eq!(
        (&full["kind"], &full["label"]),
        (&"full".into(), &"first".into())
    );
    assert_eq!(full["namespaces"][0]["records"], 1);
    assert_eq!(full["state_hash"].as_str().unwrap().len(), 32);
    server.ok(&["put", "player/43", "{}"]);
    let next = target.take(&server, &["--incremental"]);
    assert_eq!(
        (&next["kind"], &next["parent"]),
        (&"incremental".into(), &full["id"])
    );

    let id = |backup: &Value| backup["id"].as_str().unwrap().to_owned();
    assert_eq!(target.ids(), [id(&full), id(&next)]);
    let table = target.ok(&["backup", "list"]);
    let rows: Vec<_> = table.lines().collect();
    assert!(rows[0].starts_with("BACKUP "), "{table}");
    assert!(
        rows[1].starts_with(&id(&full)) && rows[1].ends_with("first"),
        "{table}"
    );
    assert!(rows[2].contains(" incremental "), "{table}");

    let told = target.ok(&["backup", "describe"]);
    let revision = &next["namespaces"][0]["revision"];
    for part in [
        &*id(&next),
        "needs",
        &id(&full),
        &format!("default: revision {revision}, 2 records"),
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let manifest = target.ok(&["backup", "describe", "first", "--json"]);
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["id"], full["id"]);
    assert!(manifest["files"][0]["blake3"].is_string());

    let sound = target.ok(&["backup", "verify"]);
    assert!(
        sound.contains(" is sound: ") && sound.contains("2 backups"),
        "{sound}"
    );
    let scratch = target.path("");
    let tried = target.ok(&[
        "backup",
        "verify",
        "--restore",
        "--scratch",
        &scratch,
        "--json",
    ]);
    let tried: Value = serde_json::from_str(&tried).unwrap();
    assert_eq!(tried["state_hash"], next["state_hash"]);
}

#[test]
fn people_are_told_what_was_taken() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    let url = target.url();
    let told = server.ok(&["backup", "create", "--to", &url, "--rate=50MiB"]);
    let names: Vec<_> = told
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        ["backup", "kind", "as", "records", "size", "state"],
        "{told}"
    );
}

#[test]
fn what_cannot_be_taken_says_why() {
    let (server, target) = (Server::start(), Target::new());
    let url = target.url();
    let create = |args: &[&str]| server.run(&[&["backup", "create", "--to", &url], args].concat());
    let orphan = create(&["--incremental"]);
    assert_eq!(orphan.code, 1, "{}", orphan.stderr);
    assert!(
        orphan.stderr.contains("take a full backup first"),
        "{}",
        orphan.stderr
    );
    let label = create(&["--label=14:05"]);
    assert_eq!(label.code, 2);
    assert!(
        label.stderr.contains("invalid label \"14:05\""),
        "{}",
        label.stderr
    );
    let nowhere = server.run(&["backup", "create", "--to", "ftp://somewhere"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.stderr.contains("is no place for backups"),
        "{}",
        nowhere.stderr
    );
    assert_eq!(create(&["--rate=0"]).code, 2);

    let other = Server::start();
    server.ok(&["put", "a/1", "1"]);
    target.take(&server, &[]);
    let foreign = other.run(&["backup", "create", "--to", &url]);
    assert_eq!(foreign.code, 1);
    assert!(
        foreign.stderr.contains("has the backups of store"),
        "{}",
        foreign.stderr
    );
}

#[test]
fn there_is_one_backup_at_a_time_and_who_leaves_gives_it_up() {
    let (mut server, target) = (Server::start(), Target::new());
    let value = format!("{:?}", "x".repeat(100_000));
    for n in 0..20 {
        let ran = server.run_with_input(&["put", &format!("big/{n}"), "-"], value.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let url = target.url();
    // Slow enough to be met by the other one.
    let mut slow = server
        .program()
        .args([
            "backup",
            "create",
            "--as=ann",
            "--rate=100KiB",
            "--to",
            &url,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.wait_for("a backup begins");
    let second = server.run(&["backup", "create", "--to", &url, "--json"]);
    assert_eq!(second.code, 1);
    let error: Value = serde_json::from_str(&second.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "rate_limited");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("asked for by ann"), "{message}");

    slow.kill().unwrap();
    slow.wait().unwrap();
    server.wait_for("a backup was given up: its caller left");
    assert_eq!(target.ids(), Vec::<String>::new());
    target.take(&server, &[]);
    assert_eq!(target.ids().len(), 1);
}

#[test]
fn a_damaged_file_is_found_and_named() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "{\"gold\": 100}"]);
    let taken = target.take(&server, &[]);
    let data = Path::new(&target.url())
        .join("data")
        .join(taken["id"].as_str().unwrap());
    let file = fs::read_dir(data).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let found = target.run(&["backup", "verify"]);
    assert_eq!(found.code, 1);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(found.stderr.contains(name), "{}", found.stderr);
    let into = target.path("restored");
    let refused = target.run(&["restore", "--into", &into]);
    assert_eq!(refused.code, 1);
    assert!(!Path::new(&into).exists());
}
