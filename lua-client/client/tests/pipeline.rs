//! Submitting, batching, credits, completions.

mod common;

use std::time::Duration;

use common::{Server, Store, finish, get, put, value};
use stillpoint_client::{
    CallOptions, Client, Config,
    v1::{self, Reason},
};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_call_writes_and_a_call_reads() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    client
        .call(put("42", "Ann"), CallOptions::default())
        .unwrap();
    let read = client.call(get("42"), CallOptions::default());
    assert_eq!(value(read), Some(b"Ann".to_vec()));
    let missing = client.call(get("43"), CallOptions::default());
    assert_eq!(value(missing), None);
    let info = client.info();
    assert!(info.connected);
    assert_eq!(info.limits.server_version, "test");
    assert_eq!((info.header.incarnation, info.header.revision), (1, 1));
    assert_eq!(info.endpoint, server.endpoint);
}

#[test]
fn a_write_with_a_name_for_ever_carries_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let once = v1::OnceKey {
        name: bytes::Bytes::from_static(b"trade-77"),
        since_revision: 5,
    };
    let options = CallOptions {
        once: Some(once.clone()),
        ..Default::default()
    };
    client.call(put("42", "Ann"), options).unwrap();
    client
        .call(put("42", "Bob"), CallOptions::default())
        .unwrap();
    let sent: Vec<_> = server.store.items().into_iter().map(|i| i.once).collect();
    assert_eq!(sent, [Some(once), None]);
}

#[test]
fn a_thousand_submissions_become_a_few_frames() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let ids: Vec<u64> = (0..1000)
        .map(|n| {
            let op = put(&n.to_string(), "x");
            client.submit(op, CallOptions::default()).unwrap()
        })
        .collect();
    for &id in &ids {
        finish(&client, id).unwrap();
    }
    let frames = server.store.frames();
    // The background thread may have sent a part of them by itself.
    assert!(frames.len() <= 100, "{} frames", frames.len());
    assert_eq!(server.store.revision(), 1000);
    let sequences: Vec<u64> = server.store.items().iter().map(|i| i.sequence).collect();
    assert_eq!(sequences, (1..=1000).collect::<Vec<_>>());
    assert_eq!(server.store.items()[0].first_incomplete, 1);
}

#[test]
fn the_servers_credits_are_kept_and_the_rest_waits_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.limit(|limits| limits.max_in_flight = 10);
    let client = server.connect();
    let ids: Vec<u64> = (0..95)
        .map(|_| client.submit(get("1"), CallOptions::default()).unwrap())
        .collect();
    for id in ids {
        finish(&client, id).unwrap();
    }
    assert_eq!(server.store.in_flight_max(), 10);
}

#[test]
fn each_completion_is_told_once_and_then_there_to_take() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let mut submitted: Vec<u64> = (0..50)
        .map(|_| client.submit(get("1"), CallOptions::default()).unwrap())
        .collect();
    let mut told = Vec::new();
    while told.len() < 50 {
        assert!(client.poll(LONG) > 0);
        while let Some(id) = client.next() {
            assert!(client.take(id).is_some());
            assert!(client.take(id).is_none());
            told.push(id);
        }
    }
    told.sort_unstable();
    submitted.sort_unstable();
    assert_eq!(told, submitted);
    assert_eq!(client.poll(Duration::ZERO), 0);
}

#[test]
fn what_was_taken_or_forgotten_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let submit = |op| client.submit(op, CallOptions::default()).unwrap();
    let (taken, forgotten, told) = (submit(get("1")), submit(put("2", "x")), submit(get("3")));
    client.forget(forgotten);
    finish(&client, taken).unwrap();
    assert_eq!(client.poll(LONG), 1);
    assert_eq!(client.next(), Some(told));
    assert_eq!(client.next(), None);
    assert!(client.wait(forgotten, LONG).is_none());
    assert_eq!(server.store.revision(), 1, "the forgotten write is done");
}

#[test]
fn an_operation_over_the_message_limit_fails_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.limit(|limits| limits.max_message_bytes = 2000);
    let client = server.connect();
    let error = client
        .submit(put("1", vec![0; 3000]), CallOptions::default())
        .unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert_eq!(
        error.message,
        "the operation has 3019 bytes, a message at most 2000 (`max_message_bytes`): split it"
    );
    let ids: Vec<u64> = (0..20)
        .map(|_| {
            let op = put("1", vec![0; 500]);
            client.submit(op, CallOptions::default()).unwrap()
        })
        .collect();
    for id in ids {
        finish(&client, id).unwrap();
    }
    assert!(server.store.frames().iter().all(|frame| frame.len() <= 3));
}

#[test]
fn the_queue_is_bounded_and_names_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.limit(|limits| limits.max_in_flight = 1);
    server.hold();
    let client = Client::connect(Config {
        queue_max: 5,
        ..server.config()
    })
    .unwrap();
    let first = client.submit(get("1"), CallOptions::default()).unwrap();
    server.store.await_items(1);
    let ids: Vec<u64> = (0..5)
        .map(|_| client.submit(get("1"), CallOptions::default()).unwrap())
        .collect();
    let error = client.submit(get("1"), CallOptions::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::RateLimited);
    assert_eq!(
        error.message,
        "5 operations wait to be sent, which is the limit (`queue_max`): wait for some of them first"
    );
    server.release();
    finish(&client, first).unwrap();
    for id in ids {
        finish(&client, id).unwrap();
    }
    client.call(get("1"), CallOptions::default()).unwrap();
}

#[test]
fn many_threads_share_a_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = client.clone();
            scope.spawn(move || {
                for n in 0..200 {
                    let name = format!("{thread}/{n}");
                    client
                        .call(put(&name, name.clone()), CallOptions::default())
                        .unwrap();
                    let read = client.call(get(&name), CallOptions::default());
                    assert_eq!(value(read), Some(name.into_bytes()));
                }
            });
        }
    });
    assert_eq!(server.store.revision(), 1600);
}

#[test]
fn calls_and_submissions_mix() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let mut told = 0;
    for _ in 0..300 {
        client.submit(get("1"), CallOptions::default()).unwrap();
        client.call(get("2"), CallOptions::default()).unwrap();
        while let Some(id) = client.next() {
            client.take(id).unwrap().unwrap();
            told += 1;
        }
    }
    while told < 300 {
        client.poll(LONG);
        while client.next().is_some() {
            told += 1;
        }
    }
}

#[test]
fn answers_that_come_twice_or_to_nobody_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.repeat_answers();
    server.store.limit(|limits| limits.max_in_flight = 4);
    let client = server.connect();
    let ids: Vec<u64> = (0..40)
        .map(|_| client.submit(get("1"), CallOptions::default()).unwrap())
        .collect();
    for id in ids {
        finish(&client, id).unwrap();
    }
    assert_eq!(server.store.in_flight_max(), 4, "no credit was given twice");
}

#[test]
fn a_refusal_of_a_busy_server_is_repeated_by_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.refuse(3);
    let client = server.connect();
    client.call(put("1", "x"), CallOptions::default()).unwrap();
    let sequences: Vec<u64> = server.store.items().iter().map(|i| i.sequence).collect();
    assert_eq!(sequences, [1, 1, 1, 1]);
}

#[test]
fn a_client_works_within_another_runtime_and_is_dropped_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = server.connect();
        client.call(put("1", "x"), CallOptions::default()).unwrap();
        let id = client.submit(get("1"), CallOptions::default()).unwrap();
        assert_eq!(client.poll(LONG), 1);
        assert_eq!(value(finish(&client, id)), Some(b"x".to_vec()));
        drop(client);
    });
}
