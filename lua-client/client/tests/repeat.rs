//! Broken connections, and deadlines in every phase.

mod common;

use std::time::Duration;

use common::{Fault, Server, Store, finish, get, put, value, within};
use stillpoint_client::{CallOptions, Client, Config, v1::Reason};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_write_is_applied_once_wherever_the_connection_breaks() {
    for fault in [
        Fault::Opening,
        Fault::BeforeApplying,
        Fault::BeforeAnswering,
        Fault::HalfAnswered,
        Fault::Answered,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), "s", &Store::new());
        let client = server.connect();
        // This connection breaks, and so do the next two.
        drop(client);
        server.store.plan([fault, fault, fault]);
        let client = Client::connect(Config {
            connect_patience: Duration::from_secs(20),
            ..server.config()
        })
        .unwrap();
        let ids: Vec<u64> = (0..10)
            .map(|n| {
                let op = put(&n.to_string(), n.to_string());
                client.submit(op, CallOptions::default()).unwrap()
            })
            .collect();
        for id in ids {
            finish(&client, id).unwrap();
        }
        assert_eq!(server.store.revision(), 10, "{fault:?}");
        for n in 0..10 {
            let read = client.call(get(&n.to_string()), CallOptions::default());
            assert_eq!(value(read), Some(n.to_string().into_bytes()));
        }
    }
}

#[test]
fn a_repeat_has_the_same_number_and_the_order_of_submission() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.plan([Fault::BeforeAnswering]);
    let client = server.connect();
    let ids: Vec<u64> = (0..20)
        .map(|n| {
            let op = put(&n.to_string(), "x");
            client.submit(op, CallOptions::default()).unwrap()
        })
        .collect();
    for id in ids {
        finish(&client, id).unwrap();
    }
    let sequences: Vec<u64> = server.store.items().iter().map(|i| i.sequence).collect();
    let repeated = &sequences[sequences.len() - 20..];
    assert!(sequences.len() > 20, "nothing was repeated");
    assert_eq!(repeated, (1..=20).collect::<Vec<_>>());
    assert_eq!(server.store.revision(), 20);
}

#[test]
fn a_restarted_server_is_found_again_and_its_incarnation_shows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut server = Server::start(dir.path(), "s", &store);
    let client = server.connect();
    for incarnation in 1..=5 {
        client.call(put("1", "x"), CallOptions::default()).unwrap();
        assert_eq!(client.info().header.incarnation, incarnation);
        drop(server);
        while client.info().connected {
            client.poll(Duration::from_millis(1));
        }
        let id = client
            .submit(put("1", "y"), CallOptions::default())
            .unwrap();
        store.restored();
        server = Server::start(dir.path(), "s", &store);
        finish(&client, id).unwrap();
    }
    assert_eq!(store.revision(), 10);
    assert_eq!(client.info().header.incarnation, 6);
    assert_eq!(client.info().endpoint, server.endpoint);
}

#[test]
fn the_next_endpoint_is_taken_when_one_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let second = Server::start(dir.path(), "second", &store);
    let mut config = second.config();
    let first = format!("unix:{}", dir.path().join("first").display());
    config.endpoints.insert(0, first.clone());
    let client = Client::connect(config).unwrap();
    assert_eq!(client.info().endpoint, second.endpoint);
    let id = client
        .submit(put("1", "x"), CallOptions::default())
        .unwrap();
    finish(&client, id).unwrap();
    drop(second);
    let _first = Server::start(dir.path(), "first", &store);
    client.call(put("1", "y"), CallOptions::default()).unwrap();
    assert_eq!(client.info().endpoint, first);
}

#[test]
fn a_dead_server_is_named_with_the_cause_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let config = Config::new(format!("unix:{}", path.display()), "world1");
    let error = Client::connect(config.clone()).unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert!(error.retryable);
    assert_eq!(
        error.message,
        format!(
            "no server at unix:{}: No such file or directory (os error 2); start one with `stillpoint serve`",
            path.display()
        )
    );
    // The socket of a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = Client::connect(config).unwrap_err();
    assert!(error.message.contains("Connection refused"), "{error}");
}

