//! `sessions`, and what other commands tell of sessions and of what they own, against a real server.

use std::time::Duration;

use serde_json::{Value, json};
use stillpoint_client::{CallOptions, Client, Config, SessionConfig};
use stillpoint_proto::v1::{ClaimOp, Op, RecordKey, SetTimerOp, op};

use crate::server::Server;

/// A logic process, as far as the store sees one.
pub fn open(server: &Server, namespace: &str, service: &str, instance: &str) -> Client {
    let url = format!(
        "unix:{}",
        server.directory().join("stillpoint.sock").display()
    );
    let mut config = Config::new(url, namespace);
    config.client_name = "a test".into();
    config.session = Some(SessionConfig {
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        code_version: "1.4.2".into(),
        ttl: Duration::from_secs(60),
        ..SessionConfig::new(service, instance)
    });
    Client::connect(config).unwrap()
}

fn call(client: &Client, kind: op::Kind) {
    client
        .call(Op { kind: Some(kind) }, CallOptions::default())
        .unwrap();
}

fn claim(client: &Client, key: &'static str) {
    call(
        client,
        op::Kind::Claim(ClaimOp {
            key: Some(RecordKey {
                collection: "player".into(),
                key: key.into(),
            }),
            ..ClaimOp::default()
        }),
    );
}

/// What `sessions --json` prints, without what differs from run to run.
fn listed(server: &Server, args: &[&str]) -> Vec<Value> {
    let args = [&["sessions", "--json"], args].concat();
    let text = server.ok(&args);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn sessions_are_listed_for_people_and_for_programs() {
    let server = Server::start();
    let none = server.run(&["sessions"]);
    assert_eq!(
        (none.code, &*none.stdout, &*none.stderr),
        (0, "", "no sessions\n")
    );
    assert_eq!(listed(&server, &[]), Vec::<Value>::new());

    let battle = open(&server, "world1", "battle", "battle-3");
    claim(&battle, "42");
    claim(&battle, "43");
    let _guild = open(&server, "world1", "guild", "guild-1");

    let sessions = listed(&server, &["--service=battle"]);
    let [session] = &sessions[..] else {
        panic!("{sessions:?}");
    };
    let expected = json!({
        "namespace": "world1", "session": "battle/battle-3", "service": "battle", "instance": "battle-3",
        "state": "attached", "fence": 1, "claims": 2, "holders": 1, "ttl_ms": 60_000,
        "unsaved_documents": 0, "oldest_unsaved_ms": 0,
        "labels": {"zone": "eu"}, "code_version": "1.4.2", "client_name": "a test",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&session[name], value, "{name}");
    }
    for name in ["age_ms", "holder_age_ms", "last_seen_ms"] {
        assert!(
            session[name].as_u64().unwrap() < 60_000,
            "{name}: {session}"
        );
    }
    assert!(
        session["session_id"]
            .as_str()
            .unwrap()
            .starts_with("battle/battle-3/")
    );

    let table = server.ok(&["sessions", "--namespace=world1"]);
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(
        rows[0].starts_with("SESSION "),
        "one namespace is not named: {table}"
    );
    assert!(rows[1].starts_with("battle/battle-3 "), "{table}");
    for word in [" attached ", " 2 ", " ago ", "1.4.2", "zone=eu"] {
        assert!(rows[1].contains(word), "{word}: {table}");
    }
    assert!(rows[2].starts_with("guild/guild-1 "), "{table}");
    assert_eq!(
        listed(&server, &["--namespace=world2"]),
        Vec::<Value>::new()
    );

    let _other = open(&server, "world2", "battle", "battle-3");
    let table = server.ok(&["sessions"]);
    assert!(table.starts_with("NAMESPACE "), "{table}");
    assert!(
        table.lines().last().unwrap().starts_with("world2 "),
        "{table}"
    );
}

#[test]
fn the_status_counts_sessions_claims_and_timers() {
    let server = Server::start();
    let battle = open(&server, "world1", "battle", "battle-3");
    claim(&battle, "42");
    claim(&battle, "43");
    call(
        &battle,
        op::Kind::SetTimer(SetTimerOp {
            name: "respawn".into(),
            delay_ms: 3_600_000,
            ..SetTimerOp::default()
        }),
    );
    let status: Value = serde_json::from_str(&server.ok(&["status", "--json"])).unwrap();
    for (name, count) in [
        ("sessions", 1),
        ("claims", 2),
        ("timers", 1),
        ("watches", 0),
    ] {
        assert_eq!(status[name], count, "{name}");
    }
    assert_eq!(
        status["namespaces"][0]["records"], 0,
        "what the store keeps itself is no record"
    );
    let table = server.ok(&["status"]);
    assert!(
        table.contains("1, with 2 claims, 1 timers, 0 watches"),
        "{table}"
    );
}

#[test]
fn the_owner_of_a_record_is_told_whether_the_record_exists_or_not() {
    let server = Server::start();
    let owner = ["get", "player/42", "--owner", "--namespace=world1"];
    let nobody = server.run(&owner);
    assert_eq!(
        (nobody.code, &*nobody.stderr),
        (3, "error: nobody owns player/42\n")
    );
    let battle = open(&server, "world1", "battle", "battle-3");
    claim(&battle, "42");
    let told: Value = serde_json::from_str(&server.ok(&owner)).unwrap();
    assert_eq!(told["service"], "battle");
    assert_eq!(told["instance"], "battle-3");
    assert_eq!(told["token"], 2, "the claim's revision");
    // And the operator is refused like anybody else.
    let put = server.run(&["put", "player/42", "1", "--namespace=world1"]);
    assert_eq!(put.code, 1);
    assert!(
        put.stderr.contains("owned by battle/battle-3"),
        "{}",
        put.stderr
    );
}

#[test]
fn a_dump_has_nothing_of_what_the_store_keeps_itself() {
    let server = Server::start();
    let battle = open(&server, "world1", "battle", "battle-3");
    claim(&battle, "42");
    server.ok(&["put", "item/1", "1", "--namespace=world1"]);
    let dump = server.ok(&["dump", "--namespace=world1"]);
    let named: Vec<_> = dump
        .lines()
        .filter(|line| line.contains("\"collection\""))
        .collect();
    assert_eq!(named.len(), 1, "{dump}");
    assert!(named[0].contains("item"), "{dump}");
    let refused = server.run(&["dump", "--collection=@session", "--namespace=world1"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let why = "invalid collection name \"@session\"";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
}
