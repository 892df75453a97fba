//! `restore --live`: the store that is running goes back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::target::Target;
use crate::{server::Server, terminal::type_on_a_terminal};

/// A server whose data directory has the target's room beside it.
pub fn start(target: &Target, flags: &[&str]) -> Server {
    let data = tempfile::Builder::new()
        .prefix("data")
        .tempdir_in(target.path(""));
    Server::start_in(data.unwrap(), flags)
}

/// How a server is.
fn status(server: &Server) -> Value {
    serde_json::from_str(&server.ok(&["status", "--json"])).unwrap()
}

/// The first digits of a store's identity.
fn digits(server: &Server) -> String {
    status(server)["store_id"].as_str().unwrap()[..8].to_owned()
}

/// Restores the running store; gives what is told of it.
pub fn restore(server: &Server, target: &Target, flags: &[&str]) -> Value {
    let (url, digits) = (target.url(), digits(server));
    let args = [
        &["restore", "--live", "--json", "--from", &url][..],
        &["--confirm", &digits],
        flags,
    ];
    serde_json::from_str(&server.ok(&args.concat())).unwrap()
}

/// What is beside the data directory, but for the backups.
fn beside(server: &Server) -> Vec<PathBuf> {
    let parent = server.directory().parent().unwrap();
    let items = fs::read_dir(parent).unwrap();
    let mut paths: Vec<_> = items
        .map(|item| item.unwrap().path())
        .filter(|path| path != server.directory() && !path.ends_with("backups"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn the_running_store_goes_back_and_what_was_there_is_kept() {
    let target = Target::new();
    let server = start(&target, &[]);
    server.ok(&["put", "player/42", "100"]);
    server.ok(&["put", "--namespace=other", "guild/7", "[1]"]);
    server.ok(&["mark", "before-2.0"]);
    server.ok(&["put", "player/42", "50"]);
    target.take(&server, &[]);
    server.ok(&["put", "player/42", "0"]);
    fs::write(server.directory().join("notes.txt"), "of an operator").unwrap();

    let url = target.url();
    let live = ["restore", "--live", "--from", &url];
    let dry = server.ok(&[&live[..], &["--dry-run"]].concat());
    assert!(dry.starts_with("would bring store "), "{dry}");
    assert!(dry.contains("back to commit "), "{dry}");
    assert!(dry.contains("as incarnation 2"), "{dry}");
    assert_eq!(server.ok(&["get", "player/42"]), "0", "a rehearsal");
    assert_eq!(beside(&server), [] as [&Path; 0]);

    let told = restore(&server, &target, &[]);
    assert_eq!(told["incarnation"], 2);
    assert!(told["commits_given_up"].as_u64().unwrap() >= 1, "{told}");
    assert_eq!(server.ok(&["get", "player/42"]), "50");
    assert_eq!(server.ok(&["get", "--namespace=other", "guild/7"]), "[1]");
    let notes = server.directory().join("notes.txt");
    assert_eq!(fs::read_to_string(notes).unwrap(), "of an operator");
    let now = status(&server);
    assert_eq!(now["incarnation"], 2);
    server.ok(&["put", "player/42", "49"]);

    // What was given up has a label of its own, and a server finds all of it.
    let kept = PathBuf::from(told["kept_in"].as_str().unwrap());
    assert_eq!(beside(&server), [&*kept]);
    let name = kept.file_name().unwrap().to_str().unwrap();
    assert!(name.contains(".before-"), "{name}");
    let old = target.serve(name);
    assert_eq!(old.ok(&["get", "player/42"]), "0");
    assert!(old.ok(&["mark", "--list"]).contains("before-restore-"));
    drop(old);

    // The same backups, once more, from what came of them.
    let told = restore(&server, &target, &[]);
    assert_eq!(told["incarnation"], 3);
}

#[test]
fn a_label_is_gone_back_to_and_backups_go_on() {
    let target = Target::new();
    let server = start(&target, &[]);
    server.ok(&["put", "player/42", "100"]);
    target.take(&server, &[]);
    server.ok(&["mark", "before-2.0"]);
    server.ok(&["put", "player/42", "50"]);
    target.take(&server, &["--incremental"]);
    restore(&server, &target, &["--to", "before-2.0"]);
    assert_eq!(server.ok(&["get", "player/42"]), "100");
    server.ok(&["put", "player/42", "99"]);
    target.take(&server, &[]);
    let told = restore(&server, &target, &[]);
    assert_eq!(told["incarnation"], 3);
    assert_eq!(server.ok(&["get", "player/42"]), "99");
    let audit = server.ok(&["audit"]);
    assert!(audit.contains("restore --live"), "{audit}");
}

#[test]
fn only_the_store_that_was_meant_is_replaced() {
    let target = Target::new();
    let server = start(&target, &[]);
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &[]);
    server.ok(&["put", "player/42", "2"]);
    let url = target.url();
    let live = ["restore", "--live", "--from", &url];

    let unasked = server.run(&live);
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);
    assert!(
        unasked.stderr.contains("say --confirm"),
        "{}",
        unasked.stderr
    );
    let digits = digits(&server);
    for wrong in ["00000000", &digits[..7]] {
        let refused = server.run(&[&live[..], &["--confirm", wrong]].concat());
        assert_eq!(refused.code, 1);
        let both = refused.stderr.contains(&digits) && refused.stderr.contains(wrong);
        assert!(both, "{}", refused.stderr);
    }
    // The right store, and the backups of another one.
    let other = start(&target, &[]);
    let own = status(&other)["store_id"].as_str().unwrap()[..8].to_owned();
    let foreign = other.run(&[&live[..], &["--confirm", &own]].concat());
    assert_eq!(foreign.code, 1);
    assert!(
        foreign.stderr.contains("has the backups of store"),
        "{}",
        foreign.stderr
    );
    drop(other);

    let mut command = server.program();
    command.args(live);
    let (code, asked, printed) = type_on_a_terminal(&mut command, "to go on: ", "yes");
    assert_eq!((code, &*printed), (1, ""), "{asked}");
    assert!(asked.contains("would be given up"), "{asked}");
    assert_eq!(server.ok(&["get", "player/42"]), "2", "nobody said yes");
    let mut command = server.program();
    command.args(live);
    let (code, _, printed) = type_on_a_terminal(&mut command, "to go on: ", &digits);
    assert_eq!(code, 0);
    assert!(printed.contains("is brought back to commit"), "{printed}");
    assert_eq!(server.ok(&["get", "player/42"]), "1");
}

#[test]
fn a_backup_or_a_moment_that_there_is_not_has_an_exit_code_of_its_own() {
    let target = Target::new();
    let server = start(&target, &[]);
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &[]);
    let (url, digits) = (target.url(), digits(&server));
    let live = ["restore", "--live", "--confirm", &digits];
    let records = ["restore", "records", "player/42", "--yes"];
    for command in [&live[..], &records] {
        for moment in ["never", "seq:99"] {
            let from = ["--json", "--from", &url, "--to", moment];
            let ran = server.run(&[command, &from].concat());
            assert_eq!(ran.code, 3, "{command:?} {moment}: {}", ran.stderr);
            let told: Value = serde_json::from_str(&ran.stderr).unwrap();
            assert_eq!(told["error"]["reason"], "not_found", "{told}");
        }
    }
    assert_eq!(status(&server)["incarnation"], 1);
}

