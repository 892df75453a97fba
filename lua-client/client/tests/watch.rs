//! Watches: nothing missing, nothing twice, nothing in halves, whatever breaks.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{
    LONG, Server, Store, drive_until,
    watches::{bookmark, commit, large_commit, started, told},
};
use stillpoint_client::{
    CallOptions, Client, Config, Event,
    v1::{self, Reason, watch_request::Start},
};
use tonic::Status;

fn players() -> v1::WatchRequest {
    v1::WatchRequest {
        collection: "player".into(),
        ..Default::default()
    }
}

fn next(client: &Client, watch: u64) -> v1::WatchResponse {
    let heard = client.watch_wait(watch, LONG).expect("a message");
    heard.expect("the watch goes on")
}

fn keys(of: &[&str]) -> Vec<String> {
    of.iter().map(|key| key.to_string()).collect()
}

fn at(position: &str) -> Option<Start> {
    Some(Start::Position(position.to_string().into()))
}

#[test]
fn a_watch_says_who_it_is_and_hands_on_what_it_hears() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    let watch = client.watch(players()).unwrap();
    // Nobody drives but the background thread.
    let peer = server.store.watches.next();
    let context = peer.request.context.clone().unwrap();
    assert_eq!(context.namespace, "world1");
    assert_eq!(
        (&*context.session_id, context.fence),
        ("battle/battle-3/1", 10)
    );
    assert_eq!(peer.request.collection, "player");
    assert!(client.watch_take(watch).is_none());
    for message in [started("a"), commit("b", 1, &["1"], false), bookmark("c")] {
        assert!(peer.send(message.clone()));
        assert_eq!(next(&client, watch), message);
    }
    client.unwatch(watch);
    peer.await_gone();
    let over = client.watch_take(watch).unwrap().unwrap_err();
    assert_eq!(over.reason(), Reason::Invalid);
}

#[test]
fn a_stream_that_breaks_within_a_commit_goes_on_without_gap_or_double() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut server = Server::start(dir.path(), "s", &store);
    let client = server.connect();
    let watch = client.watch(players()).unwrap();
    let mut peer = store.watches.next();
    assert!(peer.send(started("0")));
    assert_eq!(next(&client, watch), started("0"));
    let mut before = "0".to_string();
    for round in 1..=6 {
        let (first, second) = (round * 2, round * 2 + 1);
        let position = second.to_string();
        assert!(peer.send(commit("half", first, &["1", "2"], true)));
        match round % 2 {
            // The connection.
            0 => {
                drop(server);
                server = Server::start(dir.path(), "s", &store);
            }
            // The stream only.
            _ => peer.fail(Status::unavailable("broken on purpose")),
        }
        let again = store.watches.next();
        assert_eq!(again.request.start, at(&before));
        assert!(again.send(started(&before)));
        assert!(again.send(commit("half", first, &["1", "2"], true)));
        assert!(again.send(commit("x", first, &["3"], false)));
        assert!(again.send(commit(&position, second, &["1"], false)));
        let whole = next(&client, watch);
        assert_eq!(told(&whole), [(first, keys(&["1", "2", "3"]))]);
        assert_eq!(told(&next(&client, watch)), [(second, keys(&["1"]))]);
        assert!(client.watch_take(watch).is_none());
        before = position;
        peer = again;
    }
    drop(server);
}

#[test]
fn a_watch_that_nobody_takes_from_stops_its_stream_and_no_other() {
    const COUNT: u64 = 200;
    const BYTES: usize = 64 * 1024;
    /// What the queue, both windows and all buffers on the way hold at most.
    const AHEAD_MAX: u64 = 64;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = Client::connect(Config {
        watch_bytes_max: 4 * BYTES,
        ..server.session_config()
    })
    .unwrap();
    let slow = client.watch(players()).unwrap();
    let slow_peer = server.store.watches.next();
    let quick = client.watch(players()).unwrap();
    let quick_peer = server.store.watches.next();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let sender = std::thread::spawn(move || {
        for revision in 1..=COUNT {
            assert!(slow_peer.send(large_commit(revision, BYTES)));
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    for revision in 1..=COUNT {
        assert!(quick_peer.send(large_commit(revision, BYTES)));
        assert_eq!(told(&next(&client, quick))[0].0, revision);
    }
    server.store.sessions.await_beats(5);
    client
        .call(common::get("1"), CallOptions::default())
        .unwrap();
    for taken in 1..=COUNT {
        let ahead = (sent.load(Ordering::Relaxed) + 1).saturating_sub(taken);
        assert!(ahead <= AHEAD_MAX, "{ahead} messages ahead of the taker");
        assert_eq!(told(&next(&client, slow))[0].0, taken);
    }
    sender.join().unwrap();
}

#[test]
fn that_there_is_something_to_take_is_told_once_until_it_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let watch = client.watch(players()).unwrap();
    let peer = server.store.watches.next();
    for revision in 0..3 {
        assert!(peer.send(commit("a", 2 * revision + 1, &["1"], false)));
        drive_until(&client, "the message", || client.poll(Duration::ZERO) == 1);
        assert_eq!(client.event(), Some(Event::Watch(watch)));
        assert!(peer.send(commit("b", 2 * revision + 2, &["1"], false)));
        next(&client, watch);
        next(&client, watch);
        assert_eq!(client.event(), None, "told twice");
        assert_eq!(client.poll(Duration::ZERO), 0);
        assert!(client.watch_take(watch).is_none());
    }
    // Who takes what was not told yet is not told of it.
    assert!(peer.send(commit("c", 9, &["1"], false)));
    next(&client, watch);
    assert_eq!(client.poll(Duration::ZERO), 0);
    assert_eq!(client.event(), None);
}

#[test]
fn a_watch_that_the_store_refuses_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let watch = client
        .watch(v1::WatchRequest {
            collection: "forbidden".into(),
            ..Default::default()
        })
        .unwrap();
    let refused = client.watch_wait(watch, LONG).unwrap().unwrap_err();
    assert_eq!(refused.reason(), Reason::Invalid);
    assert_eq!(refused.message, "no such collection");
    let over = client.watch_wait(watch, LONG).unwrap().unwrap_err();
    assert!(over.message.starts_with("the watch is over"));
    assert_eq!(client.event(), None);
}

#[test]
fn closing_the_client_ends_its_watches_after_what_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let watch = client.watch(players()).unwrap();
    let peer = server.store.watches.next();
    assert!(peer.send(started("a")));
    drive_until(&client, "the message", || client.poll(Duration::ZERO) == 1);
    client.close(LONG).unwrap();
    peer.await_gone();
    assert_eq!(client.watch_take(watch), Some(Ok(started("a"))));
    let closed = client.watch_take(watch).unwrap().unwrap_err();
    assert_eq!(closed.message, "the client is closed: connect a new one");
    assert!(client.watch(players()).is_err());
}
