//! `restore records`: some records of the running store, as they were.

use serde_json::{Value, json};

use super::target::Target;
use crate::{server::Server, sessions::open, terminal::ask_on_a_terminal};

/// Two records as of `then`; since then one is changed, the other deleted, and a third one made.
fn changed() -> Server {
    let server = Server::start();
    server.ok(&["put", "player/42", r#"{"name": "Ann", "gold": 100}"#]);
    server.ok(&["put", "player/43", "[1]"]);
    server.ok(&["mark", "then"]);
    server.ok(&["put", "player/42", r#"{"name": "Ann", "gold": 50}"#]);
    server.ok(&["del", "player/43"]);
    server.ok(&["put", "player/44", "1"]);
    server
}

const ALL: [&str; 5] = ["restore", "records", "--collection=player", "--to", "then"];

#[test]
fn a_rehearsal_shows_what_differs_and_changes_nothing() {
    let server = changed();
    let shown = server.ok(&[&ALL[..], &["--dry-run"]].concat());
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "player/42  changed",
            "  ~ gold: 50 -> 100",
            "player/43  made again",
            "  + [1]",
            "player/44  deleted: it was not there",
            "  - 1",
            "would bring 3 records back to commit 3",
        ]
    );
    assert_eq!(server.ok(&["get", "player/44"]), "1");
    let one = [
        "restore",
        "records",
        "player/42",
        "--to=default@1",
        "--dry-run",
        "--json",
    ];
    let told: Vec<Value> = (server.ok(&one).lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told[0]["record"], "player/42");
    assert_eq!(told[0]["then"]["value"]["gold"], 100);
    assert_eq!(
        told[0]["changes"],
        json!([{"path": "gold", "before": 50, "after": 100}])
    );
    assert_eq!(told[1]["changed"], 1);
    assert_eq!(told[1]["dry_run"], true);
}

#[test]
fn records_are_brought_back_from_the_log_and_the_audit_knows_it() {
    let server = changed();
    let told = server.ok(&[&ALL[..], &["--yes", "--as=ann"]].concat());
    assert!(
        told.ends_with("brought 3 records back to commit 3"),
        "{told}"
    );
    assert_eq!(
        server.ok(&["get", "player/42"]),
        r#"{"name":"Ann","gold":100}"#
    );
    assert_eq!(server.ok(&["get", "player/43"]), "[1]");
    assert_eq!(server.run(&["get", "player/44"]).code, 3);
    let audit = server.ok(&["audit"]);
    assert!(
        audit.contains("restore records") && audit.contains("ann"),
        "{audit}"
    );
    let labels = server.ok(&["mark", "--list"]);
    assert!(labels.contains("before-restore-"), "{labels}");
    let again = server.ok(&[&ALL[..], &["--yes"]].concat());
    assert_eq!(again, "nothing differs from commit 3");
}

#[test]
fn records_are_brought_back_from_backups_under_another_name() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &[]);
    server.ok(&["put", "player/42", "2"]);
    let args = ["restore", "records", "player/42", "--from", &target.url()];
    let told = server.ok(&[&args[..], &["--under=old/ann", "--yes"]].concat());
    assert!(told.starts_with("old/ann  made again\n  + 1\n"), "{told}");
    assert_eq!(server.ok(&["get", "player/42"]), "2");
    assert_eq!(server.ok(&["get", "old/ann"]), "1");
    server.ok(&[&args[..], &["--yes"]].concat());
    assert_eq!(server.ok(&["get", "player/42"]), "1");
}

#[test]
fn the_operator_is_shown_it_and_asked_first() {
    let server = changed();
    let unasked = server.run(&ALL);
    assert_eq!(unasked.code, 2);
    assert!(unasked.stderr.contains("--yes"), "{}", unasked.stderr);
    let (code, asked, _) = ask_on_a_terminal(server.program().args(ALL), "n");
    assert_eq!(code, 1);
    assert!(asked.contains("  ~ gold: 50 -> 100\n"), "{asked}");
    assert!(asked.ends_with("bring 3 records back? [y/N] "), "{asked}");
    assert_eq!(server.ok(&["get", "player/44"]), "1");
    let (code, _, printed) = ask_on_a_terminal(server.program().args(ALL), "yes");
    assert_eq!(code, 0);
    assert!(
        printed.ends_with("brought 3 records back to commit 3\n"),
        "{printed}"
    );
    assert_eq!(server.run(&["get", "player/44"]).code, 3);
    // Nothing is left to ask about.
    let done = server.run(&[&ALL[..], &["--dry-run"]].concat());
    assert_eq!(
        (done.code, &*done.stdout),
        (0, "nothing differs from commit 3\n")
    );
}

#[test]
fn who_loses_a_record_is_named() {
    let server = changed();
    let battle = open(&server, "default", "battle", "battle-3");
    let claim = stillpoint_proto::v1::Op {
        kind: Some(stillpoint_proto::v1::op::Kind::Claim(
            stillpoint_proto::v1::ClaimOp {
                key: Some(stillpoint_proto::v1::RecordKey {
                    collection: "player".into(),
                    key: "42".into(),
                }),
                ..Default::default()
            },
        )),
    };
    (battle.call(claim, stillpoint_client::CallOptions::default())).unwrap();
    let args = ["restore", "records", "player/42", "--to=then"];
    let shown = server.ok(&[&args[..], &["--dry-run"]].concat());
    assert!(
        shown.starts_with("player/42  changed, taken from battle/battle-3\n"),
        "{shown}"
    );
    let told = server.ok(&[&args[..], &["--yes"]].concat());
    assert!(told.ends_with("; 1 record lost its owner"), "{told}");
}

#[test]
fn what_is_not_meant_is_refused() {
    let server = changed();
    for (args, code, words) in [
        (&["player/42"][..], 2, "--to"),
        (
            &["player/42", "guild/7", "--to=then"],
            2,
            "one collection at a time",
        ),
        (&["player", "--to=then"], 2, "write COLLECTION/KEY"),
        (
            &["player/42", "--to=then", "--yes", "--confirm=00000000"],
            1,
            "this is store",
        ),
        (
            &["player/42", "--to=latest", "--yes"],
            1,
            "name a moment, or backups",
        ),
        (
            &["player/42", "--to=never", "--yes"],
            3,
            "no moment is labelled never",
        ),
        (&["player/42", "--to=seq:99", "--yes"], 3, "there is no 99"),
    ] {
        let ran = server.run(&[&["restore", "records"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
    }
}