#[test]
fn a_restore_that_fails_changes_nothing() {
    let target = Target::new();
    let server = start(&target, &[]);
    server.ok(&["put", "player/42", "1"]);
    let id = target.take(&server, &[])["id"].as_str().unwrap().to_owned();
    server.ok(&["put", "player/42", "2"]);
    let digits = digits(&server);
    let fails = |url: &str, name: &str| {
        let ran = server.run(&["restore", "--live", "--confirm", &digits, "--from", url]);
        assert_ne!(ran.code, 0, "{name}");
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
        server.ok(&["put", "player/42", "3"]);
        assert_eq!(status(&server)["incarnation"], 1);
        assert_eq!(beside(&server), [] as [&Path; 0], "{name}");
    };
    fails(&target.path("backups/nothing"), "nothing");
    fails("http://127.0.0.1:9/bucket", "127.0.0.1:9");
    let data = Path::new(&target.url()).join("data").join(id);
    let mut files = fs::read_dir(data).unwrap().map(|item| item.unwrap().path());
    let path = files.find(|path| path.extension().is_some_and(|e| e == "zst"));
    let path = path.expect("a backup has files");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, bytes).unwrap();
    fails(&target.url(), path.file_name().unwrap().to_str().unwrap());
}

#[test]
fn sockets_outside_the_data_directory_are_listened_on_again() {
    let target = Target::new();
    let (socket, admin) = (target.path("s"), target.path("a"));
    let server = start(&target, &["--socket", &socket, "--admin-socket", &admin]);
    let ok = |args: &[&str]| {
        let mut program = server.program();
        program
            .env("STILLPOINT_URL", format!("unix:{socket}"))
            .env("STILLPOINT_ADMIN", format!("unix:{admin}"))
            .args(args);
        let ran = crate::server::run(&mut program);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    };
    ok(&["put", "player/42", "1"]);
    let url = target.url();
    ok(&["backup", "create", "--to", &url]);
    ok(&["put", "player/42", "2"]);
    let now: Value = serde_json::from_str(&ok(&["status", "--json"])).unwrap();
    let digits = &now["store_id"].as_str().unwrap()[..8];
    ok(&["restore", "--live", "--from", &url, "--confirm", digits]);
    assert_eq!(ok(&["get", "player/42"]), "1");
}
