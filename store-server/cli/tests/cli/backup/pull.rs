//! `backup pull`, whose ends are killed; `backup key`, and what it encrypts.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::target::Target;
use crate::server::{Server, run};

/// A server with records of several files.
fn filled() -> Server {
    let server = Server::start();
    let value = format!("{:?}", "x".repeat(1_000_000));
    for n in 0..30 {
        let ran = server.run_with_input(&["put", &format!("big/{n}"), "-"], value.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    server
}

/// Begins to pull so slowly that it can be killed in the middle, and waits until a part of it is there.
fn begin(server: &Server, target: &Target) -> Child {
    let pulling = server
        .program()
        .args(["backup", "pull", "--json", "--rate=8MiB", "--to"])
        .arg(target.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let note = Path::new(&target.url()).join("partial.json");
    let begun = Instant::now();
    while !note.exists() {
        assert!(begun.elapsed() < PATIENCE, "nothing was pulled");
        thread::sleep(Duration::from_millis(5));
    }
    pulling
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pulls to the end; gives what is told of the backup, and what is said besides.
fn pull(server: &Server, target: &Target, flags: &[&str]) -> (Value, String) {
    let url = target.url();
    let args = ["backup", "pull", "--json", "--rate=unlimited", "--to", &url];
    let ran = server.run(&[&args, flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (serde_json::from_str(&ran.stdout).unwrap(), ran.stderr)
}

#[test]
fn a_backup_is_pulled_and_restored() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    let (full, _) = pull(&server, &target, &["--label=first"]);
    assert_eq!(
        (&full["kind"], &full["label"]),
        (&"full".into(), &"first".into())
    );
    server.ok(&["put", "player/42", "2"]);
    let (next, _) = pull(&server, &target, &["--incremental"]);
    assert_eq!(next["parent"], full["id"]);
    target.ok(&["restore", "--into", &target.path("restored")]);
    assert_eq!(target.serve("restored").ok(&["get", "player/42"]), "2");
    let orphan = server.run(&[
        "backup",
        "pull",
        "--incremental",
        "--to",
        &target.path("none"),
    ]);
    assert_eq!(orphan.code, 1);
    assert!(
        orphan.stderr.contains("take a full backup first"),
        "{}",
        orphan.stderr
    );
}

#[test]
fn who_is_killed_while_he_pulls_goes_on_the_next_time() {
    let (server, target) = (filled(), Target::new());
    let mut pulling = begin(&server, &target);
    let url = target.url();
    let second = server.run(&["backup", "pull", "--to", &url]);
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains("another process is pulling"),
        "{}",
        second.stderr
    );
    pulling.kill().unwrap();
    pulling.wait().unwrap();
    assert_eq!(target.ids(), Vec::<String>::new());
    server.ok(&["put", "big/0", "1"]);
    // The server gives up the first one as soon as it finds that its caller has left.
    let begun = Instant::now();
    let told = loop {
        let ran = server.run(&["backup", "pull", "--json", "--rate=unlimited", "--to", &url]);
        if ran.code == 0 {
            break ran.stderr;
        }
        assert!(ran.stderr.contains("rate_limited"), "{}", ran.stderr);
        assert!(begun.elapsed() < PATIENCE);
    };
    assert!(
        told.contains("going on with a backup that was cut off"),
        "{told}"
    );
    target.ok(&["restore", "--into", &target.path("restored")]);
    assert_eq!(target.serve("restored").ok(&["get", "big/0"]), "1");
}

#[test]
fn a_pull_outlives_the_server() {
    let (server, target) = (filled(), Target::new());
    let pulling = begin(&server, &target);
    let server = Server::start_in(server.kill(), &[]);
    let ended = pulling.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let pulled: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(pulled["records"].as_u64() >= Some(30), "{pulled}");
    drop(server);
    target.ok(&[
        "backup",
        "verify",
        "--restore",
        "--scratch",
        &target.path(""),
    ]);
}

#[test]
fn what_is_encrypted_is_restored_with_its_key() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    let key = target.path("key");
    let made = server.ok(&["backup", "key", "--out", &key, "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let id = made["key_id"].as_str().unwrap();
    assert_eq!(
        server.run(&["backup", "key", "--out", &key]).code,
        1,
        "not overwritten"
    );

    target.take(&server, &["--key-file", &key]);
    pull(&server, &target, &["--incremental", "--key-file", &key]);
    target.ok(&["backup", "verify"]);
    let into = target.path("restored");
    let keyless = target.run(&["restore", "--into", &into]);
    assert_eq!(keyless.code, 2, "{}", keyless.stderr);
    for part in [id, "--key-file", "backup.key_file"] {
        assert!(keyless.stderr.contains(part), "{part}: {}", keyless.stderr);
    }
    target.ok(&["restore", "--into", &into, "--key-file", &key]);
    assert_eq!(target.serve("restored").ok(&["get", "player/42"]), "1");
    target.ok(&[
        "backup",
        "verify",
        "--restore",
        "--scratch",
        &target.path(""),
        "--key-file",
        &key,
    ]);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let url = target.url();
    let args = ["--to", &url, "--key-file", &key];
    for command in ["create", "pull"] {
        let open = server.run(&[&["backup", command], &args[..]].concat());
        assert_ne!(open.code, 0);
        assert!(open.stderr.contains("chmod 600"), "{}", open.stderr);
    }
    // The one who was refused has not kept the turn.
    assert_eq!(
        run(server.program().args(["backup", "create", "--to", &url])).code,
        0
    );
}
