//! `get`, `put`, `del`, `scan`, `txn`, `status` against a real server.

use serde_json::{Value, json};

use crate::server::{Server, program, run};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_record_is_written_read_and_deleted() {
    let server = Server::start();
    assert_eq!(
        server.ok(&["put", "player/42", r#"{"name": "Ann", "gold": 100}"#]),
        "1"
    );
    assert_eq!(
        server.ok(&["get", "player/42"]),
        r#"{"name":"Ann","gold":100}"#
    );
    let meta = server.ok(&["get", "--meta", "player/42"]);
    assert_eq!(
        parsed(&meta),
        json!({"value": {"name": "Ann", "gold": 100}, "rev": 1, "version": 1, "create_rev": 1})
    );
    assert_eq!(
        server.ok(&["--json", "put", "player/42", "-7"]),
        r#"{"rev":2,"version":2}"#
    );
    assert_eq!(server.ok(&["del", "player/42"]), "3");
    for command in ["get", "del"] {
        let missing = server.run(&[command, "player/42"]);
        assert_eq!(
            (missing.code, missing.stderr.as_str()),
            (3, "error: player/42 does not exist\n")
        );
        assert_eq!(missing.stdout, "");
    }
}

#[test]
fn values_that_json_lacks_come_back() {
    let server = Server::start();
    for value in [
        "null",
        "1.0",
        "18446744073709551615",
        "-9223372036854775808",
        r#"{"$bin":"AP8="}"#,
        r#"{"$ext":[7,"AP8="]}"#,
        r#"{"$f32":1.5}"#,
        r#"{"$float":"inf"}"#,
        r#"{"$map":[[1,"one"],[-2,{"$bin":""}]]}"#,
        r#"[{},[],"ä\n"]"#,
    ] {
        server.ok(&["put", "value/1", value]);
        assert_eq!(server.ok(&["get", "value/1"]), value);
    }
}

#[test]
fn a_value_is_an_argument_a_file_or_stdin() {
    let server = Server::start();
    let file = server.directory().join("value.json");
    std::fs::write(&file, "{\n  \"from\": \"file\"\n}\n").unwrap();
    server.ok(&["put", "a/1", &format!("@{}", file.display())]);
    assert_eq!(server.ok(&["get", "a/1"]), r#"{"from":"file"}"#);
    assert_eq!(server.run_with_input(&["put", "a/1", "-"], b"[1]").code, 0);
    assert_eq!(server.ok(&["get", "a/1"]), "[1]");
}

#[test]
fn a_guard_that_does_not_hold_ends_with_3_and_changes_nothing() {
    let server = Server::start();
    server.ok(&["put", "a/1", "1", "--if-absent"]);
    for args in [
        &["put", "a/1", "2", "--if-absent"][..],
        &["put", "a/1", "2", "--if-rev", "7"],
        &["del", "a/1", "--if-rev", "7"],
    ] {
        let refused = server.run(args);
        assert_eq!(refused.code, 3, "{args:?}");
        assert!(
            refused.stderr.contains("the record is at revision 1"),
            "{}",
            refused.stderr
        );
    }
    let refused = server.run(&["put", "a/1", "2", "--if-rev", "7", "--json"]);
    let error = &parsed(&refused.stderr)["error"];
    assert_eq!(error["reason"], "version_conflict");
    assert_eq!(error["record"], "a/1");
    assert_eq!(
        error["current"],
        json!({"value": 1, "rev": 1, "version": 1, "create_rev": 1})
    );
    assert_eq!(server.ok(&["get", "a/1"]), "1");
    assert_eq!(server.ok(&["put", "a/1", "2", "--if-rev", "1"]), "2");
    assert_eq!(server.ok(&["del", "a/1", "--if-rev", "2"]), "3");
}

#[test]
fn a_ttl_is_told_as_the_time_of_expiry() {
    let server = Server::start();
    server.ok(&["put", "a/1", "1", "--ttl", "1h"]);
    let meta = parsed(&server.ok(&["get", "a/1", "--meta"]));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let left = meta["expires_at_ms"].as_u64().unwrap() - now;
    assert!(
        (3_000_000..=3_600_000).contains(&left),
        "{left} ms are left"
    );
}

#[test]
fn keys_of_any_bytes_are_percent_encoded() {
    let server = Server::start();
    server.ok(&["put", "blob/%00%FF/x%25", "1"]);
    assert_eq!(server.ok(&["get", "blob/%00%FF/x%25"]), "1");
    assert!(server.ok(&["scan", "blob"]).contains("%00%FF/x%25"));
    let line = parsed(&server.ok(&["scan", "blob", "--json", "--prefix", "%00"]));
    assert_eq!(line["key"], json!({"$bin": "AP8veCU="}));
}

#[test]
fn a_scan_goes_over_all_pages_in_order() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--max-scan-page=3"]);
    for i in 10..30 {
        server.ok(&["put", &format!("n/{i}"), &i.to_string()]);
    }
    let keys = |args: &[&str]| {
        let lines = server.ok(&[&["scan", "n", "--json"], args].concat());
        let key = |line: &str| parsed(line)["key"].as_str().unwrap().to_owned();
        lines.lines().map(key).collect::<Vec<_>>()
    };
    let numbers = |from: i32, to: i32| (from..to).map(|i| i.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(&[]), numbers(10, 30));
    assert_eq!(keys(&["--prefix", "2"]), numbers(20, 30));
    assert_eq!(keys(&["--start", "12", "--end", "19"]), numbers(12, 19));
    assert_eq!(keys(&["--limit", "7"]), numbers(10, 17));
    let reversed: Vec<_> = numbers(10, 30).into_iter().rev().collect();
    assert_eq!(keys(&["--reverse"]), reversed);
    assert_eq!(keys(&["--reverse", "--limit", "4"]), reversed[..4]);
    let line = server.ok(&["scan", "n", "--json", "--limit", "1", "--keys-only"]);
    assert_eq!(parsed(&line).get("value"), None);
    let table = server.run(&["scan", "n", "--limit", "2"]);
    assert_eq!(table.stdout.lines().count(), 3);
    assert!(
        table.stderr.contains("there are more than these 2"),
        "{}",
        table.stderr
    );
    assert_eq!(server.run(&["scan", "nothing"]).stderr, "no records\n");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let server = Server::start();
    let big = format!("\"{}\"", "x".repeat(500_000));
    for i in 0..3 {
        server.run_with_input(&["put", &format!("n/{i}"), "-"], big.as_bytes());
    }
    let mut scan = server
        .program()
        .args(["scan", "n", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(scan.stdout.take());
    let output = scan.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn a_transaction_does_one_branch_as_one_commit() {
    let server = Server::start();
    server.ok(&["put", "player/1", r#"{"gold": 60, "log": []}"#]);
    let trade = br#"{
        "guards": [{"record": "player/1", "field": "gold", "is": ">=", "value": 50}],
        "then": [
            {"patch": "player/1", "steps": [["add", "gold", -50, {"min": 0}], ["append", "log", "paid"]]},
            {"put": "player/2", "value": {"gold": 50}},
            {"del": "offer/7"},
            {"get": "player/1"}
        ],
        "otherwise": [{"get": "player/1"}]
    }"#;
    let done = parsed(&server.run_with_input(&["txn", "-f", "-"], trade).stdout);
    assert_eq!(
        (&done["succeeded"], &done["rev"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        done["results"][0],
        json!({"rev": 2, "version": 2, "steps": [10, 1]})
    );
    assert_eq!(done["results"][1], json!({"rev": 2, "version": 1}));
    assert_eq!(done["results"][2]["existed"], false);
    assert_eq!(
        done["results"][3]["value"],
        json!({"gold": 10, "log": ["paid"]})
    );

    let refused = server.run_with_input(&["txn", "-f", "-"], trade);
    assert_eq!(refused.code, 0);
    assert_eq!(parsed(&refused.stdout)["succeeded"], false);
    assert_eq!(parsed(&refused.stdout)["results"][0]["value"]["gold"], 10);

    let bare = br#"{"guards": [{"record": "player/1", "rev": 1}], "then": [{"del": "player/1"}]}"#;
    let refused = server.run_with_input(&["txn", "-f", "-"], bare);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    let bound =
        br#"{"then": [{"patch": "player/1", "steps": [["add", "gold", -50, {"min": 0}]]}]}"#;
    assert_eq!(server.run_with_input(&["txn", "-f", "-"], bound).code, 3);
    let malformed = server.run_with_input(&["txn", "-f", "-"], br#"{"then": [{"pet": "a/1"}]}"#);
    assert_eq!(malformed.code, 2);
    assert!(
        malformed
            .stderr
            .contains("then[0] must have one of get, put, patch, del")
    );
    assert_eq!(
        server.ok(&["get", "player/1"]),
        r#"{"gold":10,"log":["paid"]}"#
    );
}

#[test]
fn the_status_counts_what_was_done() {
    let server = Server::start();
    for i in 0..3 {
        server.ok(&["put", &format!("a/{i}"), "1", "--namespace", "world1"]);
    }
    server.ok(&["put", "a/1", "1"]);
    let status = parsed(&server.ok(&["status", "--json"]));
    assert_eq!(status["counters"]["commits"], 4);
    let namespaces = json!([
        {"namespace": "default", "revision": 1, "records": 1},
        {"namespace": "world1", "revision": 3, "records": 3}
    ]);
    assert_eq!(status["namespaces"], namespaces);
    let table = server.ok(&["status"]);
    for word in ["world1", "process", "segments", "writes"] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let server = Server::start();
    server.ok(&["put", "a/1", "\"kept\""]);
    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    let server = Server::start_in(directory, &[]);
    assert_eq!(server.ok(&["get", "a/1"]), "\"kept\"");
    let second = run(program()
        .args(["serve", "--data-dir"])
        .arg(server.directory()));
    assert_eq!(second.code, 1, "{}", second.stderr);
}

#[test]
fn mistakes_end_with_the_code_and_the_remedy() {
    let server = Server::start();
    for (args, code, message) in [
        (
            &["get", "player"][..],
            2,
            "write COLLECTION/KEY, e.g. player/42",
        ),
        (
            &["put", "a/1", "Ann"],
            2,
            "a string is written with its quotes",
        ),
        (
            &["put", "a/1", "@no-such-file"],
            2,
            "cannot read no-such-file",
        ),
        (
            &["put", "a/1", "1", "--ttl", "60"],
            2,
            "write a time with its unit",
        ),
        (
            &["put", "a/1", "1", "--if-absent", "--if-rev", "1"],
            2,
            "cannot be used with",
        ),
        (
            &["get", "a/1", "--namespace", "World"],
            2,
            "invalid namespace name",
        ),
        (&["scan", "a", "--limit", "x"], 2, "invalid value 'x'"),
        (&["nonsense"], 2, "unrecognized subcommand"),
    ] {
        let ran = server.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
    }
    for args in [
        &["get", "a/1", "--url", "unix:no-such.sock"][..],
        &["status", "--admin", "unix:no-such.sock"],
    ] {
        let ran = server.run(args);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains("hint: is it running? Start it with `stillpoint serve`"),
            "{}",
            ran.stderr
        );
        let ran = server.run(&[args, &["--json"]].concat());
        assert_eq!(parsed(&ran.stderr)["error"]["reason"], "unavailable");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(program().args(["completions", shell]));
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("scan"), "{shell}");
    }
}

#[test]
fn lua_runs_files_and_code_with_arguments() {
    let ran = run(program().args(["lua", "-e", "print(_VERSION, ...)", "--", "a", "-b"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Lua 5.4\ta\t-b\n"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "print(arg[1], select('#', ...))").unwrap();
    let ran = run(program().arg("lua").arg(file.path()).args(["--flag", "x"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "--flag\t2\n"));
    let ran = run(program().args(["lua", "-e", "error('no luck')"]));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no luck"), "{}", ran.stderr);
    assert_eq!(run(program().arg("lua")).code, 2);
}
