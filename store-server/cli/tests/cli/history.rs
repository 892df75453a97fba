//! `history` and `mark`, against a real server.

use std::time::Duration;

use serde_json::{Value, json};
use stillpoint_client::CallOptions;
use stillpoint_proto::v1::{Op, PutOp, RecordKey, op};

use crate::{server::Server, sessions::open};

fn lines(server: &Server, args: &[&str]) -> Vec<Value> {
    let text = server.ok(&[args, &["--json"]].concat());
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_history_says_when_who_and_what_changed() {
    let server = Server::start();
    server.ok(&[
        "put",
        "player/42",
        r#"{"name": "Ann", "gold": 100, "bag": []}"#,
    ]);
    server.ok(&["put", "player/43", "{}"]);
    server.ok(&[
        "put",
        "player/42",
        r#"{"name": "Ann", "gold": 50, "bag": ["rope"]}"#,
    ]);
    server.ok(&["del", "player/42"]);
    server.ok(&["put", "player/42", "7"]);

    let ran = server.run(&["history", "player/42"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: Vec<_> = ran.stdout.lines().collect();
    let heads = [
        (0, "revision 5 ", "created"),
        (2, "revision 4 ", "deleted"),
        (4, "revision 3 ", "written"),
    ];
    for (at, head, what) in heads {
        assert!(
            rows[at].starts_with(head) && rows[at].ends_with(what),
            "{}",
            ran.stdout
        );
    }
    assert_eq!(rows[1], "  + 7");
    assert_eq!(rows[3], r#"  - {"name":"Ann","gold":50,"bag":["rope"]}"#);
    assert_eq!(rows[5..7], ["  ~ gold: 100 -> 50", r#"  + bag[0]: "rope""#]);
    assert!(rows[7].starts_with("revision 1 "), "{}", ran.stdout);
    assert!(
        ran.stderr.starts_with("the log begins with commit 1 of "),
        "{}",
        ran.stderr
    );

    let newest = server.run(&["history", "player/42", "--limit=2"]);
    assert_eq!(newest.stderr, "there may be more: go on with --before=4\n");
    let found = lines(&server, &["history", "player/42", "--limit=2"]);
    let revisions: Vec<_> = found
        .iter()
        .map(|entry| entry["revision"].as_u64())
        .collect();
    assert_eq!(revisions, [Some(5), Some(4)]);
    assert_eq!(found[0]["value"], 7);
    assert_eq!(found[1]["value"], Value::Null);
    assert_eq!(found[1]["changes"][0]["before"]["gold"], 50);
    let older = lines(&server, &["history", "player/42", "--before=4", "--all"]);
    assert_eq!(older.len(), 2);
    let gold = json!({"path": "gold", "before": 100, "after": 50});
    assert_eq!(older[0]["changes"][0], gold);

    let none = server.run(&["history", "player/44"]);
    assert_eq!(none.code, 3);
    assert!(
        none.stderr.starts_with(
            "error: no commit in the log wrote player/44: the log begins with commit 1"
        ),
        "{}",
        none.stderr
    );
}

#[test]
fn a_history_names_the_process_that_wrote_also_when_its_session_is_over() {
    let server = Server::start();
    let battle = open(&server, "default", "battle", "battle-3");
    let put = Op {
        kind: Some(op::Kind::Put(PutOp {
            key: Some(RecordKey {
                collection: "player".into(),
                key: "42".into(),
            }),
            value: vec![1].into(),
            ..PutOp::default()
        })),
    };
    battle.call(put, CallOptions::default()).unwrap();
    let found = lines(&server, &["history", "player/42"]);
    assert_eq!(found[0]["service"], "battle");
    assert_eq!(found[0]["instance"], "battle-3");
    let within = Duration::from_secs(5);
    battle.close_session(false, Duration::ZERO, within).unwrap();
    assert_eq!(server.ok(&["sessions", "--json"]), "", "it is over");
    let text = server.ok(&["history", "player/42"]);
    assert!(text.contains("  battle/battle-3  created"), "{text}");
}

#[test]
fn labels_are_set_once_and_listed() {
    let server = Server::start();
    let early = server.run(&["mark", "early"]);
    assert_eq!(early.code, 1);
    assert!(
        early.stderr.contains("the store is empty"),
        "{}",
        early.stderr
    );
    assert_eq!(server.run(&["mark", "--list"]).stderr, "no labels\n");
    server.ok(&["put", "player/42", "1"]);
    let told = server.ok(&["mark", "before-2.0", "--note=new prices", "--as=ann"]);
    assert!(told.starts_with("before-2.0 is 2"), "{told}");
    assert!(
        told.ends_with("revision 2 of namespace default, commit 2"),
        "{told}"
    );
    let taken = server.run(&["mark", "before-2.0"]);
    assert_eq!(taken.code, 3);
    assert!(
        taken.stderr.starts_with("error: before-2.0 exists already"),
        "{}",
        taken.stderr
    );
    assert_eq!(server.run(&["mark", "14:05"]).code, 2);
    server.ok(&["mark", "second"]);

    let labels = lines(&server, &["mark", "--list"]);
    assert_eq!(
        (&labels[0]["label"], &labels[1]["label"]),
        (&json!("second"), &json!("before-2.0"))
    );
    assert_eq!(
        (&labels[1]["note"], &labels[1]["actor"]),
        (&json!("new prices"), &json!("ann"))
    );
    let table = server.ok(&["mark", "--list", "--namespace=default"]);
    assert!(
        table.lines().nth(2).unwrap().contains("default@2"),
        "{table}"
    );
}
