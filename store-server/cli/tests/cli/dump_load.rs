//! `dump` and `load` against real servers.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use crate::server::Server;

/// A server with records of all sorts in namespace `world1`.
fn filled() -> Server {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--max-scan-page=4"]);
    for i in 0..10 {
        let (record, value) = (format!("player/{i}"), format!("{{\"n\":{i}}}"));
        server.ok(&["put", &record, &value, "--namespace=world1"]);
    }
    server.ok(&[
        "put",
        "blob/%00%FF",
        r#"{"$map":[[1,{"$bin":"AP8="}]]}"#,
        "--namespace=world1",
    ]);
    server.ok(&["put", "blob/short", "1.0", "--ttl=1h", "--namespace=world1"]);
    server
}

fn dumped(server: &Server) -> String {
    server.ok(&[
        "dump",
        "--collection=player",
        "--collection=blob",
        "--namespace=world1",
    ])
}

/// The records of a dump without what a load does not restore.
fn contents(dump: &str) -> Vec<Value> {
    let content = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for key in ["rev", "version", "create_rev"] {
            line.as_object_mut().unwrap().remove(key);
        }
        // The lifetime is counted anew from the load on.
        if let Some(expires) = line.get_mut("expires_at_ms") {
            *expires = json!("some time");
        }
        line
    };
    dump.lines()
        .filter(|line| line.contains("\"collection\""))
        .map(content)
        .collect()
}

fn load(server: &Server, args: &[&str], dump: &str) -> (i32, Value, String) {
    let args = [&["load", "-", "--json"], args].concat();
    let ran = server.run_with_input(&args, dump.as_bytes());
    let summary = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran.code, summary, ran.stderr)
}

fn summary(written: u64, unchanged: u64, skipped: u64, expired: u64) -> Value {
    json!({
        "written": written, "unchanged": unchanged, "skipped": skipped, "expired": expired,
        "not_compared": 0, "refused": 0, "why_refused": [],
    })
}

#[test]
fn a_dump_loads_into_another_store_and_a_second_load_changes_nothing() {
    let (from, to) = (filled(), Server::start());
    let dump = dumped(&from);
    assert_eq!(dump.lines().count(), 1 + 12 + 1);
    assert_eq!(
        dump.lines().next().unwrap(),
        r#"{"format":"stillpoint-dump","version":1,"namespace":"world1"}"#
    );
    assert_eq!(
        load(&to, &[], &dump),
        (0, summary(12, 0, 0, 0), String::new())
    );
    assert_eq!(contents(&dumped(&to)), contents(&dump));
    assert_eq!(
        load(&to, &[], &dump),
        (0, summary(0, 12, 0, 0), String::new())
    );
    let (code, summary_into, _) = load(&to, &["--namespace=world2"], &dump);
    assert_eq!((code, summary_into), (0, summary(12, 0, 0, 0)));
}

#[test]
fn a_conflict_stops_skips_or_overwrites() {
    let server = filled();
    let dump = dumped(&server);
    server.ok(&["put", "player/3", "\"other\"", "--namespace=world1"]);
    let (code, _, error) = load(&server, &[], &dump);
    assert_eq!(code, 3);
    let error: Value = serde_json::from_str(&error).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("-: line 5: player/3: "), "{message}");
    assert_eq!(error["error"]["current"]["value"], "other");
    let (code, done, _) = load(&server, &["--on-conflict=skip"], &dump);
    assert_eq!((code, done), (0, summary(0, 11, 1, 0)));
    let (code, done, _) = load(&server, &["--on-conflict=overwrite"], &dump);
    assert_eq!((code, done), (0, summary(12, 0, 0, 0)));
    assert_eq!(contents(&dumped(&server)), contents(&dump));
}

#[test]
fn the_newest_of_two_lines_of_a_record_wins_when_overwriting() {
    let server = Server::start();
    let mut dump = r#"{"format":"stillpoint-dump","version":1,"namespace":"default"}"#.to_owned();
    for i in 0..500 {
        dump += &format!(
            "\n{{\"collection\":\"a\",\"key\":\"k{}\",\"value\":{i}}}",
            i % 5
        );
    }
    dump += "\n{\"end\":true,\"records\":500}\n";
    let (code, done, _) = load(&server, &["--on-conflict=overwrite"], &dump);
    assert_eq!((code, done), (0, summary(500, 0, 0, 0)));
    for i in 0..5 {
        assert_eq!(
            server.ok(&["get", &format!("a/k{i}")]),
            (495 + i).to_string()
        );
    }
}