#[test]
fn a_refused_opening_is_reported_at_once_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let error = Client::connect(Config {
        namespace: "forbidden".into(),
        connect_patience: Duration::from_secs(3600),
        ..server.config()
    })
    .unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    assert!(
        error.message.ends_with("no such namespace: forbidden"),
        "{error}"
    );
    let error = Client::connect(Config::new(&server.endpoint, "World 1")).unwrap_err();
    assert_eq!(
        error.message,
        "invalid namespace name \"World 1\": use 1 to 64 of a-z 0-9 _ . -"
    );
}

#[test]
fn a_deadline_in_flight_says_that_a_write_may_have_been_applied() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    server.hold();
    let write = client.call(put("1", "x"), within(SHORT)).unwrap_err();
    assert_eq!(write.reason(), Reason::DeadlineExceeded);
    assert_eq!(
        write.message,
        format!(
            "no answer within 100ms: sent to {}, no answer",
            server.endpoint
        )
    );
    assert!(write.maybe_applied);
    let read = client.call(get("1"), within(SHORT)).unwrap_err();
    assert!(!read.maybe_applied);
    server.release();
    client.call(get("1"), CallOptions::default()).unwrap();
}

#[test]
fn a_deadline_without_credits_says_so_and_that_nothing_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.limit(|limits| limits.max_in_flight = 1);
    let client = server.connect();
    server.hold();
    let first = client.submit(get("1"), CallOptions::default()).unwrap();
    server.store.await_items(1);
    let error = client.call(put("1", "x"), within(SHORT)).unwrap_err();
    assert_eq!(
        error.message,
        format!(
            "no answer within 100ms: waiting for credits: 1 of 1 operations in flight at {}",
            server.endpoint
        )
    );
    assert!(!error.maybe_applied);
    server.release();
    finish(&client, first).unwrap();
    assert_eq!(server.store.items().len(), 1);
}

#[test]
fn a_deadline_without_a_connection_names_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    server.hold();
    let sent = client.submit(put("1", "x"), within(SHORT * 5)).unwrap();
    server.store.await_items(1);
    let endpoint = server.endpoint.clone();
    drop(server);
    std::fs::remove_file(dir.path().join("s")).unwrap();
    let error = client.call(put("1", "x"), within(SHORT)).unwrap_err();
    assert_eq!(
        error.message,
        format!(
            "no answer within 100ms: no server at {endpoint}: No such file or directory (os error 2); start one with `stillpoint serve`"
        )
    );
    assert!(!error.maybe_applied, "it was never sent");
    let error = finish(&client, sent).unwrap_err();
    assert!(error.maybe_applied, "it was sent before the server died");
}

#[test]
fn a_server_that_stays_busy_is_named_when_the_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.refuse(usize::MAX);
    let client = server.connect();
    let error = client.call(put("1", "x"), within(SHORT)).unwrap_err();
    assert_eq!(
        error.message,
        format!(
            "no answer within 100ms: {} refused it until then: RATE_LIMITED: the writer's queue is full",
            server.endpoint
        )
    );
    assert!(!error.maybe_applied);
}

#[test]
fn an_expired_deadline_fails_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let error = client
        .call(put("1", "x"), within(Duration::ZERO))
        .unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    assert_eq!(
        error.message,
        "no answer within 0ns: the deadline had passed before the operation was sent"
    );
    assert!(server.store.items().is_empty());
}

#[test]
fn a_write_gives_up_before_the_store_forgets_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.limit(|limits| limits.dedup_window_ms = 200);
    let client = server.connect();
    server.hold();
    let error = client
        .call(put("1", "x"), within(Duration::from_secs(3600)))
        .unwrap_err();
    assert!(
        error.message.starts_with("no answer within 100ms"),
        "{error}"
    );
}
