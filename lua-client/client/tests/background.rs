//! What happens when no caller drives: the file descriptor, the background thread, closing, forking.

mod common;

use std::{os::fd::RawFd, panic::AssertUnwindSafe, time::Duration};

use common::{Server, Store, finish, get, put};
use stillpoint_client::{CallOptions, v1::Reason};

const LONG: Duration = Duration::from_secs(30);

/// Whether the descriptor is readable, or becomes so within the time.
fn is_readable(fd: RawFd, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one valid entry, and lives during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) };
    ready == 1
}

#[test]
fn the_descriptor_is_readable_exactly_while_a_completion_is_untold() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let fd = client.wake_fd().unwrap();
    assert!(!is_readable(fd, Duration::ZERO));
    for _ in 0..20 {
        let id = client.submit(get("1"), CallOptions::default()).unwrap();
        assert!(is_readable(fd, LONG));
        assert!(is_readable(fd, Duration::ZERO), "it stays so");
        assert_eq!(client.next(), Some(id));
        assert!(!is_readable(fd, Duration::ZERO));
        client.take(id).unwrap().unwrap();
    }
    // Taking without being told lowers it, too; a blocking call never raises it.
    let id = client.submit(get("1"), CallOptions::default()).unwrap();
    assert!(is_readable(fd, LONG));
    client.take(id).unwrap().unwrap();
    client.call(get("1"), CallOptions::default()).unwrap();
    assert!(!is_readable(fd, Duration::ZERO));
}

#[test]
fn a_descriptor_asked_for_late_is_readable_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    client.submit(get("1"), CallOptions::default()).unwrap();
    client.poll(LONG);
    assert!(is_readable(client.wake_fd().unwrap(), Duration::ZERO));
}

#[test]
fn what_is_submitted_and_left_alone_is_sent_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    for n in 1..=3 {
        let op = put("1", "x");
        client.submit(op, CallOptions::default()).unwrap();
        server.store.await_items(n);
    }
}

#[test]
fn closing_waits_for_what_is_in_flight_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    let ids: Vec<u64> = (0..100)
        .map(|_| {
            let op = put("1", "x");
            client.submit(op, CallOptions::default()).unwrap()
        })
        .collect();
    client.close(LONG).unwrap();
    server.store.await_gone(1);
    assert_eq!(server.store.revision(), 100);
    for id in ids {
        client.take(id).unwrap().unwrap();
    }
    let error = client.call(get("1"), CallOptions::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert_eq!(error.message, "the client is closed: connect a new one");
    assert!(!error.retryable);
    client.close(LONG).unwrap();
}

#[test]
fn closing_in_time_ends_what_is_unfinished_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    server.hold();
    let id = client
        .submit(put("1", "x"), CallOptions::default())
        .unwrap();
    server.store.await_items(1);
    let error = client.close(Duration::from_millis(1)).unwrap_err();
    assert_eq!(
        error.message,
        "no answer within 1ms: the client was closed with 1 operations unfinished"
    );
    let error = client.take(id).unwrap().unwrap_err();
    assert!(error.maybe_applied);
}

#[test]
fn a_forked_child_gets_a_connection_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    client.call(put("1", "x"), CallOptions::default()).unwrap();
    client.wake_fd().unwrap();
    let in_flight = client.submit(get("1"), CallOptions::default()).unwrap();
    // SAFETY: the child only uses the client, which is made for that, and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let known = client.take(in_flight).is_some();
            let put = client.call(put("2", "y"), CallOptions::default()).is_ok();
            let id = client.submit(get("2"), CallOptions::default()).unwrap();
            let got = finish(&client, id).is_ok();
            drop(client.clone());
            !known && put && got
        }));
        drop(client);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if matches!(outcome, Ok(true)) { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `child` is a child of this process, `status` is valid during the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child could not use its client");
    finish(&client, in_flight).unwrap();
    client.call(put("3", "z"), CallOptions::default()).unwrap();
    assert_eq!(server.store.revision(), 3);
    let openings = server.store.openings();
    assert_eq!(openings.len(), 2);
    assert_ne!(
        openings[0].context.as_ref().unwrap().idempotency_key,
        openings[1].context.as_ref().unwrap().idempotency_key
    );
}