#[test]
fn expired_records_are_left_out() {
    let server = Server::start();
    let dump = r#"{"format":"stillpoint-dump","version":1,"namespace":"default"}
{"collection":"a","key":"k","value":1,"expires_at_ms":1}
{"end":true,"records":1}
"#;
    assert_eq!(
        load(&server, &[], dump),
        (0, summary(0, 0, 0, 1), String::new())
    );
}

#[test]
fn a_broken_dump_is_named_by_its_line() {
    let server = Server::start();
    let header = r#"{"format":"stillpoint-dump","version":1,"namespace":"default"}"#;
    let record = r#"{"collection":"a","key":"k","value":1}"#;
    for (dump, message) in [
        (
            String::new(),
            "this is no dump: its first line is no header",
        ),
        (
            record.to_owned(),
            "this is no dump: its first line is no header",
        ),
        ("{".to_owned(), "line 1: invalid JSON"),
        (
            format!("{header}\n{record}\n"),
            "the dump is cut off after 1 records",
        ),
        (
            format!("{header}\n{record}\n{{\"end\":true,\"records\":2}}\n"),
            "had 2 records, this file has 1",
        ),
        (
            format!("{header}\n{record}\n{{\"collec"),
            "line 3: invalid JSON",
        ),
        (
            format!(
                "{header}\n{{\"collection\":\"A\",\"key\":\"k\",\"value\":1}}\n{{\"end\":true,\"records\":1}}\n"
            ),
            "invalid collection name",
        ),
        (format!("{header}\n{header}\n"), "line 2: a second header"),
    ] {
        let ran = server.run_with_input(&["load"], dump.as_bytes());
        assert_ne!(ran.code, 0, "{dump}");
        assert!(ran.stderr.contains(message), "{dump}: {}", ran.stderr);
    }
}

#[test]
fn a_dump_to_a_file_is_whole_or_not_there() {
    let server = filled();
    let file = server.directory().join("dump.jsonl");
    let path = file.to_str().unwrap();
    server.ok(&[
        "dump",
        path,
        "--collection=player",
        "--prefix=3",
        "--namespace=world1",
    ]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        contents(&text),
        [json!({"collection": "player", "key": "3", "value": {"n": 3}, "schema": 0})]
    );
    let failed = server.run(&["dump", path, "--collection=Player"]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert!(!server.directory().join("dump.jsonl.partial").exists());
    let loaded = server.ok(&["load", path, "--json", "--namespace=elsewhere"]);
    assert_eq!(
        serde_json::from_str::<Value>(&loaded).unwrap(),
        summary(1, 0, 0, 0)
    );
}

#[test]
fn a_load_that_a_killed_server_broke_off_is_completed_by_the_next() {
    let server = Server::start();
    let lines: Vec<String> = (0..1000)
        .map(|i| format!("{{\"collection\":\"a\",\"key\":\"{i}\",\"value\":{i}}}\n"))
        .collect();
    let header = "{\"format\":\"stillpoint-dump\",\"version\":1,\"namespace\":\"default\"}\n";
    let end = "{\"end\":true,\"records\":1000}\n";
    let (first, second) = (
        header.to_owned() + &lines[..500].concat(),
        lines[500..].concat() + end,
    );

    let mut broken = server
        .program()
        .args(["load", "-", "--deadline=300ms"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = broken.stdin.take().unwrap();
    input.write_all(first.as_bytes()).unwrap();
    input.flush().unwrap();
    let commits = || {
        let status: Value = serde_json::from_str(&server.ok(&["status", "--json"])).unwrap();
        status["counters"]["commits"].as_u64().unwrap()
    };
    while commits() == 0 {
        std::thread::yield_now();
    }
    let directory = server.kill();
    // It may have given up already.
    let _ = input.write_all(second.as_bytes());
    drop(input);
    let output = broken.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let server = Server::start_in(directory, &[]);
    let (code, done, error) = load(&server, &[], &(first + &second));
    assert_eq!(code, 0, "{error}");
    let (written, unchanged) = (
        done["written"].as_u64().unwrap(),
        done["unchanged"].as_u64().unwrap(),
    );
    assert!(unchanged >= 1 && written + unchanged == 1000, "{done}");
}
